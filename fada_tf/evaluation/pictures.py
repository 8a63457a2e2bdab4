"""Class maps as pictures."""

import math
import os

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fada_tf.data.labels import LabelSpace

_LEGEND_ROW, _LEGEND_MARGIN = 28, 6  # pixels


def colorize(class_map: np.ndarray, label_space: LabelSpace) -> np.ndarray:
    """Returns a class map in the classes' colours.

    Args:
      class_map: integers [height, width], class ids or 255.
      label_space: the classes.

    Returns:
      uint8 [height, width, 3].
    """
    return label_space.palette()[np.asarray(class_map, np.uint8)]


def overlay(image: np.ndarray, class_map: np.ndarray, label_space: LabelSpace, opacity: float = 0.5) -> np.ndarray:
    """Returns the image with the class colours over it.

    Args:
      image: uint8 [height, width, 3].
      class_map: integers [height, width], class ids or 255; pixels of 255 stay as they are.
      label_space: the classes.
      opacity: of the colours, 0..1.

    Returns:
      uint8 [height, width, 3].
    """
    mixed = (1.0 - opacity) * image + opacity * colorize(class_map, label_space)
    known = (np.asarray(class_map) < label_space.num_classes)[..., None]
    return np.where(known, np.rint(mixed).astype(np.uint8), image)


def legend(label_space: LabelSpace) -> np.ndarray:
    """Returns the classes' colours, each beside its name, on white: uint8 [28 a class + 6, width, 3]."""
    import matplotlib  # only now: training starts without it

    # Which comes with matplotlib, and knows Greek, Cyrillic and Arabic letters too; Pillow's own is Latin alone.
    font = ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 16)
    box = _LEGEND_ROW - _LEGEND_MARGIN
    left = 2 * _LEGEND_MARGIN + box
    width = left + math.ceil(max(map(font.getlength, label_space.names))) + _LEGEND_MARGIN
    picture = Image.new("RGB", (width, _LEGEND_ROW * label_space.num_classes + _LEGEND_MARGIN), "white")
    draw = ImageDraw.Draw(picture)
    for row, (name, color) in enumerate(zip(label_space.names, label_space.colors, strict=True)):
        top = _LEGEND_MARGIN + row * _LEGEND_ROW
        draw.rectangle((_LEGEND_MARGIN, top, _LEGEND_MARGIN + box - 1, top + box - 1), tuple(color), "black")
        draw.text((left, top + box / 2), name, "black", font, anchor="lm")
    return np.asarray(picture)


def grey(weights: np.ndarray) -> np.ndarray:
    """Returns weights, [height, width] in 0..1, as uint8 [height, width, 3] from black to white."""
    return np.repeat(np.rint(255 * np.clip(weights, 0, 1)).astype(np.uint8)[..., None], 3, axis=-1)


def side_by_side(pictures: list[np.ndarray], gap: int = 4) -> np.ndarray:
    """Returns uint8 pictures of one height next to each other, with a white gap of `gap` pixels."""
    spacer = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, spacer)]
    return np.concatenate(parts[:-1], axis=1)
