"""CVAT's own format, "CVAT for images 1.1" (https://docs.cvat.ai/docs/dataset_management/formats/format-cvat): one XML.

Shapes are drawn over each other by their z_order and then in the order of the file, to the pixels that CVAT's
"Segmentation mask" has. Pixels of none are called `drawing.BACKGROUND`.
"""

import io
import json
import math
from typing import Any
from xml.etree import ElementTree

from fada_tf.data import class_files, coco_masks, files
from fada_tf.data import images as image_files
from fada_tf.data.datasets import base
from fada_tf.data.drawing import Canvas
from fada_tf.errors import InputError

WITHOUT_PIXELS = ("polyline", "points", "cuboid", "skeleton")


def find(images: str, labels: str, classes: str | None = None) -> base.DataSet:
    """Pairs the images of a folder and those that a file lists, by name, or by subset and name.

    Args:
      images: the folder of images.
      labels: annotations.xml.
      classes: the class file that says what the labels mean.
    """
    there = base.paths_by_key(images, image_files.SUFFIXES, lambda path: path)
    pairs: dict[str, base.Pair] = {}
    problems = []
    for image in _elements(labels, "image"):
        name = base.composed(image.get("name", ""))
        keys = (name, f"{image.get('subset')}/{name}")
        key = next((key for key in keys if key in there), None)
        if key is None:
            problems.append(f"{name}: is listed in {labels} and not in {images}")
        elif there[key] in pairs:
            problems.append(f"{name}: is listed twice in {labels}")
        else:
            pairs[there[key]] = base.Pair(there[key], files.join(images, there[key]), annotation=_annotation(image))
    problems += [
        f"{files.join(images, path)}: is not listed in {labels}" for path in there.values() if path not in pairs
    ]
    ordered = tuple(pairs[name] for name in sorted(pairs))
    return base.DataSet(ordered, class_files.labels_by_name(classes, read_label), tuple(problems))


def names_of_classes(labels: str) -> dict[str, tuple[int, int, int] | None]:
    """Returns the labels of the task or project, with their colours.

    Raises:
      InputError: the file cannot be read.
    """
    named: dict[str, tuple[int, int, int] | None] = {}
    for label in _elements(labels, "label"):
        name, color = label.findtext("name"), (label.findtext("color") or "").removeprefix("#")
        if name and label.find("parent") is None:  # those of a skeleton's parts have one
            try:
                red, green, blue = bytes.fromhex(color)
                named[name] = red, green, blue
            except ValueError:
                named[name] = None
    return named


def read_label(data: bytes, annotation: str) -> image_files.LabelPixels:
    """Draws an image's shapes.

    Raises:
      InputError: one is damaged, or covers no pixels.
    """
    del data  # the file is that of all images
    image = json.loads(annotation)
    try:
        canvas = Canvas(int(image["height"]), int(image["width"]))
        for shape in sorted(image["shapes"], key=lambda shape: int(shape.get("z_order", 0))):
            _draw(canvas, shape)
        return canvas.pixels()
    except InputError:
        raise
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"is not as CVAT writes it ({error!r})") from error


def _elements(labels: str, tag: str) -> Any:
    """Yields the elements of a name in an XML file, and forgets each."""
    try:
        events = ElementTree.iterparse(io.BytesIO(files.read_bytes(labels)), ("start", "end"))
        _, root = next(events)
        if root.tag != "annotations":
            raise InputError(f"{labels} is no annotations.xml of CVAT's, but has the root {root.tag!r}")
        for event, element in events:
            if event == "start":
                continue
            if element.tag == "track":
                raise InputError(f"{labels} is of 'CVAT for video': export 'CVAT for images'")
            if element.tag == tag:
                yield element
                element.clear()
    except OSError as error:
        raise InputError(f"{labels} cannot be read ({error.strerror or error}): name CVAT's annotations.xml") from error
    except ElementTree.ParseError as error:
        raise InputError(f"{labels} is damaged ({error}): export it again") from error


def _annotation(image: ElementTree.Element) -> str:
    shapes = [{"kind": shape.tag, **shape.attrib} for shape in image if shape.tag != "tag"]
    return json.dumps({"height": image.get("height"), "width": image.get("width"), "shapes": shapes})


def _draw(canvas: Canvas, shape: dict[str, str]) -> None:
    name, kind = shape["label"], shape["kind"]
    if kind in WITHOUT_PIXELS:
        raise InputError(f"has a {kind} of {name!r}, which covers no pixels: make it a polygon, or remove it")
    if kind == "mask":
        width, height, runs = int(shape["width"]), int(shape["height"]), [int(run) for run in shape["rle"].split(",")]
        mask = coco_masks.of_runs(name, runs, width, height).T  # row by row
        canvas.region(name, mask, int(shape["left"]), int(shape["top"]))
        return
    if kind == "polygon":
        corners = [tuple(map(float, corner.split(","))) for corner in shape["points"].split(";")]
    elif kind == "box":
        left, top, right, bottom = (float(shape[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        middle, half = ((left + right) / 2, (top + bottom) / 2), ((right - left) / 2, (bottom - top) / 2)
        corners = _turned(middle, half, ((-1, -1), (1, -1), (1, 1), (-1, 1)), shape)
    elif kind == "ellipse":
        middle, half = (float(shape["cx"]), float(shape["cy"])), (float(shape["rx"]), float(shape["ry"]))
        turns = (2 * math.pi * i / _ELLIPSE for i in range(_ELLIPSE))
        corners = _turned(middle, half, [(math.cos(turn), math.sin(turn)) for turn in turns], shape)
    else:
        raise InputError(f"has a {kind} of {name!r}, which this program does not know")
    canvas.region(name, coco_masks.of_polygons(name, [corners], canvas.height, canvas.width))


_ELLIPSE = 180  # corners of the polygon that stands for one


def _turned(middle: tuple[float, float], half: tuple[float, float], unit: Any, shape: dict[str, str]) -> list:
    """Returns corners that are given in halves of a shape's width and height, turned clockwise about its middle."""
    angle = math.radians(float(shape.get("rotation", 0)))
    cosine, sine = math.cos(angle), math.sin(angle)
    places = [(half[0] * x, half[1] * y) for x, y in unit]
    return [(middle[0] + cosine * x - sine * y, middle[1] + sine * x + cosine * y) for x, y in places]
