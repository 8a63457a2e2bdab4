"""A data set's files to shards: everything is checked first, then written by all cores, safe to interrupt."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from fada_tf.data import conditions, images, shards
from fada_tf.data.checking import Findings, Settings, read_pair
from fada_tf.data.datasets.base import DataSet, Pair, keep_listed
from fada_tf.data.manifest import Manifest
from fada_tf.data.tfrecord import Record
from fada_tf.errors import InputError, printable

IMAGES_PER_SHARD = 200  # about 0.5 GB of GTA5: small enough that an interruption costs minutes


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Attributes:
      manifest: of the finished folder.
      problems: a line for each pair left out.
      changes: a line for each image that is not stored as its original file.
      remarks: lines about files that are no pictures and classes that no label shows.
    """

    manifest: Manifest
    problems: tuple[str, ...]
    changes: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def make_record(pair: Pair, settings: Settings) -> Record:
    """Returns a pair's record as it is stored, resized if the settings say so; raises as `read_pair`."""
    image, label = read_pair(pair, settings)
    if settings.resize is not None:
        image, label = _resized(image, label, settings.resize)
    record = Record(pair.name, image.data, image.format, image.height, image.width, conditions=pair.conditions)
    if label is None or settings.labels is None:
        return record
    return record.labelled(label, settings.labels.label_space.num_classes)


def convert(
    dataset: DataSet,
    output: str,
    *,
    num_shards: int = 0,
    resize: tuple[int, int] | None = None,
    skip_bad: bool = False,
    ignore_unknown: bool = False,
    only: Iterable[str] | None = None,
    workers: shards.Workers = shards.in_this_process,
) -> Report:
    """Writes a data set as shards and a manifest; called again after an interruption it keeps the finished shards.

    Args:
      dataset: what is converted.
      output: a new or empty folder, or one where the same conversion was interrupted.
      num_shards: number of files; 0 for one to 200 images.
      resize: (height, width) to store images (then as PNG) and labels at.
      skip_bad: leave out what cannot be converted, instead of stopping before anything is written.
      ignore_unknown: take ids and colours that mean nothing as ignored, instead of as a bad pair.
      only: names of the images to convert, with or without suffix; None for all.
      workers: who does the work, see `shards`.

    Returns:
      The manifest and what was left out or changed.

    Raises:
      InputError: bad pairs, all of them in one message; nothing to convert; another conversion's output folder, or
        a file in its place; a full disk.
    """
    shards.check_output(output)
    dataset = keep_listed(dataset, only, "the list of names")
    settings = Settings(dataset.labels, resize, ignore_unknown)
    partners = tuple(map(printable, dataset.problems))
    if not skip_bad:
        _refuse(partners)  # known without reading a file
    findings = Findings(output, settings)
    results = findings.of(dataset.pairs, workers)
    problems = (*partners, *(finding.problem for finding in results if finding.problem))
    if not skip_bad:
        _refuse(problems)
    good = [(pair, finding) for pair, finding in zip(dataset.pairs, results, strict=True) if not finding.problem]
    if not good:
        raise InputError("no image is left to convert:" + "".join(f"\n  {problem}" for problem in problems))
    num_shards = num_shards or -(-len(good) // IMAGES_PER_SHARD)
    if num_shards > len(good):
        raise InputError(f"num_shards={num_shards} is more than the {len(good)} images: give at most one a shard")
    manifest = shards.write(
        output,
        dataset.labels.label_space if dataset.labels else None,
        [good[start:stop] for start, stop in pairwise(i * len(good) // num_shards for i in range(num_shards + 1))],
        partial(_records, settings=settings),
        job=_digest([(pair.name, finding.digest) for pair, finding in good], settings, num_shards),
        workers=workers,
        labelled=dataset.labels.classes if dataset.labels else None,
        of_records=conditions.columns([pair.conditions for pair, _ in good]),
        facts=dataset.facts,
    )
    findings.forget()
    changes = tuple(finding.changes for _, finding in good if finding.changes)
    return Report(manifest, problems, changes, (*map(printable, dataset.passed_over), *_unseen(manifest)))


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        pairs = "pair" if len(problems) == 1 else "pairs"
        raise InputError(
            f"{len(problems)} bad {pairs}, nothing was written; mend them or leave them out with --skip_bad:"
            + "".join(f"\n  {problem}" for problem in problems)
        )


def _unseen(manifest: Manifest) -> list[str]:
    """Says which classes no label shows."""
    if manifest.label_space is None or not manifest.unseen:
        return []
    if manifest.unseen == manifest.classes:
        return ["no label has a pixel of any class, and training will refuse them: check the ids"]
    return [f"no label has a pixel of {', '.join(manifest.unseen)}"]


def _records(group: Sequence[tuple[Pair, object]], settings: Settings) -> Iterator[Record]:
    return (make_record(pair, settings) for pair, _ in group)


def _digest(contents: list[tuple[str, str]], settings: Settings, num_shards: int) -> str:
    """Returns a digest of all that decides the bytes of the shards."""
    space = settings.labels and settings.labels.label_space.to_json()
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
