"""Multi-scale and mirrored inference, as the authors' test program does."""

import tensorflow as tf

from fada_tf.models.layers import resize_align_corners
from fada_tf.models.segmenter import Segmenter

SCALES = (0.7, 1.0, 1.3)


def multi_scale_logits(segmenter: Segmenter, images: tf.Tensor) -> list[tf.Tensor]:
    """Runs the segmenter at three scales, each also mirrored left and right.

    Args:
      segmenter: the model.
      images: RGB float32 [batch, height, width, 3] in 0..255, at the model's size (static).

    Returns:
      Six float32 logits [batch, height / 8, width / 8, classes] of the scaled sizes, all the right way round.
    """
    height, width = images.shape[1:3]
    logits = []
    for scale in SCALES:
        scaled = resize_align_corners(images, (int(height * scale), int(width * scale)))
        logits.append(segmenter(scaled))
        logits.append(tf.reverse(segmenter(tf.reverse(scaled, [2])), [2]))
    return logits


def mean_probabilities(logits: list[tf.Tensor], size) -> tf.Tensor:
    """Returns the mean of the softmaxes of several logits, each upsampled first.

    Args:
      logits: float32 [batch, any height, any width, classes] each.
      size: (height, width) of the result, integers or an integer tensor [2].

    Returns:
      float32 [batch, *size, classes].
    """
    return tf.add_n([tf.nn.softmax(resize_align_corners(each, size)) for each in logits]) / len(logits)
