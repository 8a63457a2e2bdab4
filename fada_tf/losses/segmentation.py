"""Cross entropy on labelled pixels."""

import tensorflow as tf

from fada_tf.data.labels import IGNORE


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the mean cross entropy over the pixels that have a label (paper eq. 1).

    Args:
      logits: float32 [batch, height, width, classes].
      labels: integers [batch, height, width], class ids or 255 for pixels without a label.

    Returns:
      float32 scalar. The denominator is the number of labelled pixels in the batch; without any the loss is 0.
    """
    labels = tf.cast(labels, tf.int32)
    labelled = labels != IGNORE
    pixel_losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.where(labelled, labels, 0), logits=tf.cast(logits, tf.float32)
    )
    count = tf.reduce_sum(tf.cast(labelled, tf.float32))
    return tf.math.divide_no_nan(tf.reduce_sum(tf.where(labelled, pixel_losses, 0.0)), count)
