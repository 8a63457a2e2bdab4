"""What a folder of shards holds: `manifest.json`, written last, by which records are found, counted and read."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fada_tf.data import files
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"

# A TFRecord is: its length (8 bytes), a checksum of that (4), the payload, its checksum (4).
HEADER_BYTES, FOOTER_BYTES = 12, 4


@dataclass(frozen=True)
class Entry:
    """A record's line in the manifest: where it is and what is in it."""

    filename: str
    offset: int
    length: int
    height: int
    width: int
    pixels: tuple[int, ...]


@dataclass(frozen=True)
class Shard:
    """A finished file of records."""

    file: str
    size: int
    sha256: str
    entries: tuple[Entry, ...]

    def to_json(self) -> dict:
        """Returns the shard as JSON values; `from_json` reads them back."""
        entries = [[e.filename, e.offset, e.length, e.height, e.width, list(e.pixels)] for e in self.entries]
        return {"file": self.file, "size": self.size, "sha256": self.sha256, "records": entries}

    @classmethod
    def from_json(cls, values: dict) -> "Shard":
        """Returns the shard that `to_json` wrote.

        Raises:
          ValueError, KeyError, TypeError: the values are of no shard.
        """
        lines = ((*fields, tuple(pixels)) for *fields, pixels in values["records"])
        entries = tuple(Entry(*line) for line in lines)
        shard = cls(values["file"], values["size"], values["sha256"], entries)
        if not isinstance(shard.file, str) or shard.file != os.path.basename(shard.file) or shard.file in ("", ".."):
            raise ValueError(f"{shard.file!r} is no file name")
        if not _are_counts([shard.size]):
            raise ValueError(f"size of {shard.file} is {shard.size!r}")
        for entry in entries:
            numbers = (entry.offset, entry.length, entry.height, entry.width, *entry.pixels)
            if not isinstance(entry.filename, str) or not _are_counts(numbers):
                raise ValueError(f"an entry of {shard.file} is {entry}")
            if entry.offset + HEADER_BYTES + entry.length + FOOTER_BYTES > shard.size:
                raise ValueError(f"{entry.filename} is beyond the end of {shard.file}")
        return shard


def _are_counts(values: Iterable[object]) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 48 for value in values)


def _names(values: dict) -> tuple[str, ...] | None:
    names = values.get("labelled")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"labelled is {names!r}")
    return tuple(names)


def digest(folder: str, *, with_classes: bool = False) -> str:
    """Returns the SHA-256 of a folder's manifest, which has those of the shards: the same only for the same records.

    Args:
      folder: the shards.
      with_classes: whether it tells, too, that the labels were made for some of the classes only. Scores depend on
        that, training does not; an older manifest learns it, and nothing else, when its conversion runs again.

    Raises:
      InputError: there is no manifest.
    """
    content = files.read_bytes(_existing_path(folder))
    with contextlib.suppress(ValueError, RecursionError, LookupError, TypeError, AttributeError):  # a damaged one
        values = json.loads(content)
        labelled = values.pop("labelled")
        if not with_classes or labelled is None or all(c["name"] in labelled for c in values["label_space"]["classes"]):
            content = _encoded(values)  # as older ones are
    return hashlib.sha256(content).hexdigest()


def _encoded(values: dict) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def _existing_path(folder: str) -> str:
    path = files.join(folder, MANIFEST_NAME)
    if not files.exists(path):
        raise InputError(
            f"{folder or 'the empty path'} has no {MANIFEST_NAME}: it is not a finished conversion; "
            f"run fada-tf make_tfrecords --output={folder or 'FOLDER'} (again)"
        )
    return path


def shard_name(index: int, count: int) -> str:
    """Returns the file name of a shard."""
    return f"records-{index:05d}-of-{count:05d}.tfrecord"


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds; records are numbered through the shards in order.

    Attributes:
      folder: where manifest and shards are.
      label_space: the classes of the labels on disk; None if the records have no labels.
      shards: the files and their records.
      job: digest of the inputs and settings that decided the shards' bytes.
      labelled: names of the classes that the labels were made for; None for all, as in older manifests.
    """

    folder: str
    label_space: LabelSpace | None
    shards: tuple[Shard, ...]
    job: str = ""
    labelled: tuple[str, ...] | None = None

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All records in order."""
        return tuple(entry for shard in self.shards for entry in shard.entries)

    @property
    def num_records(self) -> int:
        """The number of records."""
        return len(self.entries)

    @property
    def _label_space(self) -> LabelSpace:
        """The classes of the labels, which there must be."""
        if self.label_space is None:
            raise InputError(f"the records in {self.folder} have no labels: convert them again with labels")
        return self.label_space

    @cached_property
    def pixels(self) -> np.ndarray:
        """Pixels of each class and, last, ignored ones, by record: [records, classes + 1] int64."""
        columns = self._label_space.num_classes + 1
        return np.array([entry.pixels for entry in self.entries], np.int64).reshape(-1, columns)

    @property
    def pixel_shares(self) -> np.ndarray:
        """Each class's share of all labelled pixels, [classes] float64."""
        pixels = self.pixels[:, :-1].sum(axis=0)
        return pixels / max(pixels.sum(), 1)

    @cached_property
    def _shown(self) -> set[str]:
        """Names of the classes that some label shows."""
        counts = zip(self._label_space.names, self.pixels[:, :-1].sum(axis=0), strict=True)
        return {name for name, count in counts if count}

    @property
    def unseen(self) -> tuple[str, ...]:
        """Names of the classes that the labels can hold and no label shows."""
        return tuple(name for name in self.classes if name not in self._shown)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the labels can hold: those that they were made for or show."""
        if self.labelled is None:
            return self._label_space.names
        return tuple(name for name in self._label_space.names if name in self._shown or name in self.labelled)

    def unlabelled(self, label_space: LabelSpace) -> tuple[str, ...]:
        """Returns the names of the classes of `label_space` that the labels cannot hold, and so cannot be scored on."""
        return tuple(name for name in label_space.names if name not in self.classes)

    def label_map(self, label_space: LabelSpace, *, partial: bool = False) -> np.ndarray:
        """Translates the labels on disk into labels of another space, class by class name.

        Args:
          label_space: what to train or score in.
          partial: allow classes that these labels cannot hold, if all classes that they can hold are asked for.

        Returns:
          [256] uint8: entry i is what label i becomes; classes that were not asked for become 255.

        Raises:
          InputError: there are no labels, or they cannot hold a class that is asked for.
        """
        missing = self.unlabelled(label_space)
        if missing and not (partial and set(self.classes) <= set(label_space.names)):
            raise InputError(
                f"label space {label_space.name!r} has classes that {self.folder} lacks: "
                f"{', '.join(missing)}: choose a space made of {', '.join(self.classes)}"
            )
        return self._label_space.subset_map(label_space)

    def with_classes(self, label_space: LabelSpace) -> "Manifest":
        """Returns the manifest as of labels of `label_space`, some of the classes on disk; all others are ignored."""
        names = self._label_space.names
        if label_space.names == names:
            return self
        places = [names.index(name) for name in label_space.names]

        def reduced(entry: Entry) -> Entry:
            kept = [entry.pixels[i] for i in places]
            return replace(entry, pixels=(*kept, sum(entry.pixels) - sum(kept)))

        shards = (replace(shard, entries=tuple(map(reduced, shard.entries))) for shard in self.shards)
        return replace(self, label_space=label_space, shards=tuple(shards))

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The shard number, first byte and payload length of each record, three [records] int64."""
        rows = [(i, entry.offset, entry.length) for i, shard in enumerate(self.shards) for entry in shard.entries]
        numbers, offsets, lengths = np.array(rows, np.int64).reshape(-1, 3).T
        return numbers, offsets, lengths

    @property
    def shard_paths(self) -> list[str]:
        """The paths of the shards."""
        return [files.join(self.folder, shard.file) for shard in self.shards]

    def locate(self, record: int) -> str:
        """Says where a record is, for messages."""
        shard, offset, _ = (column[record] for column in self.places)
        name = self.entries[record].filename
        return f"shard {self.shard_paths[shard]}, record {record} ({name}) at byte {offset}"

    def save(self) -> None:
        """Writes `manifest.json`, whole or not at all; it is what makes a folder of shards complete."""
        values = {
            "format_version": FORMAT_VERSION,
            "job": self.job,
            "num_records": self.num_records,
            "label_space": self.label_space and self.label_space.to_json(),
        }
        if self.label_space is not None:
            values |= {
                "labelled": self.labelled,
                "class_pixel_shares": self.pixel_shares.tolist(),
                "class_images": (self.pixels[:, :-1] > 0).sum(axis=0).tolist(),
            }
        values["record_columns"] = ["filename", "offset", "length", "height", "width", "pixels"]
        values["shards"] = [shard.to_json() for shard in self.shards]
        files.write_atomically(files.join(self.folder, MANIFEST_NAME), _encoded(values))

    @classmethod
    def load(cls, folder: str) -> "Manifest":
        """Reads the manifest of a folder of shards; starts no TensorFlow for a local folder.

        Raises:
          InputError: there is no manifest, or one that this version cannot read.
        """
        path = _existing_path(folder)
        fix = f"convert the data again with fada-tf make_tfrecords --output={folder}"
        try:
            values = files.read_json(path)
            version = values["format_version"]
            if version == FORMAT_VERSION:
                space = values["label_space"] and LabelSpace.from_json(values["label_space"])
                manifest = cls(
                    folder, space or None, tuple(map(Shard.from_json, values["shards"])), values["job"], _names(values)
                )
                columns = space.num_classes + 1 if space else 0
                if any(len(entry.pixels) != columns for entry in manifest.entries):
                    raise ValueError(f"an entry has not {columns} pixel counts")
                return manifest
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged ({error!r}); {fix}") from error
        raise InputError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}; {fix}")
