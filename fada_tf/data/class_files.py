"""Class files made of the names of classes that an export of an annotation tool has, for users to change."""

from collections.abc import Callable, Mapping

from fada_tf.data import files
from fada_tf.data.drawing import BACKGROUND
from fada_tf.data.images import LabelPixels
from fada_tf.data.label_files import LabelFiles
from fada_tf.data.labels import MAX_CLASSES, ClassFile
from fada_tf.errors import InputError

Color = tuple[int, int, int]
# What exports call pixels of no class: nothing drawn, what labelme is told to ignore, Pascal VOC's border.
IGNORED = (BACKGROUND, "__ignore__", "void")


def voc_color(number: int) -> Color:
    """Returns the colour of a number in Pascal VOC's palette: its bits dealt out to red, green, blue in turn."""
    parts = [sum((number >> (3 * i + part) & 1) << (7 - i) for i in range(8)) for part in range(3)]
    return parts[0], parts[1], parts[2]


def of_names(name: str, names: Mapping[str, Color | None]) -> dict:
    """Returns the JSON values of a class file in which every name is a class, and the background is ignored.

    Where there is one name alone, the background is the other class, since one class cannot be told from anything.

    Args:
      name: of the label space.
      names: those in the export, with the colours that it has for them; None is a colour of our choice.

    Raises:
      InputError: there is none, or more than labels can tell apart.
    """
    kept = {label: color for label, color in names.items() if label not in IGNORED}
    ignored = [label for label in (BACKGROUND, *names) if label in IGNORED]
    if not 1 <= len(kept) <= MAX_CLASSES:
        raise InputError(f"the export names {len(kept)} classes, and a class file has 1 to {MAX_CLASSES}")
    classes = [
        {"name": label, "color": list(color or voc_color(number)), "labels": [label]}
        for number, (label, color) in enumerate(kept.items(), start=1)
    ]
    if len(classes) == 1:
        classes.insert(0, {"name": "background", "color": [0, 0, 0], "labels": [BACKGROUND]})
        ignored.remove(BACKGROUND)
    return {"name": name, "classes": classes, "ignore_labels": sorted(set(ignored))}


def write(path: str, values: dict) -> None:
    """Writes a class file, whole or not at all, and never over another one.

    Args:
      path: of the file; one that says the same may be there.
      values: as of `of_names`.

    Raises:
      InputError: there is another file, or it cannot be written.
    """
    ClassFile.from_json(values)
    lines = [f"    {files.json_text(entry).strip()}" for entry in values["classes"]]
    head, tail = (files.json_text(values[key]).strip() for key in ("name", "ignore_labels"))
    body = ",\n".join(lines)
    text = f'{{\n  "name": {head},\n  "classes": [\n{body}\n  ],\n  "ignore_labels": {tail}\n}}\n'
    try:
        if not files.exists(path):
            files.write_atomically(path, text.encode())
        elif files.read_bytes(path) != text.encode():
            raise InputError(f"{path} is there and says something else: take it with --classes, or name another file")
    except OSError as error:
        raise InputError(
            f"class file {path} cannot be written ({error.strerror or error}): name another file"
        ) from error


def labels_by_name(classes: str | None, read: Callable[..., LabelPixels]) -> LabelFiles:
    """Returns how labels with names of classes are read.

    Args:
      classes: the class file that says what the names mean.
      read: see `LabelFiles`.

    Raises:
      InputError: it is none, or not given.
    """
    if classes is None:
        raise InputError(
            "these labels need a class file that says what their names mean: --write_classes=FILE.json writes one, "
            "--classes=FILE.json takes one"
        )
    file = ClassFile.load(classes)
    wrong = "the class file lists neither in a class nor in ignore_labels"
    return LabelFiles(file.label_space, file.id_map, wrong, read, by_name=file.by_name)
