"""What a data set is to the converter: image files, their label files, and what the labels' ids mean."""

import csv
import inspect
import io
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from fada_tf import registry
from fada_tf.data import files
from fada_tf.data.label_files import LabelFiles
from fada_tf.errors import InputError, printable
from fada_tf.facts import Facts


@dataclass(frozen=True)
class Pair:
    """An image and, if the data set is labelled, its label.

    Attributes:
      name: the image's path below its folder, with `/` between folders; unique.
      image: the image's path.
      label: the label's path, or None.
      annotation: what else the reader of labels needs, such as what one file says of this image among all, or None.
      conditions: what is known of weather and so on, by the names in `conditions`.
    """

    name: str
    image: str
    label: str | None = None
    conditions: Mapping[str, str] = field(default_factory=dict)
    annotation: str | None = None

    @property
    def is_labelled(self) -> bool:
        """Whether there is a label."""
        return self.label is not None or self.annotation is not None


@dataclass(frozen=True)
class DataSet:
    """A data set as found on disk; what the `find` function of a data set's module returns.

    Attributes:
      pairs: the images, in the order in which they are converted.
      labels: how the label files are read; None for a data set without labels.
      problems: one line for each file that has no partner.
      passed_over: one line for each kind of file that is none of the pictures.
      facts: what training should know of the data set; None where nothing is known.
    """

    pairs: tuple[Pair, ...]
    labels: LabelFiles | None = None
    problems: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    facts: Facts | None = None


def find(dataset: str, **options: str | None) -> DataSet:
    """Looks up a data set's files.

    Args:
      dataset: the name of a module in this package.
      **options: what the module's `find` function takes; None means not given.

    Raises:
      InputError: no such data set, an option too many or missing, or no image found.
    """
    find_in = registry.load("fada_tf.data.datasets", dataset).find
    given = {key: value for key, value in options.items() if value is not None}
    try:
        inspect.signature(find_in).bind(**given)
    except TypeError as error:
        takes = ", ".join(f"--{name}" for name in inspect.signature(find_in).parameters)
        raise InputError(f"data set {dataset}: {error}: it takes {takes}") from error
    data_set = find_in(**given)
    if not data_set.pairs and not data_set.problems:
        where = " ".join(f"--{key}={value}" for key, value in given.items())
        others = f" ({'; '.join(map(printable, data_set.passed_over))})" if data_set.passed_over else ""
        raise InputError(f"data set {dataset}: no image found with {where}{others}: check the folder")
    return data_set


def names_of_classes(dataset: str, **options: str | None) -> dict[str, tuple[int, int, int] | None]:
    """Returns the names of classes that an export of an annotation tool has, with its colours for them if it has any.

    Args:
      dataset: the name of a module in this package.
      **options: as for `find`.

    Raises:
      InputError: the data set's classes are known, or what names them cannot be read.
    """
    module = registry.load("fada_tf.data.datasets", dataset)
    if not hasattr(module, "names_of_classes"):
        package = module.__package__ or ""
        named = [n for n in registry.names(package) if hasattr(registry.load(package, n), "names_of_classes")]
        raise InputError(f"--write_classes is for {', '.join(named)}: {dataset} names no classes of its own")
    takes = inspect.signature(module.names_of_classes).parameters
    given = {key: value for key, value in options.items() if value is not None and key in takes}
    missing = [name for name, parameter in takes.items() if parameter.default is parameter.empty and name not in given]
    if missing:
        raise InputError(f"data set {dataset}: --write_classes needs --{' and --'.join(missing)}")
    return module.names_of_classes(**given)


def pair_up(
    images: dict[str, str],
    labels: dict[str, str] | None,
    images_folder: str,
    labels_folder: str | None,
    label_files: LabelFiles | None = None,
    no_labels: dict[str, str] | None = None,
) -> DataSet:
    """Makes a data set of the images and labels that share a key; those without a partner become its problems.

    Args:
      images: {key: path below `images_folder`}.
      labels: {key: path below `labels_folder`}, or None for a data set without labels.
      images_folder: the folder of all images.
      labels_folder: the folder of all labels.
      label_files: how the labels are read; unused without labels.
      no_labels: {key: path below `labels_folder`} of other files there, to be named where a label is missing.
    """
    if labels is None or labels_folder is None:
        return DataSet(tuple(Pair(name, files.join(images_folder, name)) for name in images.values()))
    instead = no_labels or {}
    problems = [
        f"{files.join(images_folder, name)}: has no label in {labels_folder}"
        + (f"; labels are PNGs, and {instead[key]} is none: save ids as PNG" if key in instead else "")
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
    return DataSet(pairs, label_files, tuple(problems))


def pair_up_parts(
    parts: Iterable[str],
    images_folder: str,
    image_ending: str,
    labels_folder: str,
    label_ending: str,
    label_files: LabelFiles,
) -> DataSet:
    """Makes a data set of files in the same parts of two folders, where an image and its label differ in their endings.

    Args:
      parts: folders below both, "" for all of them; those that a download lacks are passed over, and where no part has
        labels it is a data set without labels.
      images_folder: the folder of all images.
      image_ending: how an image's name ends.
      labels_folder: the folder of all labels.
      label_ending: how a label's name ends.
      label_files: how the labels are read.

    Raises:
      InputError: no part has images.
    """
    image_parts, label_parts = (
        [part for part in parts if files.exists(files.join(folder, part))] for folder in (images_folder, labels_folder)
    )
    if not image_parts:
        looked_for = ", ".join(files.join(images_folder, part) for part in parts)
        raise InputError(f"no such folder: {looked_for}: check --root and the other options")

    def paths(folder: str, present: list[str], ending: str) -> dict[str, str]:
        return {
            files.join(part, key): files.join(part, path)
            for part in present
            for key, path in paths_by_key(
                files.join(folder, part), (ending,), lambda path: path[: -len(ending)]
            ).items()
        }

    return pair_up(
        paths(images_folder, image_parts, image_ending),
        paths(labels_folder, label_parts, label_ending) if label_parts else None,
        images_folder,
        labels_folder,
        label_files,
    )


def with_annotations(dataset: DataSet, of: Callable[[str], str]) -> DataSet:
    """Gives each pair the annotation that `of` makes of its name."""
    return replace(dataset, pairs=tuple(replace(pair, annotation=of(pair.name)) for pair in dataset.pairs))


def with_conditions(dataset: DataSet, of: Callable[[str], Mapping[str, str]]) -> DataSet:
    """Adds to each pair the conditions that `of` tells from its name."""
    pairs = (replace(pair, conditions={**pair.conditions, **of(pair.name)}) for pair in dataset.pairs)
    return replace(dataset, pairs=tuple(pairs))


def add_listed_conditions(dataset: DataSet, path: str) -> DataSet:
    """Adds the conditions of a CSV file to the pairs.

    Args:
      dataset: the pairs.
      path: of the file; a column of image names, with or without suffix, then one for each condition, all with a head.

    Raises:
      InputError: it cannot be read, or names an image that there is not.
    """
    try:
        head, *rows = csv.reader(io.StringIO(files.read_bytes(path).decode("utf-8-sig")))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"conditions {path} cannot be read: {error}") from error
    names = [name.strip() for name in head[1:]]
    if not names or "" in names or len(set(names)) < len(names):
        raise InputError(f"conditions {path} has the head {head}: give an image column and one a condition, each named")
    listed = {}
    for row in filter(None, rows):
        if len(row) != len(head):
            raise InputError(f"conditions {path} has {len(row)} fields for {row[0]!r}, and {len(head)} in its head")
        values = zip(names, map(str.strip, row[1:]), strict=True)
        listed[composed(row[0].strip())] = {name: value for name, value in values if value}
    keys = {pair.name: {composed(pair.name), composed(os.path.splitext(pair.name)[0])} for pair in dataset.pairs}
    if unknown := set(listed).difference(*keys.values()):
        raise InputError(
            f"conditions {path} names {min(unknown)!r} and {len(unknown) - 1} more that are no images here"
        )
    return with_conditions(dataset, lambda name: next((listed[key] for key in keys[name] if key in listed), {}))


def locate(root: str, name: str, *unpacked: str) -> str:
    """Returns the path of a download's folder.

    Args:
      root: the folder that users name.
      name: the folder that is looked for.
      *unpacked: folders below `root` that the zips unpack into, where it is looked for besides.
    """
    paths = [files.join(root, name), *(files.join(root, folder, name) for folder in unpacked)]
    return next((path for path in paths if files.exists(path)), paths[0])


def check_choice(dataset: str, option: str, value: str, choices: Iterable[str]) -> None:
    """Raises InputError where a data set has no such value of an option, say a split."""
    if value not in choices:
        raise InputError(f"{dataset} has no {option} {value!r}: use {', '.join(choices)}")


def paths_by_key(
    folder: str, suffixes: Iterable[str], key: Callable[[str], str] = lambda path: os.path.splitext(path)[0]
) -> dict[str, str]:
    """Finds the files below a folder whose names end in one of `suffixes`, in any case of letters.

    Returns:
      {composed(key(path)): path below the folder}, sorted by path.

    Raises:
      InputError: the folder does not exist, or two files have one key.
    """
    if not files.exists(folder):
        raise InputError(f"folder {folder} does not exist: check the path")
    endings = tuple(suffix.lower() for suffix in suffixes)
    by_key: dict[str, str] = {}
    for path in files.walk(folder):
        if path.lower().endswith(endings):
            twin = by_key.setdefault(composed(key(path)), path)
            if twin != path:
                raise InputError(f"{files.join(folder, path)} and {twin} there name the same pair: rename one of them")
    return by_key


def composed(name: str) -> str:
    """Returns a name with one code for each accented letter (NFC): macOS writes two where other systems write one."""
    return unicodedata.normalize("NFC", name)


def keep_listed(dataset: DataSet, names: Iterable[str] | None, listed_in: str) -> DataSet:
    """Keeps the pairs named in a list.

    Args:
      dataset: all pairs found.
      names: image names, with or without suffix; None keeps all.
      listed_in: where the names come from, for the message about one that is not there.

    Raises:
      InputError: the list is empty.
    """
    if names is None:
        return dataset
    wanted = {composed(name): name for name in names}
    if not wanted:
        raise InputError(f"{listed_in} names no images: list them, one a line")
    by_name = {
        composed(name): pair.name for pair in dataset.pairs for name in (pair.name, os.path.splitext(pair.name)[0])
    }
    missing = tuple(
        f"{name}: is listed in {listed_in} but there is no such pair"
        for key, name in wanted.items()
        if key not in by_name
    )
    kept = {by_name[key] for key in wanted if key in by_name}
    return replace(dataset, pairs=tuple(pair for pair in dataset.pairs if pair.name in kept), problems=missing)


def read_list(path: str) -> list[str]:
    """Reads a text file of names, one a line.

    Raises:
      InputError: it cannot be read.
    """
    try:
        return [line.strip() for line in files.read_bytes(path).decode("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"list {path} cannot be read: {error}") from error
