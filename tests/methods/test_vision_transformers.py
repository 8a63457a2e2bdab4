"""FADA and self-training of a vision transformer, held to what every method must do (test_conformance.py)."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import devices, registry
from fada_tf.config import Config, method_settings
from fada_tf.methods.base import Method
from fada_tf.models.segmenter import build_segmenter
from fada_tf.training.checkpoints import make_checkpoint
from tests import scenes
from tests.methods import test_conformance as conformance
from tests.small_runs import SETTINGS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("networks_of_the_tests", "larger_images")]
METHODS = ("fada", "dacs", "mic")


@pytest.fixture
def larger_images(monkeypatch):
    """Has the images be of whole patches."""

    def batch(dusk: bool, first_draw: int) -> dict[str, np.ndarray]:
        draws = range(first_draw, first_draw + conformance.IMAGES)
        images, labels = zip(*(scenes.scene(draw, dusk) for draw in draws), strict=True)
        cut = (np.stack(values)[:, :42, :56] for values in (images, labels))
        return dict(zip(("image", "label"), cut, strict=True)) | {"draw": np.array(draws)}

    monkeypatch.setattr(conformance, "batch", batch)


def build(name: str, trained_part: str = "all", **fields) -> Method:
    config = Config()
    config.method = method_settings(name, **SETTINGS.get(name, {}))
    config.optimizer.learning_rate = 1e-3
    for field, value in fields.items():
        setattr(config.training, field, value)
    segmenter = build_segmenter(
        "vit_tiny", conformance.CLASSES, head="vfm_uda", seed=1, trained_part=trained_part, lora_rank=4
    )
    method = registry.load("fada_tf.methods", name).build(config, segmenter)
    if config.training.xla:
        method.use_xla()
    return method


def stepped(method: Method) -> tuple[dict, dict, dict]:
    """Returns the weights before and after two steps, and what the last one measures."""
    start = conformance.weights(method)
    measures = conformance.steps_of(method, tf.distribute.get_strategy())
    return start, conformance.weights(method), measures


@pytest.mark.parametrize("name", METHODS)
def test_every_trained_weight_moves_and_two_parts_are_one(name):
    start, after, measures = stepped(build(name))
    assert all(np.isfinite(value) for value in measures.values())
    assert all((after[path] != start[path]).any() for path in start if path.startswith("segmenter "))
    _, other, others = stepped(build(name, accumulation_steps=2))
    assert conformance.losses(others) == pytest.approx(conformance.losses(measures), rel=1e-3)
    conformance.assert_same_steps(start, after, other, 2e-2)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", METHODS)
def test_other_precisions_make_the_same_steps(name, precision):
    start, after, measures = stepped(build(name))
    devices.set_precision(precision)
    try:
        _, other, others = stepped(build(name))
    finally:
        devices.set_precision("float32")
    for key in ("segmentation", *(("adversarial",) if name == "fada" else ("mix",))):
        assert others[key] == pytest.approx(measures[key], rel=0.1), key
    conformance.assert_same_steps(start, after, other, 0.4)


@pytest.mark.parametrize("name", METHODS)
def test_xla_changes_nothing_but_rounding(name):
    start, after, measures = stepped(build(name))
    _, other, others = stepped(build(name, xla=True))
    assert conformance.losses(others) == pytest.approx(conformance.losses(measures), rel=1e-3)
    conformance.assert_same_steps(start, after, other, 2e-2)


@pytest.mark.parametrize("name", METHODS)
def test_a_run_with_adapters_goes_on_as_if_it_had_never_stopped(name, tmp_path):
    def checkpoint(method):
        return make_checkpoint(method, tf.Variable(0, dtype=tf.int64), tf.Variable(0.0))

    whole, stopped, resumed = (build(name, "lora") for _ in range(3))
    strategy = tf.distribute.get_strategy()
    conformance.steps_of(whole, strategy)
    conformance.steps_of(stopped, strategy, count=1)
    path = checkpoint(stopped).write(str(tmp_path / "saved"))
    for network in resumed.networks.values():
        for variable in network.variables:
            variable.assign(tf.zeros_like(variable))
    checkpoint(resumed).read(path).assert_consumed()
    conformance.steps_of(resumed, strategy, first=1, count=1)
    expected = conformance.weights(whole)
    for key, value in conformance.weights(resumed).items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)
