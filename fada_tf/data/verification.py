"""Proves that a folder of shards is whole: every byte, every record, every pixel count."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import tensorflow as tf

from fada_tf.data import files, shards
from fada_tf.data.conditions import Columns
from fada_tf.data.entries import Entry
from fada_tf.data.manifest import Manifest, Shard
from fada_tf.data.tfrecord import decode, decode_image, read_payloads
from fada_tf.errors import InputError


def verify(folder: str, workers: shards.Workers = shards.in_this_process) -> Manifest:
    """Reads all that a manifest lists and compares it.

    Args:
      folder: the shards.
      workers: who does the work.

    Returns:
      The manifest.

    Raises:
      InputError: something is missing or differs; the message lists each shard and record.
    """
    manifest = Manifest.load(folder)
    classes = manifest.label_space and manifest.label_space.num_classes
    ends = np.cumsum([len(shard.entries) for shard in manifest.shards], dtype=np.int64)
    tasks = [
        (path, shard, {name: column[end - len(shard.entries) : end] for name, column in manifest.conditions.items()})
        for path, shard, end in zip(manifest.shard_paths, manifest.shards, ends, strict=True)
    ]
    problems = [
        line for lines in workers(partial(_verify_shard, classes=classes), tasks, title="verify") for line in lines
    ]
    if problems:
        raise InputError(
            f"{folder} is not whole, copy or convert it again:" + "".join(f"\n  {problem}" for problem in problems)
        )
    return manifest


def _verify_shard(task: tuple[str, Shard, Columns], classes: int | None) -> list[str]:
    path, shard, conditions = task
    if not files.exists(path):
        return [f"shard {path}: is missing"]
    problems = []
    if files.size(path) != shard.size:
        problems.append(f"shard {path}: has {files.size(path)} bytes instead of {shard.size}")
    elif files.sha256(path) != shard.sha256:
        problems.append(f"shard {path}: its SHA-256 differs")
    columns = zip(*((path, entry.offset, entry.length) for entry in shard.entries), strict=True)
    for place, (entry, payload) in enumerate(zip(shard.entries, read_payloads(*columns), strict=True)):
        known = {name: column[place] for name, column in conditions.items() if column[place]}
        problem = _verify_record(payload, entry, classes, known)
        if problem:
            problems.append(f"shard {path}, record {entry.filename} at byte {entry.offset}: {problem}")
    return problems


def _verify_record(payload: bytes, entry: Entry, classes: int | None, conditions: Mapping[str, str]) -> str:
    """Returns what is wrong with a record, or ''."""
    if not payload:
        return "its checksum or length is wrong"
    try:
        record = decode(payload)
    except InputError as error:
        return str(error)
    if (record.filename, record.height, record.width) != (entry.filename, entry.height, entry.width):
        return f"is {record.filename}, {record.width}x{record.height}, not what the manifest lists"
    if record.conditions and record.conditions != conditions:  # older records have none
        return f"has the conditions {record.conditions}, not those of the manifest"
    try:
        image = decode_image(record.image)
        label = None if record.label is None else tf.io.decode_png(record.label, channels=1)[..., 0].numpy()
    except tf.errors.InvalidArgumentError as error:
        return f"its image or label cannot be decoded ({error.message})"
    if image.shape[:2] != (entry.height, entry.width):
        return f"its image is {image.shape[1]}x{image.shape[0]} pixels"
    if (label is None) != (classes is None):
        return "it has a label, or lacks one, against the manifest"
    if label is not None and (label.shape != image.shape[:2] or record.labelled(label, classes).pixels != entry.pixels):
        return "its label has another size or other pixel counts"
    return ""
