"""Source-free adaptation: a trained segmenter and target images are all there is.

The teacher of DACS labels the target, and what is mixed are target images: users may not move, or not have any more,
what the segmenter was trained on. Masked consistency as of MIC. There is no paper of this combination.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import ClassVar

import keras
import tensorflow as tf

from fada_tf import randomness
from fada_tf.augmentations import classmix
from fada_tf.config import Config
from fada_tf.errors import InputError
from fada_tf.methods.base import Batch
from fada_tf.methods.base_teacher import Pass, TeacherSettings, build_class_prior
from fada_tf.methods.mic import MaskedConsistency, MaskSettings
from fada_tf.methods.source_only import segmenter_optimizer


@dataclasses.dataclass
class Settings(MaskSettings, TeacherSettings):
    """What users choose."""

    relative_cost: ClassVar[float] = 2.4

    def check(self, config: Config) -> None:
        """Raises `InputError` if there is no trained segmenter to start from."""
        start = config.model.initial_weights
        if not start or start == "imagenet" or start.endswith(".npz"):
            raise InputError(
                f"method source_free adapts a trained segmenter, and config.model.initial_weights is {start!r}: name a "
                "run directory or a checkpoint"
            )


class SourceFree(MaskedConsistency):
    """Minimises L_mix on pairs of target images and L_masked, by a teacher that starts as a trained segmenter."""

    domains = ("target",)
    labelled_domains = ()

    def __init__(self, *args, **options):
        """Sets up the method; see `TeacherMethod`."""
        super().__init__(*args, **options)
        self.measured = ("mix", *(("masked",) if self.settings.masked_weight else ()), *self.reported)

    def passes(self, target: Batch) -> Iterator[Pass]:
        """Yields the loss of mixed images, then that of masked ones."""
        pseudo = self.pseudo_labels(target)
        yield self.mix_pass(self.mixed(target, pseudo)) | self.statistics(pseudo)
        if self.settings.masked_weight:
            yield self.masked_pass(self.with_mask(target | pseudo, colored=True))

    def pictures(self, target: Batch) -> dict[str, Batch]:
        """Returns the mix and, if it is learned, what is masked."""
        pseudo = self.pseudo_labels(target)
        made = {"mixed": self.mixed(target, pseudo)}
        if self.settings.masked_weight:
            made["masked"] = self.with_mask(target | pseudo, colored=True)
        return made

    def mixed(self, target: Batch, pseudo: Mapping[str, tf.Tensor]) -> Batch:
        """Pastes half of the classes of every image onto the next one, of every pair in turn; see `mixed_of`."""
        labels, count = pseudo["label"], self.segmenter.num_classes
        numbers = randomness.uniform(self.seed, "classes, mix", target["draw"], (count,))
        mask = classmix.mask_of(labels, classmix.choose_classes(labels, count, numbers))
        whole = target | pseudo | {"image": tf.cast(target["image"], tf.float32)}
        # Pairs stay together in parts of a batch that have an even number of images.
        other = {key: _swapped(whole[key]) for key in ("image", "label", "weight")}
        return self.mixed_of(other, whole, _swapped(mask), "mix")


def _swapped(values: tf.Tensor) -> tf.Tensor:
    """Exchanges the first and the second of every pair of images."""
    pairs = tf.reshape(values, [-1, 2, *values.shape[1:]])
    # GPUs do not reverse int64.
    return tf.reshape(tf.stack([pairs[:, 1], pairs[:, 0]], axis=1), [-1, *values.shape[1:]])


def build(config: Config, segmenter: keras.Model) -> SourceFree:
    """Makes the method, its teacher and its optimizer from the config.

    Raises:
      InputError: parts of a batch have an odd number of images.
    """
    training = config.training
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    parts = training.accumulation_steps * replicas
    if training.batch_size // parts % 2:
        raise InputError(
            f"method source_free mixes pairs of images, and config.training.batch_size {training.batch_size} makes "
            f"{parts} parts of {training.batch_size // parts}: choose a multiple of {2 * parts}"
        )
    return SourceFree(
        {"segmenter": segmenter},
        {"segmenter": segmenter_optimizer(config, segmenter)},
        config.method,
        seed=config.seed,
        accumulation_steps=training.accumulation_steps,
        prior=build_class_prior(config, segmenter.num_classes),
    )
