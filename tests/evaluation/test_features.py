"""Class center distance against its definition, summed vector by vector."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.data import conversion
from fada_tf.data.transforms import resize_image, resize_label
from fada_tf.evaluation.features import ClassStatistics, Sample, analyze
from fada_tf.models.segmenter import build_segmenter
from tests.data import makers


def direct(features: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns CCD of every class, computed as paper eq. 9 is written."""
    sets = {i: features[labels == i].astype("f8") for i in range(num_classes) if (labels == i).any()}
    centers = {i: vectors.mean(0) for i, vectors in sets.items()}
    values = np.full(num_classes, np.nan)
    for i, vectors in sets.items():
        inside = np.mean([np.sum((x - centers[i]) ** 2) for x in vectors])
        others = [inside / np.sum((centers[i] - centers[j]) ** 2) for j in sets if j != i]
        values[i] = sum(others) / (len(sets) - 1)
    return values


def test_streamed_distances_are_the_direct_ones():
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 3, 4, 255], 600, p=[0.4, 0.3, 0.2, 0.05, 0.05])  # nothing is of class 2
    features = (rng.normal(0, 1, (600, 7)) + 5 * np.sin(labels[:, None] + np.arange(7))).astype("f")
    statistics = ClassStatistics(5, 7)
    for part in np.array_split(np.arange(600), 9):
        statistics.add(features[part], labels[part])
    expected = direct(features, labels, 5)
    np.testing.assert_allclose(statistics.class_center_distance, expected, rtol=1e-6)
    assert np.isnan(expected[2])
    assert statistics.mean_class_center_distance == pytest.approx(np.nanmean(expected), rel=1e-6)
    np.testing.assert_array_equal(statistics.counts, [(labels == i).sum() for i in range(5)])


def test_a_large_common_offset_does_not_hurt():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 500)
    features = rng.normal(0, 1, (1000, 3)) + labels[:, None] + 1000
    statistics = ClassStatistics(2, 3)
    statistics.add(features, labels)
    np.testing.assert_allclose(statistics.class_center_distance, direct(features, labels, 2), rtol=1e-6)


def test_one_class_alone_has_no_distance():
    statistics = ClassStatistics(3, 2)
    assert np.isnan(statistics.mean_class_center_distance)
    statistics.add(np.ones((4, 2)), np.zeros(4, int))
    assert np.isnan(statistics.class_center_distance).all()


def test_a_sample_is_a_fair_part_of_the_stream():
    sample = Sample(3, 200)
    for part in range(20):
        sample.add(np.full((100, 1), part), np.r_[np.zeros(97), [1, 255, 255]].astype(int))
    vectors, classes = sample.vectors()
    assert np.bincount(classes).tolist() == [200, 20]
    counts = np.bincount(vectors[classes == 0, 0], minlength=20)
    assert counts.min() > 0 and counts.max() < 30  # 10 of each part on average, not the first or the last


@pytest.mark.parametrize("batch_size", [1, 2])
def test_both_domains_count_at_the_size_of_the_features(tmp_path, monkeypatch, batch_size):
    records, expected = {}, []
    segmenter = build_segmenter("tiny", 3, "synchronized", seed=2)
    rng = np.random.default_rng(4)
    for offset, domain in enumerate(("source", "target")):
        folder, pairs = str(tmp_path / domain), []
        for index in range(3):
            height = 32 - 3 * index  # another one than that of the image beside it
            image = makers.texture(height, 40, seed=9 * offset + index)
            label = rng.integers(0, 3, (height, 40)).astype("u1")
            label[:8] = 255
            name = f"{index}.png"
            makers.save(f"{folder}/images/{name}", image)
            makers.save(f"{folder}/labels/{name}", label)
            pairs.append(makers.Pair(name, f"{folder}/images/{name}", f"{folder}/labels/{name}"))
            if index != 1:  # two of three, evenly taken, are the first and the last
                features = segmenter.features(resize_image(tf.constant(image), (32, 40))[None])[0].numpy()
                small = resize_label(tf.constant(label), features.shape[:2]).numpy()
                expected.append((features.reshape(-1, features.shape[-1]), small.reshape(-1)))
        dataset = makers.DataSet(tuple(pairs), makers.THREE)
        conversion.convert(dataset, f"{folder}/records")
        records[domain] = f"{folder}/records"
    seen, batches, compute = [], [], segmenter.features
    monkeypatch.setattr(segmenter, "features", lambda images: batches.append(images.shape[0]) or compute(images))
    analysis = analyze(
        segmenter, records, makers.THREE_CLASSES, (32, 40),
        images=2, sample_size=5, progress=lambda: seen.append(1), batch_size=batch_size,
    )  # fmt: skip
    features, labels = (np.concatenate(parts) for parts in zip(*expected, strict=True))
    np.testing.assert_allclose(analysis.both.class_center_distance, direct(features, labels, 3), rtol=1e-4)
    assert len(seen) == 4
    assert batches[0] == batch_size  # when it was traced first
    assert sum(analysis.counts["target"]) == (labels[len(labels) // 2 :] != 255).sum()
    assert analysis.samples["target"].vectors()[0].shape == (15, segmenter.feature_channels)
