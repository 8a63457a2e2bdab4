"""Any folder of images and, with labels, a folder of label PNGs of the same names, described by a class file."""

import fnmatch
import os
from dataclasses import replace

from fada_tf.data import files
from fada_tf.data import images as image_files
from fada_tf.data.datasets import base
from fada_tf.data.label_files import LabelFiles
from fada_tf.data.labels import ClassFile
from fada_tf.errors import InputError


def find(images: str, labels: str | None = None, classes: str | None = None, names: str | None = None) -> base.DataSet:
    """Pairs images and labels by their path without the suffix, in nested folders too.

    Args:
      images: folder of pictures.
      labels: folder of label PNGs, one for each image, of ids or of the classes' colours; None for images without
        labels.
      classes: the class file (JSON) that says what the labels' ids mean; needed with labels.
      names: keep the pairs whose path, without the suffix, matches one of these shell patterns, separated by commas,
        such as "0001TP_*"; None keeps all.
    """
    patterns = [base.composed(pattern.strip()) for pattern in (names or "*").split(",") if pattern.strip()]
    image_paths = _matching(base.paths_by_key(images, image_files.SUFFIXES), patterns)
    for pattern in patterns:
        if names and not _matching(image_paths, [pattern]):
            raise InputError(f"no image found with --images={images} --names={pattern}: patterns are without suffixes")
    others = image_files.passed_over(_matching({path: path for path in files.walk(images)}, patterns), images)
    if labels is None:
        return replace(base.pair_up(image_paths, None, images, None), passed_over=others)
    if classes is None:
        raise InputError("labels need a class file that says what their ids mean: give --classes=FILE.json")
    class_file = ClassFile.load(classes)
    label_files = LabelFiles(
        class_file.label_space,
        class_file.id_map,
        "the class file lists neither in a class nor in ignore_ids",
        by_color=True,
    )
    masks = _matching(base.paths_by_key(labels, (image_files.LABEL_SUFFIX,)), patterns)
    no_masks = {
        base.composed(os.path.splitext(path)[0]): path
        for path in files.walk(labels)
        if path.lower().endswith(image_files.SUFFIXES)
    }
    return replace(base.pair_up(image_paths, masks, images, labels, label_files, no_masks), passed_over=others)


def _matching(paths: dict[str, str], patterns: list[str]) -> dict[str, str]:
    return {key: path for key, path in paths.items() if any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)}
