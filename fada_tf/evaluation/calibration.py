"""Calibration: whether a segmenter is right as often as its probabilities say (Guo et al., 2017, arXiv 1706.04599)."""

import numpy as np
import tensorflow as tf

from fada_tf.data.labels import IGNORE

BINS = 15  # of equal width, as in the paper; each holds its upper end
_UNIT = 2**-24  # of summed confidences, finer than float32 near 1: sums of integers are exact in any order


def calibration_counts(labels: tf.Tensor, predictions: tf.Tensor, confidence: tf.Tensor) -> tf.Tensor:
    """Counts pixels by the probability of their predicted class.

    Args:
      labels: integers of any shape, class ids or 255 for pixels that do not count.
      predictions: integers of the same shape, class ids.
      confidence: float32 of the same shape, probability of the predicted class, 0..1.

    Returns:
      int64 [3, `BINS`]: of each bin the pixels, those of them that are right, and the sum of their confidences in
      units of 2^-24. Counts of several images are added.
    """
    # As in `confusion_matrix`, GPUs count in int32 and do all else in int64.
    labels, predictions = (tf.reshape(tf.cast(values, tf.int64), [-1]) for values in (labels, predictions))
    confidence = tf.reshape(confidence, [-1])
    bins = tf.cast(tf.clip_by_value(tf.math.ceil(confidence * BINS) - 1, 0, BINS - 1), tf.int64)
    outside = tf.constant(BINS, tf.int64)
    places = tf.where(labels == IGNORE, outside, bins)
    hits = tf.where(labels == predictions, places, outside)
    counts = [
        tf.math.bincount(each, minlength=BINS + 1, maxlength=BINS + 1, dtype=tf.int32)[:BINS] for each in (places, hits)
    ]
    units = tf.round(tf.cast(confidence, tf.float64) / _UNIT)
    sums = tf.math.unsorted_segment_sum(units, places, BINS + 1)[:BINS]
    return tf.stack([tf.cast(each, tf.int64) for each in (*counts, sums)])


def expected_calibration_error(counts: np.ndarray) -> float:
    """Returns the mean over the pixels of |accuracy - confidence| of their bin, 0..1; NaN without pixels.

    Args:
      counts: of `calibration_counts`.
    """
    pixels, hits, units = counts
    total = pixels.sum()
    return float(np.abs(hits - units * _UNIT).sum() / total) if total else float("nan")
