"""Scores against direct counts."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.evaluation.confusion import Scores, confusion_matrix
from fada_tf.evaluation.evaluator import Evaluator
from fada_tf.models.class_maps import predict_class_map
from fada_tf.models.segmenter import build_segmenter

NAMES = ("road", "car", "train")


def test_confusion_matrix_counts_every_pair_and_skips_ignored_pixels():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 3, (4, 50)), rng.integers(0, 3, (4, 50))
    labels[rng.random(labels.shape) < 0.2] = 255
    expected = [[((labels == true) & (predictions == found)).sum() for found in range(3)] for true in range(3)]
    matrix = confusion_matrix(tf.constant(labels, tf.uint8), tf.constant(predictions, tf.int32), 3)
    assert matrix.dtype == tf.int64
    np.testing.assert_array_equal(matrix, expected)


def test_scores_of_a_known_matrix():
    scores = Scores(NAMES[:2], np.array([[6, 2], [1, 3]]))
    np.testing.assert_allclose(scores.class_iou, [6 / 9, 3 / 6])
    assert scores.mean_iou == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert scores.pixel_accuracy == pytest.approx(9 / 12)


def test_a_class_that_does_not_occur_is_left_out_of_the_mean():
    scores = Scores(NAMES, np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]]))
    assert np.isnan(scores.class_iou[2])
    assert scores.mean_iou == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert scores.to_dict()["class_iou"]["train"] is None
    assert "train" in scores.table()


def test_a_class_that_is_only_predicted_counts_as_zero():
    scores = Scores(NAMES, np.array([[6, 2, 1], [1, 3, 0], [0, 0, 0]]))
    assert scores.class_iou[2] == 0.0


def test_counts_beyond_32_bits_are_exact():
    scores = Scores(("a", "b"), np.array([[2**40, 1], [0, 2**40]]))
    assert scores.to_dict()["confusion"] == [[2**40, 1], [0, 2**40]]


@pytest.fixture(scope="module")
def segmenter():
    return build_segmenter("tiny", 3, "synchronized", seed=1)


def evaluation_set(sizes: list[tuple[int, int]], batch_size: int) -> tf.data.Dataset:
    """Returns batches as the pipeline makes them: images of one size, labels of their own sizes."""
    rng = np.random.default_rng(2)

    def elements():
        for number, (height, width) in enumerate(sizes):
            yield {
                "image": rng.integers(0, 256, (24, 32, 3)).astype("u1"),
                "label": rng.integers(0, 3, (height, width)).astype("u1"),
                "label_size": np.array([height, width], np.int32),
                "record": number,
            }

    signature = {
        "image": tf.TensorSpec([24, 32, 3], tf.uint8),
        "label": tf.TensorSpec([None, None], tf.uint8),
        "label_size": tf.TensorSpec([2], tf.int32),
        "record": tf.TensorSpec([], tf.int64),
    }
    padding = {"image": tf.constant(0, tf.uint8), "label": tf.constant(255, tf.uint8), "label_size": 0}
    padding["record"] = tf.constant(0, tf.int64)
    dataset = tf.data.Dataset.from_generator(elements, output_signature=signature).cache()
    return dataset.padded_batch(batch_size, padding_values=padding)


def counted(segmenter, dataset: tf.data.Dataset) -> list[np.ndarray]:
    """Returns the confusion matrix of each image."""
    counts = []
    for element in dataset.unbatch():
        height, width = element["label_size"].numpy()
        found = predict_class_map(segmenter(element["image"][None]), (height, width), align_corners=True)[0].numpy()
        counts.append(np.zeros((3, 3), np.int64))
        np.add.at(counts[-1], (element["label"].numpy()[:height, :width], found), 1)
    return counts


def test_labels_of_any_size_are_scored_at_their_own_size_in_any_batch(segmenter):
    sizes = [(48, 64), (30, 40), (24, 33)]
    dataset = evaluation_set(sizes, batch_size=2)
    expected = sum(counted(segmenter, dataset))
    seen = []
    evaluator = Evaluator(segmenter, dataset, NAMES, tf.distribute.get_strategy(), progress=seen.append)
    output = evaluator.evaluate(-1)
    np.testing.assert_array_equal(evaluator.scores.confusion, expected)
    assert expected.sum() == sum(height * width for height, width in sizes)
    assert seen == [2, 1]
    assert output["mean_iou"] == evaluator.scores.mean_iou


def test_images_of_a_condition_are_scored_by_themselves_too(segmenter):
    sizes = [(48, 64), (30, 40), (24, 33), (20, 30)]
    dataset = evaluation_set(sizes, batch_size=3)
    conditions = {"weather": ("fog", "", "rain", "fog"), "city": ("ulm", "jena", "jena", "jena"), "split": ("val",) * 4}
    evaluator = Evaluator(segmenter, dataset, NAMES, tf.distribute.get_strategy(), conditions=conditions)
    evaluator.evaluate(-1)
    each = counted(segmenter, dataset)
    expected = {("city", "jena"): [1, 2, 3], ("city", "ulm"): [0], ("weather", "fog"): [0, 3], ("weather", "rain"): [2]}
    found = {(name, value): scores for name, value, scores in evaluator.scores.conditions()}
    assert found.keys() == expected.keys()
    for place, members in expected.items():
        np.testing.assert_array_equal(found[place].confusion, sum(each[number] for number in members))
        assert found[place].images == len(members)
    np.testing.assert_array_equal(evaluator.scores.confusion, sum(each))
    values = evaluator.scores.to_dict()["by_condition"]
    assert values["weather"]["fog"]["mean_iou"] == found["weather", "fog"].mean_iou
    assert values["weather"]["fog"]["images"] == 2 and "images" not in evaluator.scores.to_dict()
    (line,) = (line for line in evaluator.scores.table().splitlines() if line.startswith("weather fog"))
    assert line.split() == ["weather", "fog", f"{100 * found['weather', 'fog'].mean_iou:.1f}", "2"]


def test_two_replicas_score_as_one(segmenter, two_replicas):
    dataset = evaluation_set([(24, 32)] * 3, batch_size=2)
    with two_replicas.scope():
        mirrored = build_segmenter("tiny", 3, "synchronized", seed=1)
    counts = []
    for model, strategy in ((segmenter, tf.distribute.get_strategy()), (mirrored, two_replicas)):
        evaluator = Evaluator(model, dataset, NAMES, strategy, conditions={"city": ("ulm", "jena", "jena")})
        evaluator.evaluate(-1)
        counts.append(
            [evaluator.scores.confusion, *(scores.confusion for _, _, scores in evaluator.scores.conditions())]
        )
    np.testing.assert_array_equal(*counts)
