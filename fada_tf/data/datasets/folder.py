"""Any folder of images and, with labels, a folder of label PNGs of the same names, described by a class file."""

import fnmatch

from fada_tf.data import images as image_files
from fada_tf.data.datasets import base
from fada_tf.data.labels import ClassFile
from fada_tf.errors import InputError


def source(images: str, labels: str | None = None, classes: str | None = None, names: str | None = None) -> base.Source:
    """Pairs images and labels by their path without the suffix, in nested folders too.

    Args:
        images: folder of JPEG and PNG images.
        labels: folder of label PNGs, one for each image; None for images without labels.
        classes: the class file (JSON) that says what the labels' ids mean; needed with labels.
        names: keep the pairs whose path, without the suffix, matches one of these shell patterns, separated by commas,
            such as "0001TP_*"; None keeps all.
    """
    found = _matching(base.paths_by_key(images, base.IMAGE_SUFFIXES), names)
    if labels is None:
        return base.pair_up(found, None, images, None)
    if classes is None:
        raise InputError("labels need a class file that says what their ids mean; give --classes=FILE.json")
    class_file = ClassFile.load(classes)
    return base.pair_up(
        found,
        _matching(base.paths_by_key(labels, (".png",)), names),
        images,
        labels,
        label_space=class_file.label_space,
        id_map=class_file.id_map,
        read_ids=image_files.read_ids,
    )


def _matching(found: dict[str, str], names: str | None) -> dict[str, str]:
    if names is None:
        return found
    patterns = names.split(",")
    return {key: path for key, path in found.items() if any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)}
