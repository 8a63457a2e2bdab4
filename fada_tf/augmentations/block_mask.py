"""Masks of square blocks, for masked image consistency.

Source: MIC, https://arxiv.org/abs/2212.01322.
"""

import numpy as np
import tensorflow as tf


def cells(size: tuple[int, int], block: int) -> tuple[int, int]:
    """Returns rows and columns of cells, at least one each, that are about `block` pixels of `size` (height, width)."""
    # Halves are rounded to even numbers, as by the authors.
    return tuple(max(round(side / block), 1) for side in size)


def enlarged(kept: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Enlarges cells to pixels: pixel i of a side takes cell floor(i * cells / side).

    Args:
      kept: float [batch, rows, columns], 1 where a cell stays, 0 where it is hidden.
      size: height and width of the images.

    Returns:
      float32 [batch, *size, 1], the factor of the images; see `fada_tf.models.segmenter.Segmenter.maps`.
    """
    pixels = tf.cast(kept, tf.float32)
    for axis, side in enumerate(size, start=1):
        pixels = tf.gather(pixels, np.arange(side) * kept.shape[axis] // side, axis=axis)
    return pixels[..., None]
