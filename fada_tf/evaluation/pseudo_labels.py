"""Pseudo labels: what the adapted segmenter predicts for every pixel of the target images (paper 3.4)."""

import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from fada_tf.data import relabelling, shards
from fada_tf.data.ahead import map_ahead
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.data.tfrecord import Record, decode_image
from fada_tf.errors import InputError
from fada_tf.evaluation.prediction import Segments, checked


def write_pseudo_labels(
    predictor: Segments,
    records: str,
    output: str,
    label_space: LabelSpace,
    *,
    predictor_id: str,
    progress: Callable[[], object] | None = None,
    workers: shards.Workers = shards.in_this_process,
) -> Manifest:
    """Copies a folder of target shards and labels every pixel with its most likely class, however likely it is.

    The authors set no threshold either: https://github.com/JDAI-CV/FADA/blob/a1c6403/test.py#L143-L149.

    Args:
      predictor: the adapted segmenter.
      records: a folder of shards; labels in it are not read.
      output: a new or empty folder, or one where the same call was interrupted; it continues there.
      label_space: the segmenter's classes.
      predictor_id: a text that is the same only for the same weights and size.
      progress: called after every image, where `workers` are this process.
      workers: who does the work; with one of other processes the predictor must be possible to pickle.

    Returns:
      The manifest of `output`.

    Raises:
      InputError: `records` has no manifest or is damaged, or `output` holds something else.
    """
    label = functools.partial(_labels, predictor=predictor, progress=progress)
    return relabelling.relabel(records, output, label_space, label, labeller_id=predictor_id, workers=workers)


def _labels(
    shard: Iterable[Record], predictor: Segments, progress: Callable[[], object] | None
) -> Iterator[np.ndarray]:
    def decoded(record: Record) -> np.ndarray:
        return checked(_decoded(record), predictor, record.filename)

    for class_map in predictor.segment(map_ahead(decoded, shard)):
        yield class_map
        if progress:
            progress()


def _decoded(record: Record) -> np.ndarray:
    try:
        with tf.device("CPU:0"):  # beside what a GPU does with the images before
            return decode_image(record.image).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise InputError(f"{record.filename} cannot be decoded: convert the data again") from error
