"""The images of a run, as its config has them: what it trains on, is scored on and shows."""

import copy
from typing import Any

import numpy as np
import tensorflow as tf

from fada_tf.config import Config, DomainConfig
from fada_tf.config_fields import trained_domains
from fada_tf.data import pipeline, sampling
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.data.positions import Positions
from fada_tf.data.transforms import Augmentation, resize_label
from fada_tf.errors import InputError
from fada_tf.methods.base import Method
from fada_tf.validation import record_weights

_PICTURES = 2  # images of each domain that TensorBoard shows


def train_dataset(
    config: Config,
    method: Method,
    label_space: LabelSpace,
    first_iteration: int,
    replicas: int = 1,
    worker: tuple[int, int] = (0, 1),
    positions: Positions | None = None,
) -> tf.data.Dataset:
    """Returns the batches of the method's domains from `first_iteration` on, one dictionary a domain.

    Args:
      config: of the run.
      method: says which domains.
      label_space: the classes.
      first_iteration: number of iterations done.
      replicas: parts of the batch of an iteration, which come one after the other.
      worker: (i, n): only the i-th of n equal shares of the parts of every iteration.
      positions: of earlier draws, see `pipeline.train_dataset`.

    Raises:
      InputError: a domain has no records, or its label space does not fit.
    """
    streams, count = [], worker[1]
    for name in method.domains:
        domain = trained_domains(config).get(name)
        if domain is None:
            raise InputError(
                f"method {config.method.name} trains on {' and '.join(method.domains)}, "
                f"and config.data.{name}.records is empty: name the folder that fada-tf make_tfrecords wrote"
            )
        stream = pipeline.train_dataset(
            domain.records,
            label_space if name in method.labelled_domains else None,
            _augmentation(domain),
            batch_size=config.training.batch_size // count,
            seed=_seed(config, method, name),
            start_draw=first_iteration * config.training.batch_size,
            part=worker,
            sampling_strategy=domain.sampling,
            sampling_options=sampling_options(domain),
            positions=positions,
            max_bad_records=domain.max_bad_records,
        )
        # Names stay behind: GPUs have no strings.
        streams.append(stream.map(lambda batch: {key: batch[key] for key in batch if key != "name"}))
    dataset = tf.data.Dataset.zip(tuple(streams))
    return dataset.rebatch(config.training.batch_size // replicas) if replicas > count else dataset


def decided(config: Config) -> Config:
    """Returns the config with what its records decide, where they may and know it: margins and what MIC masks.

    Raises:
      InputError: there is no manifest, or margins are known of images of several sizes.
    """
    config = copy.deepcopy(config)
    for name, domain in trained_domains(config).items():
        manifest = Manifest.load(domain.records) if domain.records_decide else None
        if manifest is not None and len({part.facts for part in manifest.parts}) > 1:
            raise InputError(
                f"{domain.records} are data sets of several margins or kinds of weather: set "
                f"config.data.{name}.records_decide to False, and margin_top and the like by hand"
            )
        if manifest is None or manifest.facts is None:
            continue
        size = pipeline.only_size(manifest) if any(manifest.facts.margins) else (0, 0)
        margins = manifest.facts.margins_in_pixels(*size)
        domain.margin_top, domain.margin_bottom, domain.margin_left, domain.margin_right = margins
        if name == "target":
            config.method.follow(manifest.facts)
    return config


def image_names(config: Config, method: Method, label_space: LabelSpace, iteration: int) -> dict[str, list[str]]:
    """Returns the names of the images that `train_dataset` draws for an iteration, by domain."""
    names = {}
    for name in method.domains:
        domain, count = trained_domains(config)[name], config.training.batch_size
        manifest, seed = Manifest.load(domain.records), _seed(config, method, name)
        options = sampling_options(domain) | {"label_space": label_space if name in method.labelled_domains else None}
        draws = sampling.draws(domain.sampling, manifest, seed, iteration * count, count, **options)
        names[name] = [manifest.entries.filenames[record] for record in draws]
    return names


def sampling_options(domain: DomainConfig) -> dict[str, Any]:
    """Returns what the domain's sampling strategy takes beyond manifest and seed."""
    options: dict[str, Any] = {"weights": record_weights(domain)} if domain.weights else {}
    if domain.sampling == "class_balanced":
        options |= {"sub_epoch": domain.sub_epoch}
    if domain.sampling == "rare_class":
        options |= {"temperature": domain.rare_class_temperature, "min_pixels": domain.rare_class_min_pixels}
    return options


def _seed(config: Config, method: Method, domain: str) -> int:
    """Returns the seed of a domain's order and augmentation, another one for each."""
    return 2 * config.seed + method.domains.index(domain)


def _augmentation(domain: DomainConfig) -> Augmentation:
    return Augmentation(
        domain.height,
        domain.width,
        color_jitter=domain.color_jitter,
        random_scale=(domain.scale_min, domain.scale_max),
        base_height=domain.full_height,
        base_width=domain.full_width,
        crop=domain.crop,
        flip=domain.flip,
        margins=(domain.margin_top, domain.margin_bottom, domain.margin_left, domain.margin_right),
        crop_class_pixels=domain.rare_class_crop_ratio * domain.rare_class_min_pixels,
    )


def evaluation_dataset(config: Config, label_space: LabelSpace, replicas: int = 1) -> tf.data.Dataset:
    """Returns the labelled images of `config.data.evaluation`, once, in the order of their records.

    Their labels may know only some of the classes.
    """
    evaluation = config.data.evaluation
    return pipeline.evaluation_dataset(
        evaluation.records,
        label_space,
        height=evaluation.height,
        width=evaluation.width,
        batch_size=evaluation.batch_size or replicas,
        partial_labels=True,
    )


def picture_batches(config: Config, method: Method, label_space: LabelSpace) -> dict[str, dict[str, np.ndarray]]:
    """Returns the first few images of each domain, as it is trained on, and labelled ones of the evaluation set."""
    first_iteration = next(iter(train_dataset(config, method, label_space, 0)))
    batches = dict(zip(method.domains, first_iteration, strict=True))
    if config.data.evaluation.records:
        evaluated = list(evaluation_dataset(config, label_space).unbatch().take(_PICTURES))
        batches["evaluation"] = {
            "image": tf.stack([element["image"] for element in evaluated]),
            "label": tf.stack([_label_of_image_size(element) for element in evaluated]),
        }
    return {
        domain: {key: values[:_PICTURES].numpy() for key, values in batch.items()} for domain, batch in batches.items()
    }


def _label_of_image_size(element: dict[str, tf.Tensor]) -> tf.Tensor:
    height, width = element["label_size"]  # beyond lies what a batch of several sizes was filled up with
    return resize_label(element["label"][:height, :width], element["image"].shape[:2])
