"""How far features have moved from those of a frozen network, where the labels show some classes.

DAFormer: Hoyer et al., CVPR 2022, section 3.5, https://arxiv.org/abs/2111.14887. Code:
https://github.com/lhoyer/DAFormer/blob/e6f6e04/mmseg/models/uda/dacs.py#L153-L189
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def feature_distance(
    features: tf.Tensor,
    frozen_features: tf.Tensor,
    labels: tf.Tensor,
    classes: Sequence[int],
    share: float = 0.75,
) -> tf.Tensor:
    """Returns the mean Euclidean distance of two feature maps over the cells that show one of the classes.

    A cell is what of the image one position of the maps stands for, when its pixels are dealt out to the positions.

    Args:
      features: [batch, rows, columns, channels], of the network that learns.
      frozen_features: the same of the one that it started as; nothing learns through it.
      labels: integers [batch, height, width], class ids or 255.
      classes: ids of the classes, usually things: backgrounds change more from domain to domain.
      share: the least share of a cell's pixels, above 0.5, that is of one and the same of the classes.

    Returns:
      float32 scalar; 0 where no cell shows one of the classes.
    """
    cells = tf.cast(show_one_class(labels, features.shape[1:3], classes, share), tf.float32)
    difference = tf.cast(features, tf.float32) - tf.stop_gradient(tf.cast(frozen_features, tf.float32))
    squared = tf.reduce_sum(tf.square(difference), axis=-1)
    # A root's gradient at 0, which is where training starts, is infinite; here it is 0.
    moved = squared > 0
    distances = tf.where(moved, tf.sqrt(tf.where(moved, squared, 1.0)), 0.0)
    return tf.math.divide_no_nan(tf.reduce_sum(cells * distances), tf.reduce_sum(cells))


def show_one_class(labels: tf.Tensor, size: tuple[int, int], classes: Sequence[int], share: float = 0.75) -> tf.Tensor:
    """Returns bool [batch, *size]: the cells of which at least `share` is of one of the classes."""
    rows, columns = (_cells(length, cells) for length, cells in zip(labels.shape[1:3], size, strict=True))
    labels = tf.cast(labels, tf.int64)  # GPUs leave comparisons of int32 to the host
    of_class = tf.cast(tf.stack([labels == class_id for class_id in classes], axis=-1), tf.float32)
    counts = tf.einsum("ih,jw,bhwk->bijk", rows, columns, of_class)  # whole numbers, and so exact
    needed = share * np.outer(rows.sum(axis=1), columns.sum(axis=1))
    return tf.reduce_any(counts >= needed[..., None].astype(np.float32), axis=-1)


def _cells(length: int, cells: int) -> np.ndarray:
    """Returns float32 [cells, length]: 1 where a pixel is of a cell; pixel p is of cell floor(p * cells / length)."""
    of_pixel = np.arange(length) * cells // length
    return (np.arange(cells)[:, None] == of_pixel).astype(np.float32)
