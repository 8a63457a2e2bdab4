"""Checkpoints of runs that had an optimizer for each of the segmenter's groups go on with one."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import registry
from fada_tf.config import Config, method_settings
from fada_tf.methods.base import Method
from fada_tf.models.segmenter import build_segmenter
from fada_tf.training.checkpoints import make_checkpoint, restore_newest


def build(name: str) -> Method:
    config = Config(method=method_settings(name))
    return registry.load("fada_tf.methods", name).build(config, build_segmenter("tiny", 3))


def old_optimizer(variables: list, slots: int, iterations: int, rng: np.random.Generator) -> tf.Module:
    """Returns what a group's optimizer was saved as: a count, then the slots of one weight after those of the other."""
    old = tf.Module()
    old._iterations = tf.Variable(iterations, dtype=tf.int64)
    of_weights = [
        tf.Variable(rng.standard_normal(variable.shape).astype("f")) for variable in variables for _ in range(slots)
    ]
    old._variables = [old._iterations, *of_weights]
    old._trainable_variables = list(variables)
    return old


@pytest.mark.parametrize("name", ["source_only", "fada"])
def test_slots_of_two_optimizers_come_into_one(name, tmp_path):
    rng = np.random.default_rng(0)
    saved, restored = build(name), build(name)
    for network in saved.networks.values():
        for variable in network.variables:
            variable.assign(rng.standard_normal(variable.shape))
    slots = {"feature_extractor": 1, "classifier": 1, "discriminator": 2}
    old = {
        f"{group}_optimizer": old_optimizer(saved.groups[group].variables, slots[group], 7, rng)
        for group in saved.groups
    }
    step, progress = tf.Variable(7, dtype=tf.int64), tf.Variable(rng.standard_normal(3).astype("f"))
    layout = tf.train.Checkpoint(step=step, progress=progress, **saved.networks, **old)
    tf.train.CheckpointManager(layout, str(tmp_path), 1).save(checkpoint_number=7)

    found = tf.Variable(0, dtype=tf.int64), tf.Variable(tf.zeros(3))
    checkpoint = make_checkpoint(restored, *found)
    assert restore_newest(checkpoint, str(tmp_path)) == str(tmp_path / "ckpt-7")
    assert int(found[0]) == 7
    np.testing.assert_array_equal(found[1], progress)
    for network, model in saved.networks.items():
        for variable, other in zip(model.variables, restored.networks[network].variables, strict=True):
            np.testing.assert_array_equal(variable, other, err_msg=variable.path)
    parts = {"segmenter": ("feature_extractor", "classifier"), "discriminator": ("discriminator",)}
    for network, optimizer in restored.optimizers.items():
        iterations, *ours = optimizer.variables
        assert int(iterations) == 7
        expected = [variable for group in parts[network] for variable in old[f"{group}_optimizer"]._variables[1:]]
        for own, value in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(own, value, err_msg=own.path)

    again = checkpoint.save(str(tmp_path / "again"))
    assert "segmenter_optimizer" in tf.train.CheckpointView(again).children(0)
    assert "feature_extractor_optimizer" not in tf.train.CheckpointView(again).children(0)
    checkpoint.restore(again).assert_consumed()
