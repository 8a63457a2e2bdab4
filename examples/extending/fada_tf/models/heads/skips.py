"""Skip connections (FCN of Long et al., CVPR 2015): each map has scores of its own, and coarse ones join fine ones."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from fada_tf.models.heads.base import Head
from fada_tf.models.layers import convolution, resize_align_corners, zeros


@keras.saving.register_keras_serializable("fada_tf")
class AddResized(keras.layers.Layer):
    """Adds coarse scores to fine ones, at the size of the fine ones."""

    def call(self, scores):
        """Returns float32 scores [batch, height, width, K] of two such maps, the fine one first."""
        fine, coarse = scores
        return fine + resize_align_corners(coarse, tf.shape(fine)[1:3])


def _build(channels: Mapping[int, int], num_classes: int, batch_norm: str, rng: np.random.Generator) -> keras.Model:
    del batch_norm  # it has none
    maps = [keras.Input((None, None, count), name=f"map{stride}") for stride, count in channels.items()]
    scores = [
        convolution(features, num_classes, 1, bias=zeros, name=f"score{stride}", rng=rng)
        for stride, features in zip(channels, maps, strict=True)
    ]
    logits = scores.pop()
    for fine in reversed(scores):
        logits = AddResized(dtype="float32")([fine, logits])
    return keras.Model(maps, logits, name="classifier")


VARIANTS = {"skips": Head(_build, strides=(4, 8))}
