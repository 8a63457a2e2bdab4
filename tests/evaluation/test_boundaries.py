"""The band around boundaries against a search of every pixel's neighbours."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.data.labels import IGNORE
from fada_tf.evaluation.boundaries import near_boundary


def searched(label: np.ndarray, distance: int) -> np.ndarray:
    """Returns for every pixel whether a labelled one of another class lies within the distance, pair by pair."""
    found = np.zeros(label.shape, bool)
    for (row, column), own in np.ndenumerate(label):
        around = label[max(row - distance, 0) : row + distance + 1, max(column - distance, 0) : column + distance + 1]
        found[row, column] = own != IGNORE and ((around != own) & (around != IGNORE)).any()
    return found


def test_the_band_has_five_pixels_on_either_side():
    label = np.zeros((3, 20), np.uint8)
    label[:, 9:] = 18
    expected = np.zeros((3, 20), bool)
    expected[:, 4:14] = True  # columns 4..8 of the one class and 9..13 of the other
    np.testing.assert_array_equal(near_boundary(tf.constant(label)), expected)
    np.testing.assert_array_equal(near_boundary(tf.constant(label.T)), expected.T)


def test_what_is_ignored_makes_no_boundary_and_is_in_no_band():
    label = np.full((1, 20), 3, np.uint8)
    label[:, 5:8] = IGNORE
    assert not near_boundary(tf.constant(label)).numpy().any()
    label[:, 8:] = 0  # now two classes with three ignored pixels between them
    np.testing.assert_array_equal(np.flatnonzero(near_boundary(tf.constant(label))), [3, 4, 8, 9])
    assert not near_boundary(tf.fill([4, 4], tf.constant(IGNORE, tf.uint8))).numpy().any()


@pytest.mark.parametrize(("size", "distance"), [((1, 1), 5), ((3, 4), 5), ((17, 30), 5), ((17, 30), 1)])
def test_the_band_is_that_of_a_search(size, distance):
    rng = np.random.default_rng(3)
    # Patches of classes 0, 1 and 254, the smallest and the largest that there can be, and ignored pixels.
    patches = rng.choice([0, 0, 0, 1, 254, IGNORE], [-(-side // 6) for side in size]).astype(np.uint8)
    label = np.kron(patches, np.ones((6, 6), np.uint8))[: size[0], : size[1]]
    label[rng.random(size) < 0.02] = IGNORE
    expected = searched(label, distance)
    np.testing.assert_array_equal(tf.function(near_boundary)(tf.constant(label), distance), expected)
    assert expected.any() or size != (17, 30)
