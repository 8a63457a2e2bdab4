"""Entropy minimization (MinEnt of Vu et al., ADVENT, CVPR 2019): be certain on the target, whatever the class."""

import dataclasses
import functools
import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from fada_tf.config import Config
from fada_tf.losses.row_blocks import sum_over_row_blocks
from fada_tf.methods import source_only
from fada_tf.methods.base import Batch, Loss
from fada_tf.methods.source_only import SourceOnly
from fada_tf.schema import option


@dataclasses.dataclass
class Settings(source_only.Settings):
    """What users choose."""

    entropy_weight: float = option(0.001, "lambda_ent, the weight of L_ent", minimum=0)


class EntropyMinimization(SourceOnly):
    """Minimises L_seg on the source and lambda L_ent on the target, over F and C."""

    domains = ("source", "target")
    measured = ("segmentation", "entropy")

    def __init__(self, *arguments, entropy_weight: float, **options):
        """Sets up the method; for the other arguments see `SourceOnly`."""
        super().__init__(*arguments, **options)
        self.entropy_weight = entropy_weight

    def passes(self, source: Batch, target: Batch) -> Iterator[dict[str, Loss]]:
        """Yields L_seg of the source, then L_ent of the target."""
        yield from super().passes(source)
        yield {"entropy": Loss(self._entropy(target), trains="segmenter", weight=self.entropy_weight)}

    def _entropy(self, target: Batch) -> tf.Tensor:
        """Returns the mean entropy of a pixel at full size, as a share of the highest, log K."""

        def summed(logits):
            log_probabilities = tf.nn.log_softmax(logits)
            return -tf.reduce_sum(tf.exp(log_probabilities) * log_probabilities)

        images = target["image"]
        logits = self.segmenter(images, training=True, draws=target.get("draw"))
        pixels = tf.size(images[..., 0], tf.float32)
        aligned = self.segmenter.align_corners
        total = sum_over_row_blocks(summed, [logits], images.shape[1:3], align_corners=aligned)
        return total / (pixels * math.log(logits.shape[-1]))


def build(config: Config, segmenter: keras.Model) -> SourceOnly:
    """Makes the method and its optimizer from the config."""
    method = functools.partial(EntropyMinimization, entropy_weight=config.method.entropy_weight)
    return source_only.build(config, segmenter, method)
