"""Pairs of an image and a label before they are converted: what is wrong with them, and what their contents are."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np

from fada_tf.data import files, images, shards
from fada_tf.data.datasets.base import Pair
from fada_tf.data.label_files import LabelFiles
from fada_tf.errors import InputError, printable


@dataclass(frozen=True)
class Settings:
    """How pairs become records.

    Attributes:
      labels: the source's; None without labels.
      resize: (height, width) of the stored images and labels; None keeps their own.
      ignore_unknown: take ids and colours that mean nothing as ignored.
    """

    labels: LabelFiles | None = None
    resize: tuple[int, int] | None = None
    ignore_unknown: bool = False


@dataclass(frozen=True)
class Finding:
    """What checking a pair brought: a problem, or the digest of its contents and how its image will be changed."""

    problem: str = ""
    digest: str = ""
    changes: str = ""


def read_pair(pair: Pair, settings: Settings) -> tuple[images.StoredImage, np.ndarray | None]:
    """Reads a pair's files and checks them against each other.

    Returns:
      The image, and the label as [height, width] uint8 train ids and 255; None where there is none.

    Raises:
      InputError: either file cannot be read, their sizes differ, or the label has an id of no class.
    """
    with _naming(pair.image):
        pair.name.encode()
        image = images.to_stored(files.read_bytes(pair.image))
    if settings.labels is None or not pair.is_labelled:
        return image, None
    with _naming(pair.label or f"the annotation of {pair.image}"):
        data = files.read_bytes(pair.label) if pair.label is not None else b""
        label = settings.labels.train_ids(data, pair.annotation, ignore_unknown=settings.ignore_unknown)
        if label.shape != (image.height, image.width):
            height, width = label.shape
            raise InputError(f"is {width}x{height} but its image {pair.image} is {image.width}x{image.height} pixels")
    return image, label


def check(pair: Pair, settings: Settings) -> list[str]:
    """Reads a pair as conversion will; returns the values of a `Finding`."""
    try:
        image, label = read_pair(pair, settings)
    except InputError as error:
        return [printable(str(error)), "", ""]
    digest = hashlib.sha256(image.data)
    digest.update(b"" if label is None else label.tobytes())
    return ["", digest.hexdigest(), image.changes and printable(f"{pair.image}: {image.changes}")]


class Findings:
    """What checking found, kept beside a local output until that is finished: another try reads only changed files.

    Bad pairs are read again: what was wrong may not have been the files' contents, as with permissions.
    """

    def __init__(self, output: str, settings: Settings):
        """Takes over what an earlier try with the same settings found for the same output."""
        self._path = output.rstrip("/") + ".checked.json"
        self._is_kept = not files.is_remote(output)
        self._settings = settings
        self._known: dict[str, tuple[list, Finding]] = {}
        if self._is_kept:
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
                kept = files.read_json(self._path)
                if kept["settings"] == self._digest():
                    self._known = {
                        name: (stamps, Finding(*finding)) for name, (stamps, finding) in kept["pairs"].items()
                    }

    def of(self, pairs: Sequence[Pair], workers: shards.Workers) -> list[Finding]:
        """Returns what checking finds of each pair; reads only those that are not known or have changed."""
        stamps = {pair.name: [_stamp(pair.image), _stamp(pair.label), _digest(pair.annotation)] for pair in pairs}
        unknown = [pair for pair in pairs if not self._knows(pair.name, stamps[pair.name])]
        if unknown:
            results = workers(partial(check, settings=self._settings), unknown, title="check")
            for pair, values in zip(unknown, results, strict=True):
                self._known[pair.name] = (stamps[pair.name], Finding(*values))
            self._keep()
        return [self._known[pair.name][1] for pair in pairs]

    def forget(self) -> None:
        """Removes what was kept."""
        if self._is_kept:
            files.remove(self._path)

    def _knows(self, name: str, stamps: list) -> bool:
        return None not in stamps and name in self._known and self._known[name][0] == stamps

    def _keep(self) -> None:
        good = {name: entry for name, entry in self._known.items() if not entry[1].problem}
        pairs = {name: [stamps, astuple(finding)] for name, (stamps, finding) in good.items()}
        if self._is_kept:
            with contextlib.suppress(OSError):  # it only saves time
                files.make_folder(os.path.dirname(self._path) or ".")
                files.write_atomically(self._path, json.dumps({"settings": self._digest(), "pairs": pairs}).encode())

    def _digest(self) -> str:
        labels = self._settings.labels
        meaning = labels and [
            labels.label_space.to_json(),
            labels.id_map.tolist(),
            labels.by_color,
            dict(labels.by_name),
        ]
        text = json.dumps([meaning, self._settings.ignore_unknown])
        return hashlib.sha256(text.encode()).hexdigest()


def _digest(text: str | None) -> str:
    return hashlib.sha256((text or "").encode()).hexdigest()


def _stamp(path: str | None) -> list | None:
    """Returns what tells that a local file is still the same; None if that cannot be told."""
    if path is None:
        return []
    if files.is_remote(path):
        return None
    with contextlib.suppress(OSError):
        state = os.stat(path)
        return [os.path.abspath(path), state.st_size, state.st_mtime_ns]
    return None


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Puts the file's name in front of what is wrong with it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeEncodeError as error:
        raise InputError(f"{os.fsencode(path)!r}: the name is not UTF-8: rename the file") from error
