"""Labels that are polygons with names of classes, to pixels."""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from fada_tf.data.images import LabelPixels
from fada_tf.errors import InputError

_FURTHEST = 1 << 20  # pixels beside the image that a corner may lie


def draw(
    height: int, width: int, shapes: Iterable[tuple[str, Sequence[Sequence[float]]]], background: str
) -> LabelPixels:
    """Draws polygons over each other, in their order, as Pillow does, with their edges.

    Args:
      height: of the image.
      width: of the image.
      shapes: names of classes, each with the corners (x, y) of a polygon; one of less than 3 is passed over.
      background: the name of the class where nothing is drawn.

    Raises:
      InputError: the size or a corner is none.
    """
    if not all(type(side) is int and side > 0 for side in (height, width)) or height * width > _most_pixels():
        raise InputError(f"has the size {width!r}x{height!r}, which no image can have")
    names = {background: 0}
    canvas = Image.new("I", (width, height), 0)
    pen = ImageDraw.Draw(canvas)
    for name, corners in shapes:
        try:
            places = np.array(corners, np.float64).reshape(len(corners), 2)
        except (ValueError, TypeError) as error:
            raise InputError(f"has a polygon of {name!r} whose corners are no pairs of numbers") from error
        if not (np.abs(places) < _FURTHEST).all():
            raise InputError(f"has a polygon of {name!r} that is far outside of the image")
        if len(corners) >= 3:
            pen.polygon([tuple(corner) for corner in corners], fill=names.setdefault(name, len(names)))
    return LabelPixels(np.asarray(canvas).astype(np.uint32), names=tuple(names), are_ids=False)


def _most_pixels() -> int:
    """Returns how many pixels Pillow would open."""
    return 2 * (Image.MAX_IMAGE_PIXELS or 1 << 30)
