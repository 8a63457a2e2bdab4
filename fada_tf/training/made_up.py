"""Training steps on made-up images: what benchmarks time and machines are checked with; they need no data."""

import copy
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from fada_tf.config import Config
from fada_tf.config_fields import trained_domains
from fada_tf.methods import base
from fada_tf.methods.base import Batch, Method
from fada_tf.models.layers import FrozenBatchNorm
from fada_tf.models.segmenter import build_segmenter, check_size


def build_method(config: Config, num_classes: int) -> Method:
    """Builds segmenter and method of a config from random weights whose values do not overflow.

    Args:
      config: what is trained.
      num_classes: K.

    Raises:
      InputError: the backbone cannot see images of such a size.
    """
    config, model = copy.deepcopy(config), config.model
    for name, domain in trained_domains(config).items():
        check_size(model.backbone, domain.height, domain.width, f"config.data.{name}")
    segmenter = build_segmenter(
        model.backbone, num_classes, model.batch_norm, config.seed,
        head=model.head, feature_stride=model.feature_stride, recompute=model.recompute,
        trained_part=model.trainable, lora_rank=model.lora_rank,
    )  # fmt: skip
    for layer in segmenter.feature_extractor.layers:
        if isinstance(layer, FrozenBatchNorm):
            layer.gamma.assign(0.2 * layer.gamma)  # or values would double from block to block
    config.data.source.records = ""  # they need not be there
    return base.build_method(config, segmenter)


def batches(config: Config, num_classes: int, batch_size: int) -> dict[str, Batch]:
    """Returns random images and labels of every trained domain, equal for equal `config.seed`.

    Args:
      config: names the domains and their sizes.
      num_classes: K.
      batch_size: images of each domain.

    Returns:
      Domain -> "image" float32 [batch, height, width, 3] in 0..255, "label" uint8 [batch, height, width] and "draw"
      int64 [batch].
    """
    random = np.random.default_rng(config.seed)

    def batch(domain):
        shape = (batch_size, domain.height, domain.width)
        image = random.uniform(0, 255, (*shape, 3)).astype(np.float32)
        label = random.integers(0, num_classes, shape).astype(np.uint8)
        return {"image": tf.constant(image), "label": tf.constant(label), "draw": tf.range(batch_size, dtype=tf.int64)}

    return {name: batch(domain) for name, domain in trained_domains(config).items()}


def step_function(
    method: Method, batches: Mapping[str, Batch], strategy: tf.distribute.Strategy
) -> Callable[[], tuple[dict[str, tf.Tensor], ...]]:
    """Returns the compiled step, not traced yet; a call makes one update and returns what every replica measures.

    Args:
      method: built in the scope of the strategy.
      batches: by domain, what every replica gets.
      strategy: of the devices.
    """
    arguments = [batches[name] for name in method.domains]
    return tf.function(lambda: strategy.experimental_local_results(strategy.run(method.step, args=arguments)))
