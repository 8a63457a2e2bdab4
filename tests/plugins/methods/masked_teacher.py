"""A method that needs every hook: the student predicts, behind a random mask, what a teacher sees whole."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import keras
import tensorflow as tf

from fada_tf import randomness
from fada_tf.config import Config, MethodSettings
from fada_tf.losses.row_blocks import sum_over_row_blocks
from fada_tf.losses.segmentation import count_labelled, cross_entropy
from fada_tf.methods.base import Batch, Loss, Method, Watcher
from fada_tf.methods.source_only import segmenter_optimizer
from fada_tf.models import moving_average
from fada_tf.schema import option

_KEPT = 0.7  # share of the cells that the student sees


@dataclasses.dataclass
class Settings(MethodSettings):
    """What users choose."""

    inference: str = option("teacher", "what is scored and exported", choices=("student", "teacher", "better"))
    cell: int = option(8, "pixels; side of what is seen or masked as one", minimum=1)
    decay: float = option(0.99, "the most that the teacher keeps of itself", minimum=0)


class MaskedTeacher(Method):
    """Minimises L_seg on the source and, on masked target images, the cross entropy with the teacher's labels."""

    domains = ("source", "target")
    labelled_domains = ("source",)
    measured = ("segmentation", "masked", "seen_share")
    reported = ("seen_share",)

    def __init__(self, segmenter: keras.Model, groups, *, seed: int, cell: int, decay: float, accumulation_steps: int):
        teacher = moving_average.copy_of(segmenter)
        networks = {"segmenter": segmenter, "teacher": teacher}
        super().__init__(networks, {"segmenter": groups}, accumulation_steps)
        self.teacher, self.seed, self.cell, self.decay = teacher, seed, cell, decay

    def passes(self, source: Batch, target: Batch) -> Iterator[dict[str, Loss | tf.Tensor]]:
        yield {"segmentation": self._supervised(source, source["image"], source["label"])}
        labels = tf.argmax(self._upsampled(self.teacher(target["image"]), target["image"]), -1)
        mask = self._mask(target)
        masked = tf.cast(target["image"], tf.float32) * mask
        yield {"masked": self._supervised(target, masked, labels), "seen_share": tf.reduce_mean(mask)}

    def after_update(self, iteration: tf.Tensor, measures: Mapping[str, tf.Tensor]) -> None:
        ramp = 1 - 1 / (tf.cast(iteration, tf.float32) + 1)
        moving_average.update(self.teacher, self.segmenter, tf.minimum(ramp, self.decay))

    def pictures(self, source: Batch, target: Batch) -> dict[str, Batch]:
        labels = tf.argmax(self._upsampled(self.teacher(target["image"]), target["image"]), -1)
        return {"masked": target | {"label": labels, "weight": tf.ones(labels.shape), "mask": self._mask(target)}}

    def watchers(self) -> Sequence[Watcher]:
        return [_nothing_seen]

    def _supervised(self, batch: Batch, images, labels) -> Loss:
        count = count_labelled(labels)
        logits = self.segmenter(images, training=True, draws=batch.get("draw"))
        value = sum_over_row_blocks(
            lambda logits, labels: cross_entropy(logits, labels, count),
            [logits],
            images.shape[1:3],
            [labels],
            align_corners=self.segmenter.align_corners,
        )
        return Loss(value, trains="segmenter")

    @staticmethod
    def _upsampled(logits, images):
        return tf.image.resize(logits, images.shape[1:3])

    def _mask(self, target: Batch) -> tf.Tensor:
        height, width = target["image"].shape[1:3]
        cells = -(-height // self.cell), -(-width // self.cell)
        kept = tf.cast(randomness.uniform(self.seed, "mask", target["draw"], cells) < _KEPT, tf.float32)
        return tf.repeat(tf.repeat(kept, self.cell, 1), self.cell, 2)[:, :height, :width, None]


def _nothing_seen(measured: Mapping[str, float]) -> str | None:
    return "the masks leave nothing to see" if measured["seen_share"] == 0 else None


def build(config: Config, segmenter: keras.Model) -> MaskedTeacher:
    """Makes the method and its optimizers from the config."""
    return MaskedTeacher(
        segmenter,
        segmenter_optimizer(config, segmenter),
        seed=config.seed,
        cell=config.method.cell,
        decay=config.method.decay,
        accumulation_steps=config.training.accumulation_steps,
    )
