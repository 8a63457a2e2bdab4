"""How a segmenter looks at an image: at several scales and mirrored (test-time augmentation), whole or by windows."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from fada_tf.errors import InputError
from fada_tf.models.class_maps import Seen, predict_class_map, predict_confident_map, predict_probabilities
from fada_tf.models.layers import resize_align_corners
from fada_tf.models.segmenter import Segmenter, check_size, find_backbone
from fada_tf.models.window_logits import window_logits
from fada_tf.windows import Windows


@dataclasses.dataclass(frozen=True)
class Views:
    """How a segmenter looks at an image.

    Attributes:
      scales: factors on the size of the resized image; the new sizes are rounded down, as by the authors,
        https://github.com/JDAI-CV/FADA/blob/a1c6403/test.py#L50; of a backbone that sees multiples of some pixels, to
        one of them, where images are seen whole.
      flip: whether each scale is seen mirrored too.
      windows: by which each of these is seen; None: whole.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    windows: Windows | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self):
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales are {self.scales}: give one or more numbers above 0")

    @classmethod
    def parse(cls, scales: Sequence[str], flip: bool, windows: Windows | None = None) -> "Views":
        """Returns the views of a list of numbers as texts.

        Raises:
          InputError: they are not numbers above 0.
        """
        try:
            return cls(tuple(float(scale) for scale in scales), flip, windows)
        except ValueError as error:
            raise InputError(f"scales are {','.join(scales)!r}: give numbers above 0, such as 0.7,1,1.3") from error

    def logits(
        self,
        segmenter: Segmenter,
        images: tf.Tensor,
        *,
        at_once: int = 0,
        progress: Callable[[int], object] | None = None,
    ) -> list[Seen]:
        """Runs the segmenter on every view.

        Args:
          segmenter: the model.
          images: RGB [batch, height, width, 3] in 0..255.
          at_once: see `window_logits`.
          progress: see `window_logits`.

        Returns:
          For each view, float32 [batch, its height, its width, classes] or `WindowLogits`, those of mirrored views
          turned back: what the methods below take. The batch is the first dimension of all tensors.
        """
        seen: list[Seen] = []
        for scale in self.scales:
            view = images if scale == 1 else resize_align_corners(images, self._scaled(segmenter, images, scale))
            for mirrored in (False, True)[: 1 + self.flip]:
                pixels = tf.reverse(view, [2]) if mirrored else view
                if self.windows:
                    found = window_logits(segmenter, pixels, self.windows, at_once=at_once, progress=progress)
                    seen.append(found.mirrored() if mirrored else found)
                else:
                    logits = segmenter(pixels, training=False)
                    seen.append(tf.reverse(logits, [2]) if mirrored else logits)
        return seen

    def _scaled(self, segmenter: Segmenter, images: tf.Tensor, scale: float):
        """Returns the height and width of a view; integers where those of the images are known."""
        multiple = 1 if self.windows else segmenter.multiple
        if None not in images.shape[1:3]:
            return tuple(_rounded(side, scale, multiple) for side in images.shape[1:3])
        sides = tf.floor(tf.cast(tf.shape(images)[1:3], tf.float64) * scale)
        return tf.cast(sides, tf.int32) // multiple * multiple

    def class_map(self, segmenter: Segmenter, seen: Sequence[Seen], size) -> tf.Tensor:
        """Returns the most likely class of every pixel, int32 [batch, *size]; see `predict_class_map`."""
        return predict_class_map(seen, size, align_corners=segmenter.align_corners, windows=self.windows)

    def confident_map(self, segmenter: Segmenter, seen: Sequence[Seen], size) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the class map, as int64, and the probability of its classes; see `predict_confident_map`."""
        return predict_confident_map(seen, size, align_corners=segmenter.align_corners, windows=self.windows)

    def probabilities(self, segmenter: Segmenter, seen: Sequence[Seen], size) -> tf.Tensor:
        """Returns the probability of every class, float32 [batch, *size, classes]; see `predict_class_map`."""
        return predict_probabilities(seen, size, align_corners=segmenter.align_corners, windows=self.windows)

    def check(self, backbone: str, height: int, width: int) -> None:
        """Raises `InputError` unless a backbone can see all views of images of this size; 0: of any."""
        for scale in self.scales:
            multiple = 1 if self.windows or scale == 1 else find_backbone(backbone).multiple
            sides = _rounded(height, scale, multiple), _rounded(width, scale, multiple)
            where = f"the image at scale {scale:g}"
            if self.windows:
                window = self.windows.window
                cut = tuple(map(min, window, sides)) if height else window
                where, sides = "the window" if cut == window else f"the window in {where}", cut
            check_size(backbone, *sides, where)

    def number_of_windows(self, height: int, width: int) -> int:
        """Returns how many windows all views of an image of this height and width have; 0 where they are whole."""
        if not self.windows:
            return 0
        sizes = ((math.floor(height * scale), math.floor(width * scale)) for scale in self.scales)
        return (1 + self.flip) * sum(self.windows.number(*size) for size in sizes)


def _rounded(side: int, scale: float, multiple: int) -> int:
    return math.floor(side * scale) // multiple * multiple


def of_picture(seen: Sequence[Seen], index) -> list[Seen]:
    """Returns what was seen of one picture of the batch, as a batch of one."""
    return tf.nest.map_structure(lambda values: values[index : index + 1], list(seen))


SINGLE_VIEW = Views()
