"""ClassMix: half of the classes of a labelled image are pasted onto another image.

Source: https://arxiv.org/abs/2007.07936, and across domains https://arxiv.org/abs/2007.08702. The authors of the latter
draw from the classes of the whole batch, of which 255 is one; here they are those of each image, so that its mix is the
same however a batch is split, and what has no label is not pasted.
"""

import tensorflow as tf


def choose_classes(labels: tf.Tensor, num_classes: int, numbers: tf.Tensor) -> tf.Tensor:
    """Chooses half, rounded up, of the classes that each image has; 255 is none.

    Args:
      labels: integers [batch, height, width], 0 to `num_classes` - 1, or 255.
      num_classes: K.
      numbers: [batch, K], uniform in 0..1; the classes with the lowest are chosen.

    Returns:
      int32 [batch, K]: the chosen class, or -1, in the place of each class.
    """
    classes = tf.range(num_classes)
    present = tf.reduce_any(_equal(labels, classes[None]), axis=[2, 3])
    ranks = tf.argsort(tf.argsort(tf.where(present, numbers, 2.0), stable=True))
    chosen = (tf.reduce_sum(tf.cast(present, tf.int32), axis=1, keepdims=True) + 1) // 2
    return tf.where(ranks < chosen, classes, -1)


def mask_of(labels: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Returns where the label is one of an image's classes.

    Args:
      labels: integers [batch, height, width], 0 to 255.
      classes: integers [batch, any number], filled up with -1.

    Returns:
      bool [batch, height, width].
    """
    return tf.reduce_any(_equal(labels, classes), axis=1)


def paste(mask: tf.Tensor, on_top: tf.Tensor, below: tf.Tensor) -> tf.Tensor:
    """Returns `on_top` where the mask is set, `below` elsewhere.

    Args:
      mask: bool [batch, height, width].
      on_top: [batch, height, width] or [batch, height, width, channels].
      below: the same shape and dtype.
    """
    return tf.where(mask if len(on_top.shape) == 3 else mask[..., None], on_top, below)


def _equal(labels: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Returns bool [batch, classes, height, width]."""
    # GPUs compare int64 and not int32.
    return tf.cast(labels, tf.int64)[:, None] == tf.cast(classes, tf.int64)[:, :, None, None]
