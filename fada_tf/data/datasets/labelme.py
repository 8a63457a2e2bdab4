"""labelme's files (https://github.com/wkentaro/labelme): a JSON file of shapes for each image, of the image's name.

Shapes are drawn over each other in their order, as labelme's own programs do. Pixels of none are called
`drawing.BACKGROUND`.
"""

import base64
import json
import os
from collections.abc import Callable
from typing import Any

from fada_tf.data import class_files, files
from fada_tf.data import images as image_files
from fada_tf.data.datasets import base
from fada_tf.data.drawing import Canvas, checked_corners
from fada_tf.errors import InputError

SUFFIX = ".json"


def find(images: str, labels: str | None = None, classes: str | None = None) -> base.DataSet:
    """Pairs images and JSON files by their path without the suffix.

    Args:
      images: the folder of images.
      labels: the folder of JSON files; None if they are beside the images.
      classes: the class file that says what the labels of shapes mean.
    """
    labels = labels or images
    image_paths = base.paths_by_key(images, image_files.SUFFIXES)
    label_files = class_files.labels_by_name(classes, read_label)
    dataset = base.pair_up(image_paths, base.paths_by_key(labels, (SUFFIX,)), images, labels, label_files)
    return base.with_annotations(dataset, os.path.basename)


def names_of_classes(images: str, labels: str | None = None) -> dict[str, tuple[int, int, int] | None]:
    """Returns the labels of all shapes, sorted.

    Raises:
      InputError: a file cannot be read.
    """
    folder, names = labels or images, set()
    for path in base.paths_by_key(folder, (SUFFIX,)).values():
        try:
            names |= {str(shape["label"]) for shape in files.read_json(files.join(folder, path))["shapes"]}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(
                f"{files.join(folder, path)} is no file of labelme's ({error!r}): mend or move it"
            ) from error
    return dict.fromkeys(sorted(names))


def read_label(data: bytes, annotation: str) -> image_files.LabelPixels:
    """Draws the shapes of a file.

    Args:
      data: the file.
      annotation: the name of its image.

    Raises:
      InputError: it is damaged or of another image, or a shape covers no pixels.
    """
    try:
        content = json.loads(data)
        of = os.path.basename(str(content["imagePath"]).replace("\\", "/"))
        if base.composed(os.path.splitext(of)[0]) != base.composed(os.path.splitext(annotation)[0]):
            raise InputError(
                f"is the annotation of {of}, by its imagePath, and not of {annotation}: rename one of them"
            )
        canvas = Canvas(content["imageHeight"], content["imageWidth"])
        for shape in content["shapes"]:
            _draw(canvas, str(shape["label"]), shape)
        return canvas.pixels()
    except InputError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"is no file of labelme's ({error!r})") from error


def _draw(canvas: Canvas, name: str, shape: dict[str, Any]) -> None:
    kind = shape.get("shape_type") or "polygon"
    ways: dict[str, Callable[[str, Any], None]] = {
        "polygon": canvas.polygon,
        "oriented_rectangle": canvas.polygon,
        "rectangle": canvas.rectangle,
        "circle": canvas.circle,
    }
    if kind == "mask":
        (left, top), (right, bottom) = checked_corners(name, shape["points"], 2, exactly=True).astype(int).tolist()
        mask = image_files.read_label(base64.b64decode(shape["mask"])).values > 0
        if mask.shape != (bottom - top + 1, right - left + 1):
            due = f"{right - left + 1}x{bottom - top + 1}"
            raise InputError(f"has a mask of {name!r} of {mask.shape[1]}x{mask.shape[0]} pixels, where {due} are due")
        canvas.region(name, mask, left, top)
    elif kind in ways:
        ways[kind](name, shape["points"])
    else:
        raise InputError(f"has a {kind} of {name!r}, which covers no pixels: make it a polygon, or remove it")
