"""What a data set is to the converter: image files, their label files, and what the labels' ids mean."""

import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from fada_tf import registry
from fada_tf.data import files
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Pair:
    """An image and, if the data set is labelled, its label.

    Args:
        name: the image's path below its folder, with `/` between folders; unique.
        image: the image's path.
        label: the label's path, or None.
    """

    name: str
    image: str
    label: str | None = None


@dataclass(frozen=True)
class Source:
    """A data set as found on disk; what a data set module's `source` function returns.

    Args:
        pairs: the images, in the order in which they are converted.
        label_space: classes of the converted labels; None for a data set without labels.
        id_map: [256] int16, the train id of every id in label files, 255 for ignored, `UNKNOWN_ID` for wrong ones.
        read_ids: contents of a label file to [height, width] uint8 ids; a module's function.
        problems: one line for each file that has no partner.
    """

    pairs: tuple[Pair, ...]
    label_space: LabelSpace | None = None
    id_map: np.ndarray | None = None
    read_ids: Callable[[bytes], np.ndarray] | None = None
    problems: tuple[str, ...] = ()


def find(dataset: str, **options: str | None) -> Source:
    """Looks up a data set's files.

    Args:
        dataset: the name of a module in this package.
        **options: what the module's `source` function takes; None means not given.

    Raises:
        InputError: no such data set, an option too many or missing, or no image found.
    """
    source = registry.load("fada_tf.data.datasets", dataset).source
    given = {key: value for key, value in options.items() if value is not None}
    try:
        inspect.signature(source).bind(**given)
    except TypeError as error:
        takes = ", ".join(f"--{name}" for name in inspect.signature(source).parameters)
        raise InputError(f"data set {dataset}: {error}; it takes {takes}") from error
    found = source(**given)
    if not found.pairs and not found.problems:
        where = " ".join(f"--{key}={value}" for key, value in given.items())
        raise InputError(f"data set {dataset}: no image found with {where}; check the folder")
    return found


def pair_up(
    images: dict[str, str],
    labels: dict[str, str] | None,
    images_folder: str,
    labels_folder: str | None,
    **of_labels,
) -> Source:
    """Makes a source of the images and labels that share a key; those without a partner become its problems.

    Args:
        images: {key: path below `images_folder`}.
        labels: {key: path below `labels_folder`}, or None for a data set without labels.
        images_folder: the folder of all images.
        labels_folder: the folder of all labels.
        **of_labels: `label_space`, `id_map` and `read_ids` of the source; unused without labels.
    """
    if labels is None:
        return Source(tuple(Pair(name, files.join(images_folder, name)) for name in images.values()))
    problems = [
        f"{files.join(images_folder, name)}: has no label in {labels_folder}"
        for key, name in images.items()
        if key not in labels
    ] + [
        f"{files.join(labels_folder, name)}: has no image in {images_folder}"
        for key, name in labels.items()
        if key not in images
    ]
    pairs = tuple(
        Pair(name, files.join(images_folder, name), files.join(labels_folder, labels[key]))
        for key, name in images.items()
        if key in labels
    )
    return Source(pairs, problems=tuple(problems), **of_labels)


def paths_by_key(
    folder: str, suffixes: Iterable[str], key: Callable[[str], str] = lambda path: os.path.splitext(path)[0]
) -> dict[str, str]:
    """Finds the files below a folder whose names end in one of `suffixes`, in any case of letters.

    Returns:
        {key(path): path below the folder}, sorted by path.

    Raises:
        InputError: the folder does not exist, or two files have one key.
    """
    if not files.exists(folder):
        raise InputError(f"folder {folder} does not exist; check the path")
    endings = tuple(suffix.lower() for suffix in suffixes)
    found: dict[str, str] = {}
    for path in files.walk(folder):
        if path.lower().endswith(endings):
            other = found.setdefault(key(path), path)
            if other != path:
                raise InputError(f"{files.join(folder, path)} and {other} there name the same pair; rename one of them")
    return found


def keep_listed(source: Source, names: Iterable[str] | None, listed_in: str) -> Source:
    """Keeps the pairs named in a list.

    Args:
        source: all pairs found.
        names: image names, with or without suffix; None keeps all.
        listed_in: where the names come from, for the message about one that is not there.
    """
    if names is None:
        return source
    by_name = {name: pair.name for pair in source.pairs for name in (pair.name, os.path.splitext(pair.name)[0])}
    wanted = dict.fromkeys(names)
    missing = tuple(
        f"{name}: is listed in {listed_in} but there is no such pair" for name in wanted if name not in by_name
    )
    kept = {by_name[name] for name in wanted if name in by_name}
    pairs = tuple(pair for pair in source.pairs if pair.name in kept)
    return Source(pairs, source.label_space, source.id_map, source.read_ids, missing)


def read_list(path: str) -> list[str]:
    """Reads a text file of names, one a line.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return [line.strip() for line in files.read_bytes(path).decode().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"list {path} cannot be read: {error}") from error
