"""A data set's files to shards: everything is checked first, then written by all cores, safe to interrupt."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from fada_tf.data import files, images, shards
from fada_tf.data.datasets.base import Pair, Source, keep_listed
from fada_tf.data.labels import UNKNOWN_ID, LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.data.tfrecord import Record
from fada_tf.errors import InputError

IMAGES_PER_SHARD = 200  # about 0.5 GB of GTA5: small enough that an interruption costs minutes


@dataclass(frozen=True)
class Settings:
    """How pairs become records.

    Args:
        label_space: the source's; None without labels, as are the next two.
        id_map: the source's.
        read_ids: the source's.
        resize: (height, width) of the stored images and labels; None keeps their own.
    """

    label_space: LabelSpace | None = None
    id_map: np.ndarray | None = None
    read_ids: Callable[[bytes], np.ndarray] | None = None
    resize: tuple[int, int] | None = None


@dataclass(frozen=True)
class Finding:
    """What checking a pair brought: a problem, or the digest of its contents and how its image will be changed."""

    problem: str = ""
    digest: str = ""
    changes: str = ""


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Args:
        manifest: of the finished folder.
        problems: a line for each pair left out.
        changes: a line for each image that is not stored as its original file.
    """

    manifest: Manifest
    problems: tuple[str, ...]
    changes: tuple[str, ...]


def read_pair(pair: Pair, settings: Settings) -> tuple[images.StoredImage, np.ndarray | None]:
    """Reads a pair's files and checks them against each other.

    Returns:
        The image, and the label as [height, width] uint8 train ids and 255, or None.

    Raises:
        InputError: either file cannot be read, their sizes differ, or the label has an id of no class.
    """
    with _naming(pair.image):
        pair.name.encode()
        image = images.to_stored(files.read_bytes(pair.image))
    if settings.label_space is None:
        return image, None
    with _naming(pair.label):
        ids = settings.read_ids(files.read_bytes(pair.label))
        if ids.shape != (image.height, image.width):
            raise InputError(
                f"is {ids.shape[1]}x{ids.shape[0]} but its image {pair.image} is {image.width}x{image.height} pixels"
            )
        label = settings.id_map[ids]
        unknown = np.unique(ids[label == UNKNOWN_ID]).tolist()
        if unknown:
            raise InputError(f"has ids {unknown} that the class file lists neither in a class nor in ignore_ids")
    return image, label.astype(np.uint8)


def make_record(pair: Pair, settings: Settings) -> Record:
    """Returns a pair's record as it is stored, resized if the settings say so; raises as `read_pair`."""
    image, label = read_pair(pair, settings)
    if settings.resize is not None:
        image, label = _resized(image, label, settings.resize)
    record = Record(pair.name, image.data, image.format, image.height, image.width)
    return record if label is None else record.labelled(label, settings.label_space.num_classes)


def check(pair: Pair, settings: Settings) -> Finding:
    """Reads a pair as conversion will, and says what is wrong or what its files are."""
    try:
        image, label = read_pair(pair, settings)
    except InputError as error:
        return Finding(problem=str(error))
    digest = hashlib.sha256(image.data)
    digest.update(b"" if label is None else label.tobytes())
    return Finding(digest=digest.hexdigest(), changes=image.changes and f"{pair.image}: {image.changes}")


def convert(
    source: Source,
    output: str,
    *,
    num_shards: int = 0,
    resize: tuple[int, int] | None = None,
    skip_bad: bool = False,
    only: Iterable[str] | None = None,
    run: shards.Run = shards.run_here,
) -> Report:
    """Writes a data set as shards and a manifest; run again after an interruption it keeps the finished shards.

    Args:
        source: the data set.
        output: a new or empty folder, or one where the same conversion was interrupted.
        num_shards: number of files; 0 for one to 200 images.
        resize: (height, width) to store images (then as PNG) and labels at.
        skip_bad: leave out what cannot be converted, instead of stopping before anything is written.
        only: names of the images to convert, with or without suffix; None for all.
        run: who does the work, see `shards`.

    Returns:
        The manifest and what was left out or changed.

    Raises:
        InputError: bad pairs, all of them in one message; nothing to convert; another conversion's output folder, or
            a file in its place; a full disk.
    """
    shards.check_output(output)
    source = keep_listed(source, only, "the list of names")
    settings = Settings(source.label_space, source.id_map, source.read_ids, resize)
    findings = list(run(partial(check, settings=settings), source.pairs, title="check"))
    problems = (*source.problems, *(finding.problem for finding in findings if finding.problem))
    good = [(pair, found) for pair, found in zip(source.pairs, findings, strict=True) if not found.problem]
    if problems and not skip_bad:
        raise InputError(
            f"{len(problems)} bad pairs, nothing was written; mend them or leave them out with --skip_bad:"
            + "".join(f"\n  {problem}" for problem in problems)
        )
    if not good:
        raise InputError("no image is left to convert:" + "".join(f"\n  {problem}" for problem in problems))
    num_shards = num_shards or -(-len(good) // IMAGES_PER_SHARD)
    if num_shards > len(good):
        raise InputError(f"num_shards={num_shards} is more than the {len(good)} images; give at most one a shard")
    manifest = shards.write(
        output,
        source.label_space,
        [good[start:stop] for start, stop in pairwise(i * len(good) // num_shards for i in range(num_shards + 1))],
        partial(_records, settings=settings),
        job=_digest([(pair.name, found.digest) for pair, found in good], settings, num_shards),
        run=run,
    )
    return Report(manifest, problems, tuple(found.changes for _, found in good if found.changes))


def _records(group: list[tuple[Pair, Finding]], settings: Settings) -> Iterator[Record]:
    return (make_record(pair, settings) for pair, _ in group)


def _digest(contents: list[tuple[str, str]], settings: Settings, num_shards: int) -> str:
    """Returns a digest of all that decides the bytes of the shards."""
    space = settings.label_space and settings.label_space.to_json()
    return hashlib.sha256(json.dumps([contents, space, settings.resize, num_shards]).encode()).hexdigest()


def _resized(
    image: images.StoredImage, label: np.ndarray | None, size: tuple[int, int]
) -> tuple[images.StoredImage, np.ndarray | None]:
    from fada_tf.data import tfrecord, transforms  # TensorFlow, which only resizing needs

    pixels = transforms.resize_image(tfrecord.decode_image(image.data), size)
    data = images.encode_png(pixels.numpy())  # lossless: the pixels that training would have made
    return images.StoredImage(data, "png", *size), None if label is None else transforms.resize_label(
        label, size
    ).numpy()


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
        raise InputError(f"{os.fsencode(path)!r}: the name is not UTF-8; rename the file") from error
