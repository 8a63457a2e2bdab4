"""Sliding windows: where in an image they lie, and how their scores become one.

A window larger than the image is cut to it. Windows follow one another by the stride; the last one of a row or column
is moved back, so that it ends where the image does.
"""

import dataclasses
import re
from typing import Any

from fada_tf.errors import InputError

AVERAGES = ("logits", "softmax")
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Windows:
    """How a segmenter sees an image part by part.

    Attributes:
      window: height and width, pixels.
      stride: from one window to the next, down and to the right, pixels; not more than the window's sides, or pixels
        between would be in none.
      average: what is averaged where windows overlap, at full size: the "logits", or their "softmax".
    """

    window: tuple[int, int]
    stride: tuple[int, int]
    average: str = "logits"

    def __post_init__(self):
        if min(self.window) < 1:
            raise ValueError(f"the window is {_text(self.window)}: give a height and a width above 0")
        if not all(0 < step <= side for step, side in zip(self.stride, self.window, strict=True)):
            raise ValueError(
                f"the stride is {_text(self.stride)}: give 1 pixel or more, and no more than the window "
                f"{_text(self.window)}, or pixels between would be in none"
            )
        if self.average not in AVERAGES:
            raise ValueError(f"the average is of {self.average!r}: choose from {', '.join(AVERAGES)}")

    @classmethod
    def parse(
        cls, window: str = "", stride: str = "", average: str = AVERAGES[0], *, prefix: str = "--"
    ) -> "Windows | None":
        """Returns the windows of texts HEIGHTxWIDTH.

        Args:
          window: empty: there are none.
          stride: empty: two thirds of the window, rounded down.
          average: see the class.
          prefix: of the settings' names in error messages.

        Raises:
          InputError: a text is no size, or they do not fit each other.
        """
        if not window:
            if stride or average != AVERAGES[0]:
                given = f"stride is {stride!r}" if stride else f"average is {average!r}"
                raise InputError(f"{prefix}{given} without a window: give {prefix}window=HEIGHTxWIDTH too")
            return None
        sides = _sides(window, f"{prefix}window")
        steps = _sides(stride, f"{prefix}stride") if stride else tuple(max(2 * side // 3, 1) for side in sides)
        try:
            return cls(sides, steps, average)
        except ValueError as error:
            raise InputError(f"{prefix}window={window}, {prefix}stride={stride or _text(steps)}: {error}") from error

    @classmethod
    def of(cls, evaluation: Any) -> "Windows | None":
        """Returns the windows of a config's `data.evaluation`, if any.

        Raises:
          InputError: see `parse`.
        """
        return cls.parse(evaluation.window, evaluation.stride, evaluation.average, prefix="config.data.evaluation.")

    @property
    def texts(self) -> dict[str, str]:
        """What `parse` takes, by name."""
        return {"window": _text(self.window), "stride": _text(self.stride), "average": self.average}

    def __str__(self):
        return "_".join([f"window{_text(self.window)}", f"stride{_text(self.stride)}", self.average])

    def number(self, height: int, width: int) -> int:
        """Returns the number of windows of an image of this height and width, pixels."""
        sides = zip((height, width), self.window, self.stride, strict=True)
        rows, columns = (max(-((window - side) // step), 0) + 1 for side, window, step in sides)
        return rows * columns


def _sides(text: str, name: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if not match:
        raise InputError(f"{name} is {text!r}: give HEIGHTxWIDTH in pixels, such as 512x512")
    return int(match[1]), int(match[2])


def _text(sides: tuple[int, int]) -> str:
    return "x".join(map(str, sides))
