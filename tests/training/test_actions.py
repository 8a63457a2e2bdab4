"""What is warned about between the loops."""

import io
import json
import math
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fada_tf import registry
from fada_tf.config import Config, method_settings
from fada_tf.data.labels import LabelSpace
from fada_tf.methods.base import build_method
from fada_tf.methods.fada import DeadDiscriminator
from fada_tf.models.segmenter import build_segmenter
from fada_tf.runs.metrics import MetricsFile
from fada_tf.training.actions import LogEvaluation, LogTraining, WarnOfLosses, WritePictures


@pytest.fixture(params=[False])
def warn(request):
    watches_discriminator = request.param
    stream, step = io.StringIO(), tf.Variable(0, dtype=tf.int64)
    action = WarnOfLosses(step, [DeadDiscriminator()] if watches_discriminator else [], stream)

    def warn(**losses: float) -> str:
        stream.seek(0)
        stream.truncate()
        step.assign_add(10)
        action({f"loss/{name}": value for name, value in losses.items()} | {"speed/seconds_per_step": 99.0})
        return stream.getvalue()

    return warn


@pytest.mark.usefixtures("methods_of_the_tests")
def test_pictures_show_images_labels_predictions_and_what_the_method_makes(tmp_path, monkeypatch):
    space = LabelSpace("two", ("sky", "road"), ((0, 0, 255), (255, 0, 0)))
    image, label = np.full((1, 24, 32, 3), 200, np.uint8), np.zeros((1, 24, 32), np.uint8)
    batches = {"source": {"image": image, "label": label}, "target": {"image": image, "draw": np.array([3])}}
    config, step = Config(method=method_settings("masked_teacher")), tf.Variable(0, dtype=tf.int64)
    method = registry.load("fada_tf.methods", "masked_teacher").build(config, build_segmenter("tiny", 2))
    # As the passes see them, which may have other colours.
    monkeypatch.setattr(method, "adapted", lambda source, target: (source, target | {"image": target["image"] // 2}))
    segmenters = {"student": method.segmenter, "teacher": method.teacher}
    action = WritePictures(method, segmenters, step, 5, batches, space, str(tmp_path))
    for done in (4, 5):
        step.assign(done)
        action({})
        assert (tmp_path / "pictures").exists() == (done == 5)
    (path,) = (tmp_path / "events/pictures").iterdir()
    tags = {value.tag for event in tf.compat.v1.train.summary_iterator(str(path)) for value in event.summary.value}
    assert tags == {
        "source: image, label, student, teacher", "target: image, student, teacher", "masked: image, label, weight"
    }  # fmt: skip
    shown = np.asarray(Image.open(tmp_path / "pictures/masked.png"))
    masked, labels, weights = shown[:24, :32], shown[:24, 36:68], shown[:24, 72:]
    mask = method._mask({"image": image, "draw": batches["target"]["draw"]})[0].numpy()
    assert 0 < mask.mean() < 1
    np.testing.assert_array_equal(masked, np.broadcast_to(np.where(mask, 100, 127), masked.shape))
    assert set(map(tuple, labels.reshape(-1, 3))) <= set(space.colors) and (weights == 255).all()


@pytest.mark.usefixtures("methods_of_the_tests")
def test_pictures_of_a_method_show_adapted_source_images(tmp_path, monkeypatch):
    space = LabelSpace("two", ("sky", "road"), ((0, 0, 255), (255, 0, 0)))
    label = np.zeros((1, 24, 32), np.uint8)
    batches = {
        domain: {"image": np.full((1, 24, 32, 3), grey, np.uint8), "label": label}
        for domain, grey in (("source", 90), ("target", 200))
    }
    config, step = Config(method=method_settings("masked_teacher")), tf.Variable(0, dtype=tf.int64)
    config.data.fourier_beta = 0.01  # which swaps the means
    method = build_method(config, build_segmenter("tiny", 2))
    monkeypatch.setattr(
        method, "pictures", lambda source, target: {"learned": source | {"weight": tf.ones([1, 24, 32])}}
    )
    action = WritePictures(method, {"student": method.segmenter}, step, 5, batches, space, str(tmp_path))
    step.assign(5)
    action({})
    shown = np.asarray(Image.open(tmp_path / "pictures/learned.png"))
    np.testing.assert_array_equal(shown[:24, :32], 200)


@pytest.mark.parametrize("earlier", ["NaN", "null"])
def test_an_evaluation_without_labels_is_no_obstacle_to_a_better_one(tmp_path, earlier):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"kind": "evaluation", "step": 2, "mean_iou": {earlier}}}\n')
    step, metrics, saved = tf.Variable(4), MetricsFile(str(tmp_path), 10), []
    action = LogEvaluation(step, metrics, types.SimpleNamespace(save=saved.append), io.StringIO())
    for value in (0.1, math.nan):
        action({"mean_iou": value, "pixel_accuracy": value})
        step.assign_add(2)
    assert saved == [4]
    lines = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
    assert [line["mean_iou"] for line in lines] == [None, 0.1, None]


def test_a_loss_that_jumps_is_warned_about(warn):
    assert not any(warn(segmentation=1.0 + 0.1 * (i % 2)) for i in range(8))
    assert not warn(segmentation=2.5)
    assert warn(segmentation=3.5).startswith("warning: iteration 100: loss segmentation 3.5 is over 3 times its median")
    assert not warn(segmentation=1.0)


def test_what_is_watched_is_no_loss_and_reaches_the_watchers():
    lines, seen, step = io.StringIO(), [], tf.Variable(5, dtype=tf.int64)
    warn = WarnOfLosses(step, [lambda measured: seen.append(dict(measured))], lines)
    metrics = types.SimpleNamespace(write=lambda kind, step, values: None)
    log = LogTraining(step, 100, metrics, lines)
    for share in (*[0.1] * 8, 0.9):
        watched = {"watched/confident_share": share, "watched/entropy": share}
        output = {"loss/mix": 1.0, **watched, "speed/seconds_per_step": 1.0, "speed/images_per_second": 1.0}
        warn(output)
    assert not lines.getvalue()
    assert seen[-1] == {"mix": 1.0, "confident_share": 0.9, "entropy": 0.9}
    log(output)
    assert "5/100  mix 1.0000  confident_share 0.9000  1.00 steps/s" in lines.getvalue()


@pytest.mark.parametrize("warn", [True], indirect=True)
def test_a_discriminator_at_its_floor_is_warned_about_once(warn):
    def losses(above: float) -> dict[str, float]:
        return {
            "discriminator_source": 1.2 + above, "discriminator_target": 0.8 + above, "discriminator_floor": 1.0
        }  # fmt: skip

    assert not warn(**losses(math.log(2)))
    assert not warn(**losses(0.05))
    assert "warning: iteration 30: the discriminator's loss 1.001 is at its floor" in warn(**losses(0.001))
    assert not warn(**losses(0.001))
    assert not warn(**losses(0.5))
    assert warn(**losses(0.0))
