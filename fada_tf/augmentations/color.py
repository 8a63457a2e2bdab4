"""Colour jitter of images in a training step, in floats; `fada_tf.data.color` is that of the input pipeline."""

import tensorflow as tf

from fada_tf.data.color import turn_hue

_GREY = (0.299, 0.587, 0.114)  # ITU-R 601 luma of red, green, blue


def jitter(images: tf.Tensor, numbers: tf.Tensor, strength: float = 0.2, probability: float = 0.8) -> tf.Tensor:
    """Changes brightness, then contrast, saturation and hue of most images, by amounts of their own.

    Brightness, contrast (about the image's mean grey) and saturation are multiplied by factors in 1 +- `strength`, hues
    are turned by up to +- `strength` of the colour circle. The order is fixed, where DACS draws one of 24, all of which
    a step would hold: https://arxiv.org/abs/2007.08702.

    Args:
      images: float32 [batch, height, width, 3], red, green, blue in 0..255.
      numbers: float32 [batch, 5], uniform in 0..1: whether an image is changed, and by how much in each respect.
      strength: 0 changes nothing, at most 1.
      probability: the share of images that are changed.

    Returns:
      float32 images of the same shape, in 0..255 where they are changed, not rounded to grey levels.
    """
    amounts = strength * (2.0 * numbers[:, :, None, None, None] - 1.0)
    changed = tf.clip_by_value(images * (1.0 + amounts[:, 1]), 0.0, 255.0)
    changed = _blended(tf.reduce_mean(_grey(changed), axis=[1, 2], keepdims=True), changed, 1.0 + amounts[:, 2])
    changed = _blended(_grey(changed), changed, 1.0 + amounts[:, 3])
    changed = turn_hue(changed, amounts[:, 4, ..., 0])
    return tf.where(numbers[:, 0, None, None, None] < probability, changed, images)


def _grey(images: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(images * _GREY, axis=-1, keepdims=True)


def _blended(start: tf.Tensor, end: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Goes from `start` by `factor` of the way to `end`; 1 gives exactly `end`."""
    return tf.clip_by_value(factor * end + (1.0 - factor) * start, 0.0, 255.0)
