"""Lines of the manifest, one a record: a column of each field, so that a million of them is a few arrays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, overload

import numpy as np

# A TFRecord is: its length (8 bytes), a checksum of that (4), the payload, its checksum (4).
HEADER_BYTES, FOOTER_BYTES = 12, 4
_HIGHEST = 1 << 48  # of any number in a manifest


@dataclass(frozen=True)
class Entry:
    """A record's line in the manifest: where it is and what is in it."""

    filename: str
    offset: int
    length: int
    height: int
    width: int
    pixels: tuple[int, ...]


class Entries(Sequence[Entry]):
    """Lines of the manifest.

    Attributes:
      filenames: of the records' images.
      numbers: [records, 4] int64, each one's offset, length, height and width.
      pixels: [records, classes + 1] int32 or int64; of records without labels [records, 0].
    """

    def __init__(self, filenames: list[str], numbers: np.ndarray, pixels: np.ndarray):
        """Takes the columns over."""
        self.filenames, self.numbers, self.pixels = filenames, numbers, pixels

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Entries":
        """Returns entries as columns."""
        if isinstance(entries, Entries):
            return entries
        return cls.from_json([[e.filename, e.offset, e.length, e.height, e.width, list(e.pixels)] for e in entries])

    @classmethod
    def join(cls, parts: Sequence["Entries"]) -> "Entries":
        """Returns all entries of several, which have pixels of as many classes.

        Raises:
          ValueError: they have not.
        """
        filled = [part for part in parts if len(part)]
        if len(filled) < 2:
            return filled[0] if filled else cls.from_json([])
        names = list(chain.from_iterable(part.filenames for part in filled))
        numbers, pixels = (np.concatenate([getattr(part, name) for part in filled]) for name in ("numbers", "pixels"))
        return cls(names, numbers, pixels)

    @classmethod
    def from_json(cls, rows: list[list]) -> "Entries":
        """Returns the entries that `to_json` wrote.

        Raises:
          ValueError, TypeError, IndexError: the values are none.
        """
        names = [row[0] for row in rows]
        numbers = [number for row in rows for number in row[1:5]]
        pixels = [count for row in rows for count in row[5]]
        widths = {len(row[5]) for row in rows}
        if {*map(type, names)} - {str} or {*map(type, numbers), *map(type, pixels)} - {int} or len(widths) > 1:
            raise ValueError("an entry is not [filename, offset, length, height, width, pixels]")
        if any(len(row) != 6 for row in rows):
            raise ValueError("an entry has not 6 fields")
        if min(*numbers, *pixels, 0, 0) < 0 or max(*numbers, *pixels, 0, 0) >= _HIGHEST:
            raise ValueError("an entry has a number that is none of bytes or pixels")
        counts = np.array(pixels, np.int64).reshape(len(rows), widths.pop() if widths else 0)
        return cls(names, np.array(numbers, np.int64).reshape(-1, 4), smallest(counts))

    def to_json(self) -> list[list]:
        """Returns the entries as JSON values; `from_json` reads them back."""
        rows = zip(self.filenames, self.numbers.tolist(), self.pixels.tolist(), strict=True)
        return [[name, *numbers, pixels] for name, numbers, pixels in rows]

    @overload
    def __getitem__(self, place: int) -> Entry: ...
    @overload
    def __getitem__(self, place: slice) -> "Entries": ...
    def __getitem__(self, place: Any) -> Any:
        """Returns an entry, or some of them as columns."""
        if isinstance(place, slice):
            return Entries(self.filenames[place], self.numbers[place], self.pixels[place])
        return Entry(self.filenames[place], *self.numbers[place].tolist(), tuple(self.pixels[place].tolist()))

    def __len__(self) -> int:
        """Returns the number of records."""
        return len(self.filenames)

    def __eq__(self, other: object) -> bool:
        """Tells whether others, as columns or not, are the same."""
        if not isinstance(other, Entries | tuple | list):
            return NotImplemented
        others = Entries.of(other)
        return (
            self.filenames == others.filenames
            and np.array_equal(self.numbers, others.numbers)
            and np.array_equal(self.pixels, others.pixels)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Returns the first entries."""
        return f"Entries({list(self[:3])}{'...' if len(self) > 3 else ''})"

    @property
    def offsets(self) -> np.ndarray:
        """First byte of each record in its shard, [records] int64."""
        return self.numbers[:, 0]

    @property
    def lengths(self) -> np.ndarray:
        """Bytes of each record's payload, [records] int64."""
        return self.numbers[:, 1]

    @property
    def sizes(self) -> np.ndarray:
        """Height and width of each image, [records, 2] int64."""
        return self.numbers[:, 2:]

    @property
    def ends(self) -> np.ndarray:
        """First byte after each record, [records] int64."""
        return self.offsets + HEADER_BYTES + self.lengths + FOOTER_BYTES


def smallest(counts: np.ndarray) -> np.ndarray:
    """Returns counts in int32 if they fit."""
    return counts.astype(np.int32) if counts.max(initial=0) < 1 << 31 else counts
