"""Test-time augmentation: an image seen at several scales and mirrored, and the one class map that follows."""

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from fada_tf.errors import InputError
from fada_tf.models.interpolation import Interpolation
from fada_tf.models.layers import resize_align_corners
from fada_tf.models.segmenter import Segmenter

_BLOCK_VALUES = 1 << 21  # scores of a view in a block of rows; a few maps of this size are alive at once


@dataclasses.dataclass(frozen=True)
class Views:
    """How a segmenter looks at an image.

    Attributes:
      scales: factors on the size of the resized image; the new sizes are rounded down, as by the authors:
        https://github.com/JDAI-CV/FADA/blob/a1c6403/test.py#L50.
      flip: whether each scale is seen mirrored too.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __post_init__(self):
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales are {self.scales}: give one or more numbers above 0")

    @classmethod
    def parse(cls, scales: Sequence[str], flip: bool) -> "Views":
        """Returns the views of a list of numbers as texts.

        Raises:
          InputError: they are not numbers above 0.
        """
        try:
            return cls(tuple(float(scale) for scale in scales), flip)
        except ValueError as error:
            raise InputError(f"scales are {','.join(scales)!r}: give numbers above 0, such as 0.7,1,1.3") from error

    def logits(self, segmenter: Segmenter, images: tf.Tensor) -> list[tf.Tensor]:
        """Runs the segmenter on every view.

        Args:
          segmenter: the model.
          images: RGB [batch, height, width, 3] in 0..255, of static size.

        Returns:
          float32 [batch, its height, its width, classes] for each view, those of mirrored views turned back.
        """
        logits = []
        for scale in self.scales:
            size = tuple(math.floor(side * scale) for side in images.shape[1:3])
            view = images if scale == 1 else resize_align_corners(images, size)
            logits.append(segmenter(view, training=False))
            if self.flip:
                logits.append(tf.reverse(segmenter(tf.reverse(view, [2]), training=False), [2]))
        return logits


SINGLE_VIEW = Views()


def predict_class_map(logits: tf.Tensor | Sequence[tf.Tensor], size) -> tf.Tensor:
    """Returns the most likely class of every pixel.

    The scores of all classes at full size would need gigabytes for a large picture, so its rows come in blocks.

    Args:
      logits: float32 [batch, height, width, classes], at the segmenter's `stride`; or one such tensor for each view,
        whose probabilities at `size` are averaged, as by the authors: https://github.com/JDAI-CV/FADA/blob/a1c6403/test.py#L46-L62.
      size: height and width of the result, integers or an integer tensor [2].

    Returns:
      int32 [batch, *size].
    """
    views = [logits] if tf.is_tensor(logits) else list(logits)
    # What is known when the graph is traced is known of all shapes, which benchmarks count operations and bytes by.
    known = tf.get_static_value(tf.convert_to_tensor(size))
    height, width = tf.unstack(tf.cast(size, tf.int32)) if known is None else map(int, known)
    batch, classes = views[0].shape[0] or tf.shape(views[0])[0], views[0].shape[-1]
    rows = _BLOCK_VALUES // (batch * width * classes)
    if tf.is_tensor(rows) or tf.is_tensor(height):
        rows = tf.clip_by_value(rows, 1, height)
    else:
        rows = min(max(rows, 1), height)
    blocks = -(-height // rows)
    # In width the maps grow at once, which leaves them a fraction of full size.
    wide = [Interpolation(tf.shape(view)[2], width).at(view, 2, tf.range(width)) for view in views]

    def block(first: tf.Tensor) -> tf.Tensor:
        """Returns int32 [batch, rows, width], the rows from `first` on; below the last, it again."""
        block_rows = tf.minimum(first + tf.range(rows), height - 1)
        scores = [Interpolation(tf.shape(view)[1], height).at(view, 1, block_rows) for view in wide]
        if len(scores) > 1:
            scores = [tf.add_n([tf.nn.softmax(values) for values in scores])]
        return tf.argmax(scores[0], axis=-1, output_type=tf.int32)

    starts = rows * tf.range(blocks)
    maps = tf.map_fn(block, starts, fn_output_signature=tf.TensorSpec([None, None, None], tf.int32))
    return tf.reshape(tf.transpose(maps, [1, 0, 2, 3]), [batch, blocks * rows, width])[:, :height]


def mean_probabilities(logits: Sequence[tf.Tensor], size) -> tf.Tensor:
    """Returns the mean over the views of every class's probability.

    Args:
      logits: float32 [batch, any height, any width, classes] for each view.
      size: (height, width) of the result, integers or an integer tensor [2].

    Returns:
      float32 [batch, *size, classes].
    """
    return tf.add_n([tf.nn.softmax(resize_align_corners(view, size)) for view in logits]) / len(logits)
