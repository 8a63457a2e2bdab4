"""Regions as COCO's files and CVAT's write them, polygons and run lengths, to masks."""

from collections.abc import Sequence

import numpy as np

from fada_tf.data.drawing import checked_corners
from fada_tf.errors import InputError


def of_polygons(name: str, polygons: Sequence[object], height: int, width: int) -> np.ndarray:
    """Draws polygons as COCO's own program does: half a pixel of the edge belongs to them.

    Args:
      name: of their class, for messages.
      polygons: each [corners, 2], x and y; the left and upper edge of pixel i are at i.
      height: of the image.
      width: of the image.

    Returns:
      [height, width] bool, the pixels in any of them.

    Raises:
      InputError: a polygon has less than three corners, or ones that are no numbers.
    """
    from pycocotools import mask  # a moment that only these data sets take

    flat = [checked_corners(name, corners, 3).ravel().tolist() for corners in polygons]
    merged = mask.merge(mask.frPyObjects(flat, height, width))
    return of_runs(name, merged["counts"].decode(), height, width)


def of_runs(name: str, counts: object, height: int, width: int) -> np.ndarray:
    """Returns the mask that run lengths make, column by column.

    Args:
      name: of the class, for messages.
      counts: pixels outside, inside, outside and so on; a text as COCO compresses them, or whole numbers.
      height: of the image.
      width: of the image.

    Returns:
      [height, width] bool.

    Raises:
      InputError: they are no run lengths, or of another number of pixels.
    """
    runs = _uncompressed(name, counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or any(type(run) is not int or run < 0 for run in runs):
        raise InputError(f"has run lengths of {name!r} that are no numbers of pixels")
    if sum(runs) != height * width:
        raise InputError(f"has run lengths of {name!r} for {sum(runs)} pixels, where {height * width} are due")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _uncompressed(name: str, text: str) -> list[int]:
    """Returns the numbers of COCO's text: five bits a letter, the lowest first, from the third on as differences."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise InputError(f"has run lengths of {name!r} with the letter {letter!r}, which COCO's text cannot have")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:  # the last letter of a number; its highest bit is the sign
            value -= (bits & 16) << (shift - 4)
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    if shift:
        raise InputError(f"has run lengths of {name!r} that end in the middle of a number")
    return runs
