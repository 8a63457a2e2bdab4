"""The distance of features, against loops over cells and pixels."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.losses.feature_distance import feature_distance

THINGS = (1, 4)


def by_loops(features, frozen, labels, classes, share):
    """The same in loops."""
    batch, rows, columns, _ = features.shape
    _, height, width = labels.shape
    distances = []
    for image in range(batch):
        pixels: dict[tuple[int, int], list[int]] = {}
        for y in range(height):
            for x in range(width):
                pixels.setdefault((int(y * rows / height), int(x * columns / width)), []).append(labels[image, y, x])
        for cell, shown in pixels.items():
            if any(shown.count(class_id) >= share * len(shown) for class_id in classes):
                distances.append(np.sqrt(((features[image] - frozen[image])[cell].astype(np.float64) ** 2).sum()))
    return sum(distances) / max(len(distances), 1), len(distances)


def drawn(size, label_size, blocks, seed=0):
    """Features of two networks, and labels in blocks with single pixels of others."""
    random = np.random.default_rng(seed)
    features, frozen = random.standard_normal((2, 2, *size, 5)).astype(np.float32)
    labels = random.integers(0, 6, (2, *blocks))
    labels = labels.repeat(-(-label_size[0] // blocks[0]), axis=1).repeat(-(-label_size[1] // blocks[1]), axis=2)
    labels = labels[:, : label_size[0], : label_size[1]].astype(np.uint8)
    labels[random.random(labels.shape) < 0.15] = 255
    return features, frozen, labels


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("size", "label_size"), [((6, 8), (48, 64)), ((7, 9), (52, 65)), ((5, 5), (5, 5))])
def test_it_is_the_mean_over_cells_of_things(size, label_size, compiled):
    features, frozen, labels = drawn(size, label_size, blocks=(4, 5))
    expected, cells = by_loops(features, frozen, labels, THINGS, 0.75)
    assert 3 < cells < 2 * size[0] * size[1] / 2
    found = tf.function(feature_distance, jit_compile=compiled)(features, frozen, tf.constant(labels), THINGS)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(feature_distance(features, frozen, tf.constant(labels), (3,))) != pytest.approx(expected, rel=1e-2)


def test_a_cell_needs_three_quarters_of_one_class():
    features, frozen = np.zeros((1, 1, 1, 1), np.float32), np.full((1, 1, 1, 1), 2, np.float32)

    def distance(*of_things):
        label = np.zeros(36, np.uint8)
        for class_id, (begin, end) in zip(THINGS, of_things, strict=False):
            label[begin:end] = class_id
        return float(feature_distance(features, frozen, tf.constant(label.reshape(1, 6, 6)), THINGS))

    assert (distance((0, 27)), distance((0, 26)), distance((0, 20), (20, 36))) == (2, 0, 0)


def gradients(features, frozen, labels):
    features, frozen = tf.constant(features), tf.constant(frozen)
    with tf.GradientTape() as tape:
        tape.watch([features, frozen])
        distance = feature_distance(features, frozen, tf.constant(labels), THINGS)
    return float(distance), *tape.gradient(distance, [features, frozen])


def test_it_moves_features_of_things_alone_and_towards_the_frozen_ones():
    features, frozen, labels = drawn((6, 8), (48, 64), blocks=(4, 5))
    distance, of_features, of_frozen = gradients(features, frozen, labels)
    assert of_frozen is None
    moved = np.abs(of_features).sum(axis=-1) > 0
    _, cells = by_loops(features, frozen, labels, THINGS, 0.75)
    assert moved.sum() == cells
    towards = -(of_features * (frozen - features)).numpy().sum(axis=-1)[moved]  # of unit vectors, over the cells
    np.testing.assert_allclose(towards, np.linalg.norm(features - frozen, axis=-1)[moved] / cells, rtol=1e-4)
    assert distance == pytest.approx(towards.sum(), rel=1e-4)


def test_where_nothing_has_moved_or_no_thing_is_seen_it_and_its_gradients_are_zero():
    features, frozen, labels = drawn((6, 8), (48, 64), blocks=(4, 5))
    for case in ((features, features, labels), (features, frozen, np.full_like(labels, 255))):
        distance, of_features, _ = gradients(*case)
        assert distance == 0 and not of_features.numpy().any()


def test_features_of_low_precision_are_compared_in_float32():
    features, frozen, labels = drawn((6, 8), (48, 64), blocks=(4, 5))
    low = [tf.cast(each, tf.bfloat16) for each in (features, frozen)]
    found = feature_distance(*low, tf.constant(labels), THINGS)
    expected, _ = by_loops(*(tf.cast(each, tf.float32).numpy() for each in low), labels, THINGS, 0.75)
    assert found.dtype == tf.float32 and float(found) == pytest.approx(expected, rel=1e-5)
