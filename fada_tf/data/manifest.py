"""What a folder of shards holds: `manifest.json`, written last, by which records are found, counted and read."""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from fada_tf.data import files, manifest_index
from fada_tf.data.conditions import DATA_SET, Columns, columns_from_json, columns_to_json
from fada_tf.data.entries import Entries, Entry, smallest
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError
from fada_tf.facts import Facts

FORMAT_VERSION = 1
INDEXED_FROM = 20_000  # records; shorter manifests are read in a moment
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class Shard:
    """A finished file of records."""

    file: str
    size: int
    sha256: str
    entries: Entries

    def __post_init__(self) -> None:
        """Makes columns of entries that are none."""
        entries: Sequence[Entry] = self.entries
        object.__setattr__(self, "entries", Entries.of(entries))

    def to_json(self) -> dict:
        """Returns the shard as JSON values; `from_json` reads them back."""
        return {"file": self.file, "size": self.size, "sha256": self.sha256, "records": self.entries.to_json()}

    @classmethod
    def from_json(cls, values: dict) -> "Shard":
        """Returns the shard that `to_json` wrote.

        Raises:
          ValueError, LookupError, TypeError: the values are of no shard.
        """
        return cls.checked(values, Entries.from_json(values["records"]))

    @classmethod
    def checked(cls, values: dict, entries: Entries) -> "Shard":
        """Returns a shard of some entries.

        Raises:
          ValueError, LookupError: the values are of no shard, or the entries of another.
        """
        shard = cls(values["file"], values["size"], values["sha256"], entries)
        if not isinstance(shard.file, str) or shard.file != os.path.basename(shard.file) or shard.file in ("", ".."):
            raise ValueError(f"{shard.file!r} is no file name")
        if type(shard.size) is not int or not 0 <= shard.size < 1 << 48:
            raise ValueError(f"size of {shard.file} is {shard.size!r}")
        if len(beyond := np.flatnonzero(entries.ends > shard.size)):
            raise ValueError(f"{entries.filenames[beyond[0]]} is beyond the end of {shard.file}")
        return shard


def _names(values: dict) -> tuple[str, ...] | None:
    names = values.get("labelled")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"labelled is {names!r}")
    return tuple(names)


def folders(records: str) -> list[str]:
    """Returns the folders of shards that a text names, with commas between them."""
    if "," not in records or files.exists(files.join(records, MANIFEST_NAME)):
        return [records]
    return [folder.strip() for folder in records.split(",") if folder.strip()]


def digest(records: str, *, with_classes: bool = False) -> str:
    """Returns the SHA-256 of a folder's manifest, which has those of the shards: the same only for the same records.

    Args:
      records: the folder of shards, or several with commas between them.
      with_classes: whether it tells, too, that the labels were made for some of the classes only. Scores depend on
        that, training does not. Older manifests learn it when their conversion runs again, and the records' conditions
        and facts, on which nothing depends that a config does not say.

    Raises:
      InputError: there is no manifest.
    """
    digests = [_digest(folder, with_classes) for folder in folders(records)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _digest(folder: str, with_classes: bool) -> str:
    path = _existing_path(folder)
    if head := manifest_index.read_head(folder, path):
        return head["digests"][with_classes]
    return _content_digest(files.read_bytes(path), with_classes)


def _content_digest(content: bytes, with_classes: bool) -> str:
    with contextlib.suppress(ValueError, RecursionError, LookupError, TypeError, AttributeError):  # a damaged one
        values = json.loads(content)
        learned = [name for name in ("labelled", "conditions", "facts") if name in values]
        labelled = values.get("labelled")
        if (
            with_classes
            and labelled is not None
            and any(c["name"] not in labelled for c in values["label_space"]["classes"])
        ):
            learned.remove("labelled")
        if learned:
            content = _encoded({name: value for name, value in values.items() if name not in learned})
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
      conditions: of the records, by name; none in older manifests.
      facts: what training should know of the data set; None in older manifests.
      parts: the manifests that this one joins; none for that of one folder.
    """

    folder: str
    label_space: LabelSpace | None
    shards: tuple[Shard, ...]
    job: str = ""
    labelled: tuple[str, ...] | None = None
    conditions: Columns = field(default_factory=dict)
    facts: Facts | None = None
    parts: tuple["Manifest", ...] = ()

    @cached_property
    def entries(self) -> Entries:
        """All records in order."""
        return Entries.join([shard.entries for shard in self.shards])

    @property
    def num_records(self) -> int:
        """The number of records."""
        return sum(len(shard.entries) for shard in self.shards)

    @property
    def _label_space(self) -> LabelSpace:
        """The classes of the labels, which there must be."""
        if self.label_space is None:
            if self.parts and all(part.label_space for part in self.parts):
                raise InputError(f"the labels in {self.folder} are of several sets of classes: convert them alike")
            raise InputError(f"the records in {self.folder} have no labels: convert them again with labels")
        return self.label_space

    @property
    def pixels(self) -> np.ndarray:
        """Pixels of each class and, last, ignored ones, by record: [records, classes + 1] int32 or int64."""
        return self.entries.pixels.reshape(-1, self._label_space.num_classes + 1)

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

        def reduced(shard: Shard) -> Shard:
            kept, others = shard.entries.pixels[:, places], shard.entries.pixels.sum(axis=1, dtype=np.int64)
            others -= kept.sum(axis=1, dtype=np.int64)
            entries = Entries(shard.entries.filenames, shard.entries.numbers, np.column_stack([kept, smallest(others)]))
            return replace(shard, entries=entries)

        parts = tuple(part.with_classes(label_space) for part in self.parts)
        return replace(self, label_space=label_space, shards=tuple(map(reduced, self.shards)), parts=parts)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The shard number, first byte and payload length of each record, three [records] int64."""
        counts = [len(shard.entries) for shard in self.shards]
        return np.repeat(np.arange(len(counts)), counts), self.entries.offsets, self.entries.lengths

    @property
    def shard_paths(self) -> list[str]:
        """The paths of the shards."""
        if self.parts:
            return [path for part in self.parts for path in part.shard_paths]
        return [files.join(self.folder, shard.file) for shard in self.shards]

    def locate(self, record: int) -> str:
        """Says where a record is, for messages."""
        shard, offset, _ = (column[record] for column in self.places)
        name = self.entries.filenames[record]
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
        if self.facts is not None:
            values["facts"] = self.facts.to_json()
        if self.conditions:
            values["conditions"] = columns_to_json(self.conditions)
        values["record_columns"] = ["filename", "offset", "length", "height", "width", "pixels"]
        values["shards"] = [shard.to_json() for shard in self.shards]
        path, content = files.join(self.folder, MANIFEST_NAME), _encoded(values)
        files.write_atomically(path, content)
        if self.num_records >= INDEXED_FROM:
            shards = [
                {"file": s.file, "size": s.size, "sha256": s.sha256, "count": len(s.entries)} for s in self.shards
            ]
            digests = [_content_digest(content, with_classes) for with_classes in (False, True)]
            manifest_index.write(self.folder, path, values | {"shards": shards, "digests": digests}, self.entries)

    @classmethod
    def load(cls, records: str) -> "Manifest":
        """Reads the manifest of a folder of shards; starts no TensorFlow for a local folder.

        Args:
          records: the folder, or several with commas between them, whose records become one data set.

        Raises:
          InputError: there is no manifest, or one that this version cannot read.
        """
        parts = [cls._load(folder) for folder in folders(records)]
        return parts[0] if len(parts) == 1 else cls._joined(records, tuple(parts))

    @classmethod
    def _joined(cls, records: str, parts: tuple["Manifest", ...]) -> "Manifest":
        spaces = {part.label_space and part.label_space.names for part in parts}
        labelled = [part.labelled for part in parts if part.labelled is not None]
        every = dict.fromkeys(name for names in labelled for name in names)
        conditions = dict.fromkeys(name for part in parts for name in part.conditions)
        sets = (value for part in parts for value in [_data_set(part.folder)] * part.num_records)
        facts = {part.facts for part in parts}
        return cls(
            records,
            parts[0].label_space if len(spaces) == 1 else None,
            tuple(shard for part in parts for shard in part.shards),
            hashlib.sha256("\n".join(part.job for part in parts).encode()).hexdigest(),
            tuple(every) if len(labelled) == len(parts) else None,
            {
                name: tuple(v for part in parts for v in part.conditions.get(name, ("",) * part.num_records))
                for name in conditions
            }
            | {DATA_SET: tuple(sets)},
            facts.pop() if len(facts) == 1 else None,
            parts,
        )

    @classmethod
    def _load(cls, folder: str) -> "Manifest":
        path = _existing_path(folder)
        fix = f"convert the data again with fada-tf make_tfrecords --output={folder}"
        try:
            if index := manifest_index.read(folder, path):
                manifest = cls._from_json(folder, index[0], _sliced(*index))
                manifest.__dict__["entries"] = index[1]  # instead of joining what was cut apart
                return manifest
            values = files.read_json(path)
            version = values["format_version"]
            if version == FORMAT_VERSION:
                return cls._from_json(folder, values, tuple(map(Shard.from_json, values["shards"])))
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            raise InputError(f"{path} is damaged ({error!r}); {fix}") from error
        raise InputError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}; {fix}")

    @classmethod
    def _from_json(cls, folder: str, values: dict, shards: tuple[Shard, ...]) -> "Manifest":
        space = LabelSpace.from_json(values["label_space"]) if values["label_space"] else None
        facts = Facts.from_json(values["facts"]) if "facts" in values else None
        manifest = cls(folder, space, shards, values["job"], _names(values), facts=facts)
        columns = space.num_classes + 1 if space else 0
        if any(shard.entries.pixels.shape[1] != columns for shard in shards if len(shard.entries)):
            raise ValueError(f"an entry has not {columns} pixel counts")
        return replace(manifest, conditions=columns_from_json(values.get("conditions", {}), manifest.num_records))


def _sliced(head: dict, entries: Entries) -> tuple[Shard, ...]:
    """Returns the shards of an index."""
    ends = np.cumsum([shard["count"] for shard in head["shards"]])
    return tuple(
        Shard.checked(shard, entries[end - shard["count"] : end])
        for shard, end in zip(head["shards"], ends.tolist(), strict=True)
    )


def _data_set(folder: str) -> str:
    return os.path.basename(os.path.normpath(folder))
