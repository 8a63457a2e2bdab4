"""Classes: the 19 of Cityscapes and their subsets, the ids that data sets write for them, and users' class files."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from fada_tf import shipped
from fada_tf.data import files
from fada_tf.errors import InputError, printable

IGNORE = 255  # the label of a pixel that belongs to no class: it is neither trained on nor scored
MAX_CLASSES = 255  # labels are uint8 and 255 is taken
UNKNOWN_ID = -1


@dataclass(frozen=True)
class LabelSpace:
    """Named, coloured classes; a class's place is its train id.

    Attributes:
      name: how configs and manifests call the space.
      names: one name a class, unique.
      colors: one (red, green, blue) a class, 0-255.
    """

    name: str
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    @property
    def num_classes(self) -> int:
        """The number of classes, the ignored label not counted."""
        return len(self.names)

    def palette(self, ignore: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
        """Returns the colour of every uint8 label, [256, 3] uint8; labels of no class have the colour `ignore`."""
        palette = np.tile(np.array(ignore, np.uint8), (256, 1))
        palette[: self.num_classes] = self.colors
        return palette

    def subset(self, name: str, *, drop: tuple[str, ...]) -> "LabelSpace":
        """Returns this space without the classes named in `drop`, the others in the same order."""
        kept = [i for i, class_name in enumerate(self.names) if class_name not in drop]
        return LabelSpace(name, tuple(self.names[i] for i in kept), tuple(self.colors[i] for i in kept))

    def subset_map(self, other: "LabelSpace") -> np.ndarray:
        """Translates labels of this space into labels of `other`, class by class name.

        Returns:
          [256] uint8: entry i is what label i becomes; classes that `other` lacks become 255.
        """
        table = np.full(256, IGNORE, np.uint8)
        for target, name in enumerate(other.names):
            if name in self.names:
                table[self.names.index(name)] = target
        return table

    def to_json(self) -> dict:
        """Returns the space as JSON values; `from_json` reads them back."""
        classes = [{"name": n, "color": list(c)} for n, c in zip(self.names, self.colors, strict=True)]
        return {"name": self.name, "classes": classes}

    @classmethod
    def from_json(cls, values: Mapping) -> "LabelSpace":
        """Returns the space that `to_json` wrote.

        Raises:
          InputError: the values are of no label space; the message says which rule they break.
        """
        return cls._checked(values, set())

    @classmethod
    def _checked(cls, values: Mapping, also: set[str]) -> "LabelSpace":
        """Returns the space of values whose classes have the keys in `also` besides."""
        ignored = {"ignore_ids", "ignore_labels"} if also else set()
        _check_keys(values, "the file", required={"name", "classes"}, optional=ignored)
        classes = values["classes"]
        if not isinstance(classes, list) or not 1 <= len(classes) <= MAX_CLASSES:
            raise InputError(f'"classes" must be a list of 1 to {MAX_CLASSES} classes')
        for train_id, entry in enumerate(classes):
            named = isinstance(entry, Mapping) and "labels" in entry
            required = {"name", "color"} | (set() if named else also)
            _check_keys(entry, f"class {train_id}", required, optional={*also, "labels"} if also else set())
            if not _are_bytes(entry["color"]) or len(entry["color"]) != 3:
                raise InputError(
                    f'"color" of class {entry["name"]!r} must be three integers 0-255, not {entry["color"]}'
                )
        names = [entry["name"] for entry in classes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"class names must be unique, found twice: {printable(', '.join(twice))}")
        return cls(values["name"], tuple(names), tuple(tuple(entry["color"]) for entry in classes))


# Train ids in order, names, label ids and colours of Cityscapes (Cordts et al., CVPR 2016):
# https://github.com/mcordts/cityscapesScripts/blob/0bcc4a7/cityscapesscripts/helpers/labels.py#L62-L99
# SYNTHIA's ids: https://github.com/JDAI-CV/FADA/blob/a1c6403/core/datasets/synthia.py#L77-L94
_CITYSCAPES = (
    # name, Cityscapes (and GTA5) label id, SYNTHIA id, colour
    ("road", 7, 3, (128, 64, 128)),
    ("sidewalk", 8, 4, (244, 35, 232)),
    ("building", 11, 2, (70, 70, 70)),
    ("wall", 12, 21, (102, 102, 156)),
    ("fence", 13, 5, (190, 153, 153)),
    ("pole", 17, 7, (153, 153, 153)),
    ("traffic light", 19, 15, (250, 170, 30)),
    ("traffic sign", 20, 9, (220, 220, 0)),
    ("vegetation", 21, 6, (107, 142, 35)),
    ("terrain", 22, None, (152, 251, 152)),
    ("sky", 23, 1, (70, 130, 180)),
    ("person", 24, 10, (220, 20, 60)),
    ("rider", 25, 17, (255, 0, 0)),
    ("car", 26, 8, (0, 0, 142)),
    ("truck", 27, None, (0, 0, 70)),
    ("bus", 28, 19, (0, 60, 100)),
    ("train", 31, None, (0, 80, 100)),
    ("motorcycle", 32, 12, (0, 0, 230)),
    ("bicycle", 33, 11, (119, 11, 32)),
)

CITYSCAPES19 = LabelSpace("cityscapes19", tuple(c[0] for c in _CITYSCAPES), tuple(c[3] for c in _CITYSCAPES))
CITYSCAPES16 = CITYSCAPES19.subset("cityscapes16", drop=("terrain", "truck", "train"))  # what SYNTHIA shares
CITYSCAPES13 = CITYSCAPES16.subset("cityscapes13", drop=("wall", "fence", "pole"))  # SYNTHIA's mIoU*
CROSSCITY13 = CITYSCAPES16.subset("crosscity13", drop=("wall", "fence", "pole"))  # the classes Cross-City labels

LABEL_SPACES = {space.name: space for space in (CITYSCAPES19, CITYSCAPES16, CITYSCAPES13, CROSSCITY13)}


def _id_map(ids: Mapping[int, int], highest: int) -> np.ndarray:
    table = np.full(256, UNKNOWN_ID, np.int16)
    table[: highest + 1] = IGNORE
    table[list(ids)] = list(ids.values())
    return table


CITYSCAPES_LABEL_IDS = {c[0]: c[1] for c in _CITYSCAPES}  # by class name, what Cityscapes' own evaluation reads
_CITYSCAPES_IDS = {c[1]: i for i, c in enumerate(_CITYSCAPES)}
# [256] int16: the train id, in the 19-class space, of every id found in label files.
CITYSCAPES_ID_MAP = _id_map(_CITYSCAPES_IDS, highest=33)
CITYSCAPES_TRAIN_ID_MAP = _id_map({i: i for i in (*range(CITYSCAPES19.num_classes), IGNORE)}, highest=-1)
URBANSYN_ID_MAP = _id_map({i: i for i in range(CITYSCAPES19.num_classes)}, highest=19)  # train ids; 19 is ignored
GTA5_ID_MAP = _id_map(_CITYSCAPES_IDS, highest=34)
SYNTHIA_ID_MAP = _id_map({c[2]: i for i, c in enumerate(_CITYSCAPES) if c[2] is not None}, highest=22)
CROSSCITY_ID_MAP = _id_map(
    {c[1]: i for i, c in enumerate(_CITYSCAPES) if c[0] in CROSSCITY13.names}, highest=33
)  # 13 classes


@dataclass(frozen=True)
class ClassFile:
    """The classes of a user's own data set, and what its labels call them.

    Attributes:
      label_space: the classes.
      id_map: [256] int16, the train id of every id, 255 for ignored ones, `UNKNOWN_ID` for ids that are an error.
      by_name: the train id of every name in files of annotations, 255 for ignored ones; others are an error.
    """

    label_space: LabelSpace
    id_map: np.ndarray
    by_name: Mapping[str, int]

    @classmethod
    def load(cls, path: str) -> "ClassFile":
        """Reads `{"name", "classes": [{"name", "color", "ids", "labels"}], "ignore_ids", "ignore_labels"}` from JSON.

        Args:
          path: the file, or the name of one in configs/classes; `name` is the label space's, `color` is three 0-255
            integers, `ids` those of label images, `labels` the names in files of annotations, without it the class's
            own name. A class with `labels` needs no `ids`.

        Returns:
          The class file.

        Raises:
          InputError: the file cannot be read or breaks a rule; the message says which.
        """
        path = shipped.find(path, shipped.CLASSES)
        try:
            return cls.from_json(files.read_json(path))
        except OSError as error:
            raise InputError(f"class file {path} cannot be read ({error.strerror}): name a JSON file") from error
        except InputError as error:
            raise InputError(f"class file {path}: {error}") from error
        except ValueError as error:
            raise InputError(f"class file {path}: not JSON ({error})") from error

    @classmethod
    def from_json(cls, values: Mapping) -> "ClassFile":
        """Checks and takes over the JSON values of a class file; see `load`."""
        space = LabelSpace._checked(values, {"ids"})
        owners: dict[int | str, str] = {}
        id_map, by_name = np.full(256, UNKNOWN_ID, np.int16), {}
        everyone = [
            (entry["name"], entry.get("ids", []), entry.get("labels", [entry["name"]]), train_id)
            for train_id, entry in enumerate(values["classes"])
        ]
        everyone.append(("ignore_ids", values.get("ignore_ids", []), values.get("ignore_labels", []), IGNORE))
        for owner, ids, names, train_id in everyone:
            if not _are_bytes(ids):
                raise InputError(f"the ids of {owner!r} must be a list of integers 0-255, not {ids!r}")
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise InputError(f"the labels of {owner!r} must be a list of names, not {names!r}")
            _claim(owners, ids, owner)
            _claim(owners, names, owner if train_id != IGNORE else "ignore_labels")
            id_map[ids] = train_id
            by_name.update(dict.fromkeys(names, train_id))
        if space.num_classes == 1:
            raise InputError(
                f"the only class is {printable(space.names[0])!r}, which nothing can be told from: "
                "list the background as a class, too, not in ignore_ids"
            )
        return cls(space, id_map, by_name)


def label_space(name_or_path: str) -> LabelSpace:
    """Finds a label space by its name, or reads it from a class file (a path that ends in .json, or its name).

    Raises:
      InputError: no such name, or a bad class file.
    """
    if name_or_path in LABEL_SPACES:
        return LABEL_SPACES[name_or_path]
    path = shipped.find(name_or_path, shipped.CLASSES)
    if not path.endswith(".json"):
        names = ", ".join([*LABEL_SPACES, *shipped.names(shipped.CLASSES)])
        raise InputError(f"unknown label space {name_or_path!r}: use {names} or the path of a .json class file")
    return ClassFile.load(path).label_space


def _check_keys(values: object, where: str, required: set[str], optional: Set[str] = frozenset()) -> None:
    if not isinstance(values, Mapping):
        raise InputError(f"{where} must be a JSON object")
    missing, unknown = required - set(values), set(values) - required - optional
    if missing:
        raise InputError(f"{where} lacks {', '.join(sorted(missing))}")
    if unknown:
        raise InputError(f"{where} has unknown keys {printable(', '.join(sorted(unknown)))}")
    if not isinstance(values["name"], str) or not values["name"]:
        raise InputError(f'"name" of {where} must be a text, not {values["name"]!r}')


def _are_bytes(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and 0 <= value <= 255 for value in values)


def _claim(owners: dict[int | str, str], values: Sequence[int | str], owner: str) -> None:
    for value in values:
        if value in owners:
            kind = "id" if isinstance(value, int) else "label"
            raise InputError(
                f"{kind} {printable(str(value))} belongs to {owners[value]!r} and to {owner!r}: give it to one of them"
            )
        owners[value] = owner
