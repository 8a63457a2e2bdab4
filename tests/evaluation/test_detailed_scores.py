"""Scores near boundaries and of calibration, as the evaluator sums them, against counts of every image in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.data.labels import IGNORE
from fada_tf.evaluation.calibration import BINS
from fada_tf.evaluation.confusion import Scores
from fada_tf.evaluation.evaluator import Evaluator
from fada_tf.evaluation.score_files import write_checkpoint_scores, write_scores
from fada_tf.evaluation.views import Views
from fada_tf.models import class_maps
from fada_tf.windows import Windows
from tests.evaluation.test_boundaries import searched

NAMES = ("sky", "road", "car")
SIZES = ((12, 18), (17, 25), (30, 22))  # of the labels
VIEWS = {
    "whole": Views(),
    "scales": Views((0.8, 1.0), flip=True),
    "windows": Views(windows=Windows((12, 16), (10, 12), "softmax")),
    "windows, flip": Views(flip=True, windows=Windows((12, 16), (10, 12), "logits")),
}


class Segmenter:
    """Logits of a pixel's own colours, so that they cost nothing and are the same in any batch."""

    num_classes, stride, multiple, align_corners, backbone = len(NAMES), 2, 1, True, "tiny"

    def __call__(self, pixels: tf.Tensor, training: bool) -> tf.Tensor:
        pixels = tf.nn.avg_pool2d(tf.cast(pixels, tf.float32), self.stride, self.stride, "SAME")
        return pixels * [0.02, 0.025, 0.03]


def pictures() -> list[dict[str, np.ndarray]]:
    """Returns images of one size with labels of their own sizes, in patches, and ignored pixels between some."""
    rng = np.random.default_rng(4)
    found = []
    for number, (height, width) in enumerate(SIZES):
        patches = rng.integers(0, 3, (-(-height // 8), -(-width // 8))).astype(np.uint8)
        label = np.kron(patches, np.ones((8, 8), np.uint8))[:height, :width]
        label[rng.random(label.shape) < 0.2] = IGNORE
        image = np.kron(rng.integers(0, 256, (5, 6, 3)), np.ones((4, 4, 1))).astype(np.uint8)
        found.append({"image": image, "label": label, "label_size": np.int32(label.shape), "record": np.int64(number)})
    return found


def dataset(batch_size: int) -> tf.data.Dataset:
    signature = {
        "image": tf.TensorSpec([20, 24, 3], tf.uint8),
        "label": tf.TensorSpec([None, None], tf.uint8),
        "label_size": tf.TensorSpec([2], tf.int32),
        "record": tf.TensorSpec([], tf.int64),
    }
    padding = {name: tf.constant(0, spec.dtype) for name, spec in signature.items()}
    padding["label"] = tf.constant(0, tf.uint8)  # a class: what lies beyond a label must not be looked at
    images = tf.data.Dataset.from_generator(pictures, output_signature=signature)
    return images.padded_batch(batch_size, padding_values=padding)


def evaluated(views: Views, batch_size: int = 2, strategy=None, **options) -> Scores:
    strategy = strategy or tf.distribute.get_strategy()
    evaluator = Evaluator(Segmenter(), dataset(batch_size), NAMES, strategy, views=views, **options)
    evaluator.evaluate(-1)
    return evaluator.scores


def counted(views: Views) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns of each image the confusion matrix of its band, and its calibration counts with confidences in 0..1."""
    found = []
    for picture in pictures():
        label, segmenter = picture["label"], Segmenter()
        seen = views.logits(segmenter, tf.constant(picture["image"][None]))
        probabilities = views.probabilities(segmenter, seen, label.shape)[0].numpy()
        class_map, confidence = probabilities.argmax(-1), probabilities.max(-1)
        matrix, calibration = np.zeros((3, 3), np.int64), np.zeros((3, BINS))
        band = searched(label, 5)
        np.add.at(matrix, (label[band], class_map[band]), 1)
        for true, own, sure in zip(*(each[label != IGNORE] for each in (label, class_map, confidence)), strict=True):
            calibration[:, int(np.ceil(sure * BINS)) - 1] += 1, true == own, sure
        found.append((matrix, calibration))
    return found


def check(scores: Scores, expected: list[tuple[np.ndarray, np.ndarray]]) -> None:
    boundary, calibration = (sum(each) for each in zip(*expected, strict=True))
    np.testing.assert_array_equal(scores.boundary.confusion, boundary)
    found = scores.calibration * [[1], [1], [2.0**-24]]
    # A pixel or two may lie on an end of a bin, within the rounding of a softmax.
    np.testing.assert_allclose(found, calibration, atol=2.1)
    np.testing.assert_allclose(found.sum(1), calibration.sum(1), rtol=1e-5)
    error = np.abs(calibration[1] - calibration[2]).sum() / calibration[0].sum()
    assert error > 0.05
    assert scores.details["expected_calibration_error"] == pytest.approx(error, abs=4 / calibration[0].sum())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "whole" else pytest.mark.slow) for name in VIEWS]
)
def test_the_band_and_the_bins_are_those_of_the_class_map_at_the_labels_size(name, monkeypatch):
    monkeypatch.setattr(class_maps, "_BLOCK_VALUES", 9 * 25 * 3)  # some rows at a time, and not all of any label
    views = VIEWS[name]
    scores, plain = evaluated(views, detailed=True), evaluated(views)
    check(scores, counted(views))
    assert scores.boundary.confusion.sum() < scores.confusion.sum() == scores.calibration[0].sum()
    assert list(scores.details) == ["boundary_iou", "expected_calibration_error"]
    np.testing.assert_array_equal(scores.confusion, plain.confusion)
    assert plain.details == {} and not {"boundary_iou", "boundary_class_iou"} & plain.to_dict().keys()


def test_conditions_and_empty_replicas_have_their_own_counts(two_replicas):
    options = {"conditions": {"weather": ("fog", "rain", "fog")}, "unlabelled": ("car",)}
    scores = evaluated(Views(), 2, two_replicas, detailed=True, **options)
    expected = counted(Views())
    check(scores, expected)
    check(scores.by_condition["weather"]["fog"], [expected[0], expected[2]])
    values = scores.to_dict()["by_condition"]["weather"]["rain"]
    assert values["boundary_iou"] == pytest.approx(Scores(NAMES, expected[1][0]).class_iou[:2].mean())
    assert values["boundary_class_iou"]["car"] is None


def test_files_and_the_table_have_what_was_measured_and_only_that(tmp_path):
    calibration = np.zeros((3, BINS), np.int64)
    calibration[:, 12] = 8, 4, 0.8125 * 8 * 2**24
    band = Scores(("a", "b"), np.array([[1, 1], [0, 0]]))
    scores = Scores(("a", "b"), np.array([[6, 2], [0, 0]]), boundary=band, calibration=calibration)
    assert scores.details == {"boundary_iou": 0.25, "expected_calibration_error": 0.3125}
    values = scores.to_dict()
    assert (values["boundary_iou"], values["expected_calibration_error"]) == (0.25, 0.3125)
    assert values["boundary_class_iou"] == {"a": 0.5, "b": 0.0}
    lines = [line.split() for line in scores.table().splitlines()]
    assert ["boundary", "IoU", "25.0"] in lines and ["ECE", "31.2"] in lines
    write_scores(scores, {}, str(tmp_path / "detailed"))
    rows = (tmp_path / "detailed/scores.csv").read_text().split()
    assert rows[0].endswith(",boundary_iou") and rows[1] == "a,0.750000,8,6,0.500000" and rows[-1].endswith(",0.250000")
    write_checkpoint_scores({"ckpt-1": scores}, str(tmp_path / "checkpoints.csv"))
    head, row = (tmp_path / "checkpoints.csv").read_text().split()
    assert head == "checkpoint,best,mean_iou,pixel_accuracy,boundary_iou,expected_calibration_error,a,b"
    assert row == "ckpt-1,best,0.375000,0.750000,0.250000,0.312500,0.750000,0.000000"
    plain = Scores(("a", "b"), scores.confusion)
    assert "boundary" not in plain.table() and "ECE" not in plain.table()
    write_scores(plain, {}, str(tmp_path / "plain"))
    assert (tmp_path / "plain/scores.csv").read_text().split()[1] == "a,0.750000,8,6"
