"""Labels that are shapes with names of classes, to pixels."""

import numpy as np
from PIL import Image, ImageDraw

from fada_tf.data.images import LabelPixels
from fada_tf.errors import InputError

BACKGROUND = "_background_"  # what pixels are called on which nothing is drawn, as labelme does
_FURTHEST = 1 << 20  # pixels beside the image that a corner may lie


class Canvas:
    """Takes shapes, each over those before it."""

    def __init__(self, height: object, width: object, background: str = BACKGROUND):
        """Begins with a background alone.

        Args:
          height: of the image.
          width: of the image.
          background: the name of the class where nothing is drawn.

        Raises:
          InputError: no image has this size.
        """
        if (
            type(height) is not int
            or type(width) is not int
            or min(height, width) < 1
            or height * width > _most_pixels()
        ):
            raise InputError(f"has the size {width!r}x{height!r}, which no image can have")
        self.height, self.width = height, width
        self._names = {background: 0}
        self._canvas = Image.new("I", (width, height), 0)
        self._pen = ImageDraw.Draw(self._canvas)

    def polygon(self, name: str, corners: object) -> None:
        """Draws a polygon as Pillow does, with its edges.

        Args:
          name: of the class.
          corners: pairs (x, y), three at least; pixel i has its centre at i.

        Raises:
          InputError: they are none, or fewer.
        """
        places = checked_corners(name, corners, 3)
        self._pen.polygon([tuple(corner) for corner in places.tolist()], fill=self._number(name))

    def rectangle(self, name: str, corners: object) -> None:
        """Draws the rectangle between two opposite corners, see `polygon`."""
        low_high = np.sort(checked_corners(name, corners, 2, exactly=True), axis=0)
        self._pen.rectangle([tuple(corner) for corner in low_high.tolist()], fill=self._number(name))

    def circle(self, name: str, points: object) -> None:
        """Draws a circle, of which the centre and a point of the edge are given, see `polygon`."""
        centre, edge = checked_corners(name, points, 2, exactly=True)
        radius = float(np.hypot(*(edge - centre)))
        box = [*(centre - radius).tolist(), *(centre + radius).tolist()]
        self._pen.ellipse(box, fill=self._number(name))

    def region(self, name: str, mask: np.ndarray, left: int = 0, top: int = 0) -> None:
        """Draws the pixels of a mask.

        Args:
          name: of the class.
          mask: [rows, columns] bool.
          left: column of the image that the first one of the mask lies on.
          top: row of the image that the first one of the mask lies on.
        """
        self._canvas.paste(self._number(name), (left, top), Image.fromarray(mask))

    def pixels(self) -> LabelPixels:
        """Returns what was drawn."""
        values = np.asarray(self._canvas).astype(np.uint32)
        return LabelPixels(values, names=tuple(self._names), are_ids=False)

    def _number(self, name: str) -> int:
        return self._names.setdefault(name, len(self._names))


def checked_corners(name: str, corners: object, least: int, *, exactly: bool = False) -> np.ndarray:
    """Returns a shape's corners, [corners, 2] float64.

    Args:
      name: of its class, for messages.
      corners: pairs of numbers.
      least: the least number of them.
      exactly: whether there may be no more.

    Raises:
      InputError: they are no pairs of numbers, too few or many, or far outside of the image.
    """
    try:
        places = np.array(corners, np.float64).reshape(len(corners), 2)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise InputError(f"has a polygon of {name!r} whose corners are no pairs of numbers") from error
    if not (np.abs(places) < _FURTHEST).all():
        raise InputError(f"has a polygon of {name!r} that is far outside of the image")
    if len(places) < least or (exactly and len(places) > least):
        due = f"{least} are due" if exactly else f"{least} are the least: mend or remove it"
        raise InputError(f"has a polygon of {name!r} with {len(places)} corners, where {due}")
    return places


def _most_pixels() -> int:
    """Returns how many pixels Pillow would open."""
    return 2 * (Image.MAX_IMAGE_PIXELS or 1 << 30)
