"""Calibration error against its definition, pixel by pixel."""

import math

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.evaluation.calibration import BINS, calibration_counts, expected_calibration_error


def test_the_error_of_a_case_by_hand():
    # Of four pixels in the bin (9/15, 10/15] two are right, of one in (12/15, 13/15] one; the last does not count.
    confidence = tf.constant([0.625, 0.625, 0.65625, 0.65625, 0.84375, 0.9], tf.float32)
    counts = calibration_counts(tf.constant([1, 1, 0, 0, 2, 255]), tf.constant([1, 0, 0, 1, 2, 1]), confidence).numpy()
    assert counts.dtype == np.int64 and counts.shape == (3, BINS)
    np.testing.assert_array_equal(np.flatnonzero(counts[0]), [9, 12])
    np.testing.assert_array_equal(counts[:, 9], [4, 2, 2.5625 * 2**24])
    np.testing.assert_array_equal(counts[:, 12], [1, 1, 0.84375 * 2**24])
    # |2/4 - 0.640625| has the weight 4/5, |1 - 0.84375| the weight 1/5.
    assert expected_calibration_error(counts) == pytest.approx(0.8 * 0.140625 + 0.2 * 0.15625, abs=1e-15)


def test_certain_and_uncertain_pixels_have_bins():
    confidence = tf.constant([0.0, 1.0, 1.0000001, 1 / 15, 1 / 15 + 1e-6], tf.float32)
    counts = calibration_counts(tf.zeros([5], tf.uint8), tf.zeros([5], tf.int64), confidence).numpy()
    assert counts[0, [0, 1, -1]].tolist() == [2, 1, 2] and counts[0].sum() == 5


def test_without_labelled_pixels_there_is_no_error():
    counts = calibration_counts(tf.fill([2, 3], 255), tf.zeros([2, 3], tf.int32), tf.ones([2, 3])).numpy()
    assert not counts.any() and math.isnan(expected_calibration_error(counts))


def test_sums_are_exact_in_any_order_and_in_parts():
    rng = np.random.default_rng(1)
    labels, found = rng.choice([0, 1, 2, 255], (2, 300, 400))
    confidence = rng.uniform(1 / 3, 1, (300, 400)).astype("f")
    whole = calibration_counts(tf.constant(labels), tf.constant(found), tf.constant(confidence)).numpy()
    order = rng.permutation(labels.size)
    parts = [
        calibration_counts(*(tf.constant(values.ravel()[part]) for values in (labels, found, confidence))).numpy()
        for part in np.split(order, [7, 50_000])
    ]
    np.testing.assert_array_equal(sum(parts), whole)
    counted = labels != 255
    bins = np.ceil(confidence[counted].astype(np.float64) * BINS) - 1
    error = 0.0
    for index in range(BINS):
        members = bins == index
        if members.any():
            right = (labels[counted] == found[counted])[members].mean()
            error += abs(right - confidence[counted][members].mean(dtype=np.float64)) * members.mean()
    # Confidences are rounded to 2^-24; float32 products may put one that lies on an end of a bin into the next.
    assert expected_calibration_error(whole) == pytest.approx(error, abs=1e-4)
