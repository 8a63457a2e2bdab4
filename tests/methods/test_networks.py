"""Methods on networks that FADA's authors did not have: several maps, layer norms, and random numbers by draws."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import devices, registry
from fada_tf.config import Config, method_settings
from fada_tf.methods.base import Method
from fada_tf.models.segmenter import build_segmenter
from tests.methods import test_conformance as conformance
from tests.small_runs import SETTINGS

pytestmark = pytest.mark.usefixtures("networks_of_the_tests")
NETWORKS = [("mit_b0", "segformer"), ("mit_b0", "daformer"), ("mix_tiny", "segformer")]
METHODS = ("fada", "dacs", "mic")
CASES = [(method, *network) for method in METHODS for network in NETWORKS]


def build(method: str, backbone: str, head: str, *, xla: bool = False, **options) -> Method:
    config = Config()
    config.method = method_settings(method, **SETTINGS.get(method, {}))
    config.optimizer.name, config.optimizer.learning_rate = "adamw", 1e-4
    config.optimizer.layer_decay = 0.9
    segmenter = build_segmenter(backbone, conformance.CLASSES, "synchronized", head=head, **options)
    built = registry.load("fada_tf.methods", method).build(config, segmenter)
    if xla:
        built.use_xla()
    return built


def steps_of(method: Method):
    """Makes a step; returns its losses, and the weights before and after."""
    start = conformance.weights(method)
    losses = conformance.steps_of(method, tf.distribute.get_strategy(), count=1)
    return losses, start, conformance.weights(method)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "backbone", "head"), CASES)
def test_every_weight_learns(method, backbone, head, monkeypatch):
    # Of smaller images, attention has one key, and the queries do not matter.
    monkeypatch.setattr(conformance, "batch", functools.partial(conformance.batch, step=1))
    built = build(method, backbone, head)
    losses, start, after = steps_of(built)
    assert all(np.isfinite(value) for value in losses.values())
    for network, optimizer in built.optimizers.items():
        for group in optimizer.groups:
            for variable in group.variables:
                name = f"{network} {variable.path}"
                assert not np.array_equal(start[name], after[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"recompute": True}, {"xla": True}])
def test_recomputation_and_xla_make_the_same_step(options):
    losses, start, after = steps_of(build("mic", "mix_tiny", "daformer"))
    others, _, other = steps_of(build("mic", "mix_tiny", "daformer", **options))
    assert conformance.losses(others) == pytest.approx(conformance.losses(losses), rel=1e-3, abs=1e-4)
    student = [name for name in start if name.startswith("segmenter ")]
    # AdamW's first step is the sign of the gradient: where that is rounding alone, it may turn.
    moves = [np.concatenate([(end[name] - start[name]).ravel() for name in student]) for end in (after, other)]
    assert np.linalg.norm(moves[0] - moves[1]) < 0.3 * np.linalg.norm(moves[0])


@pytest.mark.slow
@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("head", ["segformer", "daformer"])
def test_other_precisions_have_the_same_losses(head, precision):
    losses, _, _ = steps_of(build("fada", "mix_tiny", head))
    devices.set_precision(precision)
    try:
        others, _, after = steps_of(build("fada", "mix_tiny", head))
    finally:
        devices.set_precision("float32")
    for name, value in conformance.losses(losses).items():
        assert others[name] == pytest.approx(value, rel=0.05), name
    assert all(np.isfinite(value).all() for value in after.values())
