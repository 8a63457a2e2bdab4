"""What the label files of a data set mean: their ids, colours and names to train ids."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from fada_tf.data import images
from fada_tf.data.labels import CITYSCAPES19, CITYSCAPES_TRAIN_ID_MAP, IGNORE, UNKNOWN_ID, LabelSpace
from fada_tf.errors import InputError, printable


@dataclass(frozen=True)
class LabelFiles:
    """How the label files of a data set are read.

    Attributes:
      label_space: the classes.
      id_map: [256] int16, the train id of every id in the files, 255 for ignored ones, `UNKNOWN_ID` for wrong ones.
      wrong: what is wrong with an id of `UNKNOWN_ID`, for messages: "has ids [...] that ...".
      read: contents of a file, and the pair's `annotation` where it has one, to its pixels; a module's function.
      by_color: whether the colours of the classes may stand for their ids.
      by_name: the train ids of names, 255 for ignored ones, where files have names; all others are wrong.
    """

    label_space: LabelSpace
    id_map: np.ndarray
    wrong: str
    read: Callable[..., images.LabelPixels] = images.read_label
    by_color: bool = False
    by_name: Mapping[str, int] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that some id or name means; of all, where colours alone tell them apart."""
        known = set(self.by_name.values()) if self.by_name else set(self.id_map.tolist())
        return tuple(n for i, n in enumerate(self.label_space.names) if i in known) or self.label_space.names

    def train_ids(self, data: bytes, annotation: str | None = None, *, ignore_unknown: bool = False) -> np.ndarray:
        """Returns the train ids of a label file, [height, width] uint8, 255 for ignored pixels.

        Args:
          data: the file.
          annotation: of the pair, see `Pair`.
          ignore_unknown: take ids and colours that mean nothing as 255.

        Raises:
          InputError: it cannot be read, holds ids, colours or names that mean nothing, or could be read in two ways.
        """
        pixels = self.read(data) if annotation is None else self.read(data, annotation)
        values = np.flatnonzero(np.bincount(pixels.values.ravel()))
        readings = self._readings(pixels, values)
        if not readings:
            raise InputError(
                f"has {len(values)} colours where ids are due: take the data set's files of one 8-bit channel of ids"
            )
        whole = [reading for reading in readings if UNKNOWN_ID not in reading]
        if pixels.colors is not None and any((reading != whole[0]).any() for reading in whole):
            raise InputError(
                f"could be read in two ways: its values {_listed(values)} and its colours "
                f"{_listed(pixels.colors[values])} mean different classes: save it with one channel of 8-bit ids"
            )
        chosen = (whole or readings)[0]
        if not whole:
            if not ignore_unknown:
                raise InputError(self._unknown(pixels, values, chosen))
            chosen = np.where(chosen == UNKNOWN_ID, IGNORE, chosen)
        table = np.zeros(values[-1] + 1, np.uint8)
        table[values] = chosen
        return table[pixels.values]

    def _readings(self, pixels: images.LabelPixels, values: np.ndarray) -> list[np.ndarray]:
        """Returns what the values mean: by name, or as ids, as the ids that their grey is, by classes' colours."""
        if pixels.names is not None:
            return [np.array([self.by_name.get(pixels.names[value], UNKNOWN_ID) for value in values], np.int16)]
        readings = [self._by_id(values)] if pixels.are_ids else []
        if self.by_color and pixels.colors is not None:
            colors = pixels.colors[values]
            if pixels.are_ids and (colors == colors[:, :1]).all():
                readings.append(self._by_id(colors[:, 0]))
            readings.append(self._by_color(colors))
        return readings

    def _by_id(self, ids: np.ndarray) -> np.ndarray:
        return np.where(ids < 256, self.id_map[np.minimum(ids, 255)], UNKNOWN_ID)

    def _by_color(self, colors: np.ndarray) -> np.ndarray:
        train_ids = {}
        for train_id, color in enumerate(self.label_space.colors):
            # A colour of two classes says nothing.
            train_ids[color] = UNKNOWN_ID if color in train_ids else train_id
        return np.array([train_ids.get(tuple(color), UNKNOWN_ID) for color in colors.tolist()], np.int16)

    def _unknown(self, pixels: images.LabelPixels, values: np.ndarray, reading: np.ndarray) -> str:
        unknown = values[reading == UNKNOWN_ID]
        advice = "mend it, or take such pixels as ignored with --unknown_ids=ignore"
        if pixels.names is not None:
            names = ", ".join(printable(pixels.names[value]) for value in unknown[:10])
            return f"has objects {names} that {self.wrong}; {advice}"
        if pixels.are_ids or pixels.colors is None:
            return f"has ids {_listed(unknown)} that {self.wrong}; {advice}"
        return f"has colours {_listed(pixels.colors[unknown])} that no class, or more than one, has; {advice}"


# Labels of the data sets that follow Cityscapes' train ids.
CITYSCAPES_TRAIN_IDS = LabelFiles(
    CITYSCAPES19,
    CITYSCAPES_TRAIN_ID_MAP,
    "are no train ids of Cityscapes (0 to 18, and 255 for ignored pixels; *_labelIds.png hold label ids)",
)


def _listed(values: np.ndarray) -> str:
    """Returns the first of some ids or colours, and how many more there are."""
    more = f" and {len(values) - 10} more" if len(values) > 10 else ""
    return f"{values[:10].tolist()}{more}"
