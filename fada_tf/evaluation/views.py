"""Test-time augmentation: an image seen at several scales and mirrored."""

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from fada_tf.errors import InputError
from fada_tf.models.layers import resize, resize_align_corners
from fada_tf.models.segmenter import Segmenter


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


def mean_probabilities(logits: Sequence[tf.Tensor], size, *, align_corners: bool) -> tf.Tensor:
    """Returns the mean over the views of every class's probability.

    Args:
      logits: float32 [batch, any height, any width, classes] for each view.
      size: (height, width) of the result, integers or an integer tensor [2].
      align_corners: the segmenter's.

    Returns:
      float32 [batch, *size, classes].
    """
    full = (resize(view, size, align_corners=align_corners) for view in logits)
    return tf.add_n([tf.nn.softmax(view) for view in full]) / len(logits)
