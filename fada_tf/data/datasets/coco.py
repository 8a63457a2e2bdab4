"""Files of COCO (Lin et al., ECCV 2014), as many annotation tools export them: segments or panoptic, in one JSON file.

Segments are polygons or run lengths. Where they overlap, the smaller one is on top, and the larger of equal ones comes
first in the file; crowds lie below all. Panoptic labels are PNGs beside the file, in a folder of its name without
.json, whose colours number the segments. Pixels of no segment are called `drawing.BACKGROUND`.
"""

import json
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import numpy as np

from fada_tf.data import class_files, coco_masks, files
from fada_tf.data import images as image_files
from fada_tf.data.datasets import base
from fada_tf.data.drawing import BACKGROUND, Canvas
from fada_tf.errors import InputError

SEGMENTS = "segments_info"  # what annotations have in a panoptic file alone


def find(images: str, labels: str, classes: str | None = None) -> base.DataSet:
    """Pairs the images of a folder and those that a file lists, by `file_name`.

    Args:
      images: the folder that `file_name` is relative to.
      labels: the JSON file.
      classes: the class file that says what the names of categories mean.
    """
    return _read(labels, lambda content: _data_set(content, images, labels, classes))


def names_of_classes(labels: str) -> dict[str, tuple[int, int, int] | None]:
    """Returns the names of a file's categories, with their colours if it has any.

    Raises:
      InputError: it cannot be read, or two categories have one name.
    """
    return _read(labels, lambda content: dict.fromkeys(_names(content, labels).values()) | _colors(content))


def read_label(data: bytes, annotation: str) -> image_files.LabelPixels:
    """Draws an image's segments, or reads those of a panoptic PNG.

    Raises:
      InputError: a segment or the PNG is damaged.
    """
    height, width, segments = json.loads(annotation)
    return _panoptic(data, dict(segments)) if data else _drawn(height, width, segments)


def _read(labels: str, take: Any) -> Any:
    try:
        return take(files.read_json(labels))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{labels} cannot be read ({error.strerror or error}): name a JSON file of COCO's") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{labels} is no JSON file of COCO's ({error!r})") from error


def _names(content: dict, labels: str) -> dict[Any, str]:
    """Returns the names of categories by their ids."""
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice or len(names) < len(content["categories"]):
        which = f"are called {twice[0]!r}" if twice else "have one id"
        raise InputError(f"{labels}: two categories {which}: rename one of them")
    return names


def _colors(content: dict) -> dict[str, tuple[int, int, int] | None]:
    colors = {str(category["name"]): category.get("color") for category in content["categories"]}
    return {name: (color[0], color[1], color[2]) for name, color in colors.items() if isinstance(color, list)}


def _data_set(content: dict, images: str, labels: str, classes: str | None) -> base.DataSet:
    names = _names(content, labels)
    by_image = defaultdict(list)
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    entries = [(base.composed(str(e["file_name"]).replace("\\", "/")), e) for e in content["images"]]
    twice = {key for key, count in Counter(key for key, _ in entries).items() if count > 1}
    listed, problems = dict(entries), [f"{key}: is listed twice in {labels}" for key in twice]
    for image_id in by_image.keys() - {entry["id"] for entry in content["images"]}:
        problems.append(
            f"{labels}: has {len(by_image[image_id])} annotations of image {image_id!r}, which it does not list"
        )
    there = base.paths_by_key(images, image_files.SUFFIXES, lambda path: path)
    problems += [f"{files.join(images, there[key])}: is not listed in {labels}" for key in there.keys() - listed.keys()]
    pairs = []
    for key, entry in listed.items():
        if key in twice:
            continue
        pair, problem = None, f"{key}: is listed in {labels} and not in {images}"
        if key in there:
            pair = base.Pair(there[key], files.join(images, there[key]))
            pair, problem = _annotated(pair, entry, by_image[entry["id"]], names, labels)
        if pair is not None:
            pairs.append(pair)
        else:
            problems.append(problem)
    pairs.sort(key=lambda pair: pair.name)
    return base.DataSet(tuple(pairs), class_files.labels_by_name(classes, read_label), tuple(sorted(problems)))


def _annotated(
    pair: base.Pair, entry: dict, annotations: list[dict], names: dict, labels: str
) -> tuple[base.Pair | None, str]:
    """Returns the pair with its annotation, or None and what is wrong with it."""

    def name_of(segment: dict) -> str:
        category = segment["category_id"]
        return names.get(category, f"of category {category!r} (which is not listed)")

    if not any(SEGMENTS in annotation for annotation in annotations):
        segments = [[name_of(each), each.get("segmentation"), bool(each.get("iscrowd"))] for each in annotations]
        return replace(pair, annotation=json.dumps([entry["height"], entry["width"], segments])), ""
    if len(annotations) > 1:
        return None, f"{pair.name}: has {len(annotations)} annotations in {labels}, where one is due"
    (annotation,) = annotations
    segments = [[each["id"], name_of(each)] for each in annotation[SEGMENTS]]
    label = files.join(labels.removesuffix(".json"), annotation["file_name"])
    return replace(pair, label=label, annotation=json.dumps([entry["height"], entry["width"], segments])), ""


def _drawn(height: int, width: int, segments: list[tuple[str, Any, bool]]) -> image_files.LabelPixels:
    canvas = Canvas(height, width)
    regions = [(name, *_cut(_mask(name, each, height, width)), crowd) for name, each, crowd in segments]
    for name, mask, left, top, _ in sorted(regions, key=lambda each: (not each[-1], -np.count_nonzero(each[1]))):
        canvas.region(name, mask, left, top)
    return canvas.pixels()


def _cut(mask: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Returns the smallest rectangle of a mask that holds all of it, with its left and upper edge: little to keep."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = (rows[0], rows[-1], columns[0], columns[-1]) if len(rows) else (0, 0, 0, 0)
    return mask[top : bottom + 1, left : right + 1].copy(), int(left), int(top)


def _mask(name: str, segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, dict) and {"counts", "size"} <= segmentation.keys():
        if segmentation["size"] != [height, width]:
            raise InputError(
                f"has run lengths of {name!r} of size {segmentation['size']}, where {[height, width]} is due"
            )
        return coco_masks.of_runs(name, segmentation["counts"], height, width)
    if not isinstance(segmentation, list) or not segmentation:
        raise InputError(f"has an object {name!r} without a segmentation: boxes alone say no pixels")
    if not all(isinstance(numbers, list) and len(numbers) % 2 == 0 for numbers in segmentation):
        raise InputError(f"has a polygon of {name!r} whose corners are no pairs of numbers")
    corners = [list(zip(numbers[::2], numbers[1::2], strict=True)) for numbers in segmentation]
    return coco_masks.of_polygons(name, corners, height, width)


def _panoptic(data: bytes, names: dict[int, str]) -> image_files.LabelPixels:
    """Reads a PNG in which a segment's id is red + 256 green + 65536 blue, and 0 is none."""
    pixels = image_files.read_label(data)
    if pixels.colors is None:
        raise InputError("has one channel, where colours are due that number segments: take COCO's panoptic PNGs")
    ids = pixels.colors.astype(np.int64) @ np.array([1, 256, 65536])
    known = {0: BACKGROUND} | names
    called = tuple(known.get(number, f"of segment {number} (which is not listed)") for number in ids.tolist())
    return image_files.LabelPixels(pixels.values, are_ids=False, names=called)
