"""What training should know of a data set beyond its images and labels; manifests keep it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Facts:
    """What is true of all images of a data set.

    Attributes:
      margins: what shows the camera's own car or no street, as fractions: of the height at the top and at the bottom,
        of the width at the left and at the right.
      adverse: whether it is known for bad weather or night, so that it is colours and sight that differ from a source.
    """

    margins: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    adverse: bool = False

    def margins_in_pixels(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Returns the margins of an image of this size."""
        top, bottom, left, right = self.margins
        return round(top * height), round(bottom * height), round(left * width), round(right * width)

    def to_json(self) -> dict[str, Any]:
        """Returns the facts as JSON values; `from_json` reads them back."""
        return {"margins": list(self.margins), "adverse": self.adverse}

    @classmethod
    def from_json(cls, values: Any) -> "Facts":
        """Returns the facts that `to_json` wrote.

        Raises:
          ValueError, LookupError, TypeError: the values are none.
        """
        top, bottom, left, right = (float(value) for value in values["margins"])
        if not (min(top, bottom, left, right) >= 0 and top + bottom < 1 and left + right < 1):
            raise ValueError(f"margins are {values['margins']}")
        return cls((top, bottom, left, right), bool(values["adverse"]))


ADVERSE = Facts(adverse=True)
# The rectified border and the bonnet, 30 and 240 of 1024 rows (lines 30 and 31 of
# https://github.com/lhoyer/DAFormer/blob/e6f6e04/configs/daformer/gta2cs_uda_warm_fdthings_rcs_croppl_a999_daformer_mitb5_s0.py)
CITYSCAPES_MARGINS = (30 / 1024, 240 / 1024, 0.0, 0.0)
