"""The loop: resume is exact, two replicas are one, accumulation is the mean of its parts, what is saved is loaded."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import registry
from fada_tf.config import Config
from fada_tf.data.labels import label_space
from fada_tf.errors import InputError
from fada_tf.methods.base import Method
from fada_tf.models.checkpoint import load_segmenter
from fada_tf.models.segmenter import build_segmenter
from fada_tf.training import run as run_lib
from fada_tf.training.run_directory import make_checkpoint
from tests import scenes
from tests.runs import assert_same, small_config

METHODS = registry.names("fada_tf.methods")
# FADA has all the parts; tracing the others takes as long again.
FADA_AND_SLOW_OTHERS = [pytest.param(name, marks=[] if name == "fada" else pytest.mark.slow) for name in METHODS]


def build(config: Config) -> Method:
    space = label_space(config.data.label_space)
    segmenter = build_segmenter(config.model.backbone, space.num_classes, config.model.batch_norm, config.seed)
    return registry.load("fada_tf.methods", config.method.name).build(config, segmenter)


@pytest.mark.parametrize("method", FADA_AND_SLOW_OTHERS)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(records, tmp_path, monkeypatch, method):
    config, traces, make = small_config(records, method), [], Method._accumulate
    monkeypatch.setattr(Method, "_accumulate", lambda self, batches: traces.append(self) or make(self, batches))
    run_lib.train(config, str(tmp_path / "whole"))
    assert len(traces) == 1  # though the domains differ in size
    config.training.iterations = 2
    run_lib.train(config, str(tmp_path / "parts"))
    config.training.iterations = 4
    run_lib.train(config, str(tmp_path / "parts"))
    assert_same(tmp_path / "whole", tmp_path / "parts", 4)


def test_what_is_saved_is_loaded(records, tmp_path):
    config = small_config(records, "source_only")
    run_lib.train(config, str(tmp_path))
    loaded = load_segmenter(str(tmp_path))
    method = build(config)
    progress = tf.Variable(tf.zeros([len(method.measure_names) + 1]))
    checkpoint = make_checkpoint(method, tf.Variable(0, dtype=tf.int64), progress)
    checkpoint.restore(str(tmp_path / "checkpoints" / "ckpt-4")).assert_consumed()
    image = scenes.scene(3, dusk=True)[0][None]
    np.testing.assert_array_equal(loaded(image), method.segmenter(image))
    assert np.abs(loaded(image) - build(config).segmenter(image)).max() > 1e-2


def one_step(config: Config, strategy: tf.distribute.Strategy) -> tuple[dict[str, float], list[np.ndarray]]:
    """Returns the losses and the weights after one iteration on the given replicas."""
    with strategy.scope():
        method = build(config)
    if config.training.xla:
        method.use_xla()
    space = label_space(config.data.label_space)
    dataset = strategy.experimental_distribute_dataset(run_lib.train_dataset(config, method, space, 0))

    @tf.function
    def step(batches):
        losses = strategy.run(method.step, args=batches)
        return {name: strategy.reduce("MEAN", value, axis=None) for name, value in losses.items()}

    losses = step(next(iter(dataset)))
    variables = [variable for group in method.groups.values() for variable in group.variables]
    return {name: float(value) for name, value in losses.items()}, [np.asarray(variable) for variable in variables]


def losses_of(measures: dict[str, float]) -> dict[str, float]:
    """Returns the losses alone: norms of a replica's gradients are of that replica."""
    return {name: value for name, value in measures.items() if not name.startswith("gradient_norm/")}


@pytest.mark.parametrize("method", METHODS)
def test_a_step_has_the_named_losses_and_moves_every_weight(records, method):
    config = small_config(records, method)
    losses, moved = one_step(config, tf.distribute.get_strategy())
    module = registry.load("fada_tf.methods", method)
    assert callable(module.build)
    built = build(config)
    assert set(losses) == set(built.measure_names)
    assert set(built.labelled_domains) <= set(built.domains) <= {"source", "target"}
    assert all(np.isfinite(value) for value in losses.values())
    initial = [variable for group in built.groups.values() for variable in group.variables]
    for variable, after in zip(initial, moved, strict=True):
        assert not np.array_equal(variable, after), variable.path


@pytest.mark.parametrize("method", FADA_AND_SLOW_OTHERS)
def test_two_replicas_do_what_one_does_in_two_parts(records, two_replicas, method):
    config = small_config(records, method)
    config.model.batch_norm = "frozen"  # whose statistics do not depend on the batch
    config.optimizer.learning_rate = 1e-4
    on_two = one_step(config, two_replicas)
    config.training.accumulation_steps = 2
    on_one = one_step(config, tf.distribute.get_strategy())
    assert losses_of(on_two[0]) == pytest.approx(losses_of(on_one[0]), rel=1e-5)
    for one, two in zip(on_one[1], on_two[1], strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_xla_changes_nothing_but_rounding(records, method):
    config = small_config(records, method)
    config.optimizer.learning_rate = 1e-4
    plain = one_step(config, tf.distribute.get_strategy())
    config.training.xla = True
    compiled = one_step(config, tf.distribute.get_strategy())
    assert compiled[0] == pytest.approx(plain[0], rel=1e-3)
    for one, other in zip(plain[1], compiled[1], strict=True):
        assert np.linalg.norm(one - other) <= 1e-4 * np.linalg.norm(one)


def test_xla_refuses_batch_norm_over_replicas(records, two_replicas, tmp_path, monkeypatch):
    config = small_config(records, "source_only")
    config.training.xla = True
    monkeypatch.setattr(run_lib, "make_strategy", lambda: two_replicas)
    with pytest.raises(InputError, match=r"config\.training\.xla is True.*set it to False"):
        run_lib.train(config, str(tmp_path / "run"))


def test_synchronized_batch_norm_makes_two_replicas_one(records, two_replicas):
    config = small_config(records, "source_only")
    # Every pixel labelled alike on both replicas, so that the mean of means is the mean.
    on_two = one_step(config, two_replicas)
    on_one = one_step(config, tf.distribute.get_strategy())
    assert losses_of(on_two[0]) == pytest.approx(losses_of(on_one[0]), rel=1e-4)
    for one, two in zip(on_one[1], on_two[1], strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-2, atol=1e-4)


def test_training_learns(records, tmp_path):
    config = small_config(records, "source_only")
    config.training.iterations, config.training.steps_per_loop = 40, 10
    config.optimizer.horizon = 60
    run_lib.train(config, str(tmp_path))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    losses = [float(line.split('"loss/segmentation": ')[1].split(",")[0]) for line in lines]
    assert losses[-1] < 0.5 * losses[0]
