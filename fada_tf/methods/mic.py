"""MIC: masked image consistency beside DACS; what is hidden must be told from what is around it.

Hoyer et al., CVPR 2023, https://arxiv.org/abs/2212.01322. Code: https://github.com/lhoyer/MIC/blob/2f932a9,
seg/mmseg/models/uda/masking_consistency_module.py.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import ClassVar

import keras
import tensorflow as tf

from fada_tf import randomness
from fada_tf.augmentations import block_mask, classmix
from fada_tf.config import Config
from fada_tf.facts import Facts
from fada_tf.methods import dacs
from fada_tf.methods.base import Batch, Loss
from fada_tf.methods.base_teacher import Pass, TeacherMethod
from fada_tf.methods.dacs import Dacs
from fada_tf.schema import option


@dataclasses.dataclass
class MaskSettings:
    """What users choose of masked consistency."""

    mask_block: int = option(64, "pixels; side of what is hidden as one (paper: 64, at half resolution 32)", minimum=1)
    mask_ratio: float = option(0.7, "share of the blocks that are hidden", minimum=0, maximum=1)
    masked_weight: float = option(1.0, "lambda, of the loss on masked images; 0: no such pass", minimum=0)


@dataclasses.dataclass
class Settings(MaskSettings, dacs.Settings):
    """What users choose."""

    relative_cost: ClassVar[float] = 3.4

    mode: str = option(
        "target", "what is masked: target images, with other colours (rendered to real); or source and target images "
        "in turn, as they are (separate: clear to adverse weather)", choices=("target", "separate"),
    )  # fmt: skip

    def follow(self, target: Facts) -> None:
        """Masks source and target in turn where the target is of adverse weather."""
        self.mode = "separate" if target.adverse else "target"


class MaskedConsistency(TeacherMethod):
    """What methods have in common whose student learns the teacher's labels on masked images."""

    def with_mask(self, batch: Batch, *, colored: bool) -> Batch:
        """Hides blocks of images.

        Args:
          batch: "image" and "draw", and perhaps "mask_cells", float32 [batch, rows, columns]: the blocks that stay.
          colored: make what stays harder to recognise as well.

        Returns:
          The batch with "image" float32 in 0..255 and "mask" float32 [batch, height, width, 1], 0 where it is hidden.
        """
        images = tf.cast(batch["image"], tf.float32)
        if colored:
            images = self.strong(images, batch.get("draw"), "masked")
        size = images.shape[1:3]
        if "mask_cells" in batch:
            kept = batch["mask_cells"]
        else:
            cells = block_mask.cells(size, self.settings.mask_block)
            numbers = randomness.uniform(self.seed, "mask", batch["draw"], cells)
            kept = tf.cast(numbers > self.settings.mask_ratio, tf.float32)
        return batch | {"image": images, "mask": block_mask.enlarged(kept, size)}

    def masked_pass(self, masked: Batch) -> Pass:
        """The student learns the "label" of what `with_mask` returns, by its "weight"."""
        loss, _ = self.consistency(masked, mask=masked["mask"])
        return {"masked": Loss(loss, trains="segmenter", weight=self.settings.masked_weight)}


class Mic(Dacs, MaskedConsistency):
    """Minimises what DACS does, and L_masked: the student tells the teacher's labels from masked images."""

    def __init__(self, *args, **options):
        """Sets up the method; see `Dacs`."""
        super().__init__(*args, **options)
        if self.settings.masked_weight:
            self.measured = (*self.measured, "masked")

    def taught_passes(self, source: Batch, target: Batch, pseudo: Mapping[str, tf.Tensor]) -> Iterator[Pass]:
        """Yields the losses of the mix and of masked images."""
        yield from super().taught_passes(source, target, pseudo)
        if self.settings.masked_weight:
            yield self.masked_pass(self.masked(source, target, pseudo))

    def pictures(self, source: Batch, target: Batch) -> dict[str, Batch]:
        """Returns the mix and, if it is learned, what is masked."""
        made = super().pictures(source, target)
        if self.settings.masked_weight:
            made["masked"] = self.masked(source, target, self.pseudo_labels(target))
        return made

    def masked(self, source: Batch, target: Batch, pseudo: Mapping[str, tf.Tensor]) -> Batch:
        """Returns what is shown masked: the target or, as `mode` says, source and target in turn; see `with_mask`."""
        whole = target | pseudo
        if self.settings.mode == "separate":
            # By an image's own number, so that parts of a batch hold what the whole one does.
            of_source = tf.broadcast_to((target["draw"] % 2 == 0)[:, None, None], tf.shape(pseudo["label"]))
            above = source | {"weight": tf.ones_like(pseudo["weight"])}
            images, labels, weights = (
                classmix.paste(of_source, tf.cast(above[key], dtype), tf.cast(whole[key], dtype))
                for key, dtype in (("image", tf.float32), ("label", tf.int64), ("weight", tf.float32))
            )
            whole |= {"image": images, "label": labels, "weight": weights}
        return self.with_mask(whole, colored=self.settings.mode == "target")


def build(config: Config, segmenter: keras.Model) -> Mic:
    """Makes the method, its teacher and its optimizers from the config."""
    return dacs.build_mixing(Mic, config, segmenter)
