"""Shards of images to shards of the same images with other labels: how pseudo labels are stored."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from fada_tf.data import shards
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.data.tfrecord import Record, read_shard

Labeller = Callable[[Iterable[Record]], Iterable[np.ndarray]]


def relabel(
    records: str,
    output: str,
    label_space: LabelSpace,
    labeller: Labeller,
    *,
    labeller_id: str,
    workers: shards.Workers = shards.in_this_process,
) -> Manifest:
    """Copies a folder of shards, giving each image the label that a model predicts; resumes after an interruption.

    Args:
      records: a folder of shards, labelled or not.
      output: a new or empty folder, or one where the same relabelling was interrupted.
      label_space: of the new labels.
      labeller: a shard's records to their labels, in order, each [record.height, record.width] uint8 train ids and
        255; it may work in batches. With `workers` in other processes it must be possible to pickle it.
      labeller_id: a text that is the same only for a labeller that gives the same labels.
      workers: who does the work.

    Returns:
      The manifest of `output`.

    Raises:
      InputError: `records` has no manifest; `output` holds something else or cannot be written.
    """
    manifest = Manifest.load(records)
    job = [manifest.job, label_space.to_json(), labeller_id]
    return shards.write(
        output,
        label_space,
        manifest.shard_paths,
        partial(_relabelled, labeller=labeller, num_classes=label_space.num_classes),
        job=hashlib.sha256(json.dumps(job).encode()).hexdigest(),
        workers=workers,
        of_records=manifest.conditions,
        facts=manifest.facts,
    )


def _relabelled(path: str, labeller: Labeller, num_classes: int) -> Iterator[Record]:
    # Read twice, so that a labeller that works in batches does not make a whole shard wait in memory.
    for record, label in zip(read_shard(path), labeller(read_shard(path)), strict=True):
        yield record.labelled(label, num_classes)
