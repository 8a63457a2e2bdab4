"""Cross entropy on labelled pixels."""

import tensorflow as tf

from fada_tf.data.labels import IGNORE


def cross_entropy(
    logits: tf.Tensor,
    labels: tf.Tensor,
    denominator: tf.Tensor | float | None = None,
    weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the mean cross entropy over the pixels that have a label (paper eq. 1).

    Args:
      logits: float32 [batch, height, width, classes].
      labels: integers [batch, height, width], class ids or 255 for pixels without a label.
      denominator: divides the sum over pixels; None: `count_labelled(labels)`.
      weights: float32 [batch, height, width], factors of the pixels in that sum; None: 1.

    Returns:
      float32 scalar; 0 where the denominator is.
    """
    labels = tf.cast(labels, tf.int64)  # GPUs leave comparisons of int32 to the host
    labelled = labels != IGNORE
    pixel_losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.where(labelled, labels, 0), logits=tf.cast(logits, tf.float32)
    )
    if weights is not None:
        pixel_losses *= weights
    denominator = count_labelled(labels) if denominator is None else denominator
    return tf.math.divide_no_nan(tf.reduce_sum(tf.where(labelled, pixel_losses, 0.0)), denominator)


def count_pixels(images: tf.Tensor) -> tf.Tensor:
    """Returns the number of all pixels of images [batch, height, width, ...], float32; those without a label count."""
    return tf.cast(tf.reduce_prod(tf.shape(images)[:3]), tf.float32)


def count_labelled(labels: tf.Tensor) -> tf.Tensor:
    """Returns the number of pixels that have a label, float32, of labels as for `cross_entropy`."""
    return tf.reduce_sum(tf.cast(tf.cast(labels, tf.int64) != IGNORE, tf.float32))
