"""Pseudo labels: what the adapted segmenter predicts for every pixel of the target images (paper 3.4)."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from fada_tf.data import relabelling
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.data.tfrecord import Record, decode_image
from fada_tf.evaluation.prediction import Predictor


def write_pseudo_labels(
    predictor: Predictor,
    records: str,
    output: str,
    label_space: LabelSpace,
    *,
    predictor_id: str,
    progress: Callable[[], object] = lambda: None,
) -> Manifest:
    """Copies a folder of target shards and labels every pixel with its most likely class; no threshold (code).

    Args:
      predictor: the adapted segmenter.
      records: a folder of shards; labels in it are not read.
      output: a new or empty folder, or one where the same call was interrupted; it continues there.
      label_space: the segmenter's classes.
      predictor_id: a text that is the same only for the same weights and size.
      progress: called after every image.

    Returns:
      The manifest of `output`.

    Raises:
      InputError: `records` has no manifest, or `output` holds something else.
    """

    def label(shard: Iterable[Record]) -> Iterator[np.ndarray]:
        for record in shard:
            yield predictor(decode_image(record.image).numpy())
            progress()

    return relabelling.relabel(records, output, label_space, label, labeller_id=predictor_id)
