"""Which pixels lie near boundaries of classes: where a segmenter's outlines are good or bad is seen there alone."""

import tensorflow as tf

from fada_tf.data.labels import IGNORE

DISTANCE = 5  # pixels


def near_boundary(label: tf.Tensor, distance: int = DISTANCE) -> tf.Tensor:
    """Finds the band around the boundaries of a label (a "trimap": Krähenbühl and Koltun, 2011, arXiv 1210.5644).

    Args:
      label: integers [height, width], class ids or 255 for pixels that do not count.
      distance: of the band's pixels from another class, in rows and in columns.

    Returns:
      bool [height, width]: whether a pixel counts and has one of another class among those of the square of
      2 * `distance` + 1 pixels around it; pixels that do not count make no boundary.
    """
    ids = tf.cast(label, tf.float32)
    counts = tf.not_equal(ids, IGNORE)

    def largest(values: tf.Tensor) -> tf.Tensor:
        """Returns the largest value of the square around each pixel: along columns, then along rows."""
        for _ in range(2):
            values = tf.transpose(tf.nn.max_pool1d(values[None], 2 * distance + 1, 1, "SAME")[0])
        return values

    # Of a pixel that counts, the square holds its own class: another one is larger or smaller.
    several = tf.not_equal(largest(tf.where(counts, ids, -1.0)), -largest(tf.where(counts, -ids, -float(IGNORE))))
    return tf.logical_and(counts, several)
