"""Batches in several parts: one graph however many they are, and the mean of what each part gives."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf import registry
from fada_tf.config import Config, method_settings
from fada_tf.methods.base import Batch, Method
from fada_tf.models.segmenter import build_segmenter

CLASSES, SIZE = 3, (24, 32)


def build(parts: int, name: str = "source_only", batch_norm: str = "frozen", rate: float = 1e-4) -> Method:
    config = Config()
    config.method, config.training.accumulation_steps = method_settings(name), parts
    config.optimizer.learning_rate = rate
    return registry.load("fada_tf.methods", name).build(config, build_segmenter("tiny", CLASSES, batch_norm))


def batch(count: int, seed: int = 0) -> Batch:
    """Returns images of different brightness, whose statistics tell which of them came together."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 64, (count, *SIZE, 3)) + np.linspace(0, 190, count).astype(int)[:, None, None, None]
    return {
        "image": tf.constant(images, tf.uint8),
        "label": tf.constant(rng.integers(0, CLASSES, (count, *SIZE)), tf.uint8),
    }


def batches(method: Method, count: int) -> list[Batch]:
    return [batch(count, seed) for seed, _ in enumerate(method.domains)]


@contextlib.contextmanager
def graphs_left_as_they_are():
    """Keeps TensorFlow from rewriting sums, which it does in another way for parts that are written out."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def written_out(method: Method, batches: list[Batch], parts: int):
    """Returns the means of the parts' losses and gradients, by their definition."""
    share, results = batches[0]["image"].shape[0] // parts, []
    for part in range(parts):
        with tf.control_dependencies(tf.nest.flatten(results)):
            portion = tf.nest.map_structure(lambda values, at=part * share: values[at : at + share], batches)
            results.append(method.losses_and_gradients(*portion))
    return tf.nest.map_structure(lambda *values: sum(values[1:], values[0]) / parts, *results)


@pytest.mark.parametrize(
    ("name", "batch_norm", "precision"),
    [
        ("source_only", "synchronized", "mixed_float16"),
        # Its losses in two parts are quickly shown with those of all methods.
        pytest.param("fada", "frozen", "float32", marks=pytest.mark.slow),
    ],
)
def test_accumulation_is_the_mean_of_its_parts_bit_for_bit(name, batch_norm, precision):
    keras.config.set_dtype_policy(precision)
    try:
        found, expected = (build(3, name, batch_norm) for _ in range(2))
    finally:
        keras.config.set_dtype_policy("float32")
    inputs = batches(found, 3)
    with graphs_left_as_they_are():
        values = tf.function(found._accumulate)(inputs)
        wanted = tf.function(written_out)(expected, inputs, 3)
    tf.nest.map_structure(np.testing.assert_array_equal, values, wanted)
    for one, other in zip(found.segmenter.variables, expected.segmenter.variables, strict=True):
        np.testing.assert_array_equal(one, other)  # the statistics of synchronized batch norm


def test_four_parts_make_the_graph_of_two():
    def operations(parts):
        method = build(parts)
        definition = tf.function(method.step).get_concrete_function(*batches(method, parts)).graph.as_graph_def()
        return len(definition.node) + sum(len(function.node_def) for function in definition.library.function)

    assert operations(4) == operations(2)


def test_one_part_is_not_split(monkeypatch):
    method, seen = build(1), []
    monkeypatch.setattr(method, "losses_and_gradients", lambda *batches: seen.append(batches))
    inputs = tuple(batches(method, 2))
    method._accumulate(inputs)
    assert all(one is other for one, other in zip(tf.nest.flatten(seen), tf.nest.flatten(inputs), strict=True))


@pytest.mark.slow  # test_conformance.py shows XLA and both precisions
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_xla_compiles_the_parts(precision):
    keras.config.set_dtype_policy(precision)
    try:
        plain, compiled = build(2), build(2)
    finally:
        keras.config.set_dtype_policy("float32")
    compiled.use_xla()
    inputs = batches(plain, 2)
    losses, gradients = tf.function(plain._accumulate)(inputs)
    compiled_losses, compiled_gradients = tf.function(compiled._accumulate)(inputs)
    tolerance = 1e-4 if precision == "float32" else 2e-2
    np.testing.assert_allclose(compiled_losses["segmentation"], losses["segmentation"], rtol=tolerance)
    for one, other in zip(tf.nest.flatten(compiled_gradients), tf.nest.flatten(gradients), strict=True):
        assert np.linalg.norm(one - other) <= 10 * tolerance * np.linalg.norm(other)


def step_of(method: Method, strategy: tf.distribute.Strategy, order: list[int]) -> list[np.ndarray]:
    """Returns how far a step on the images in this order, an equal share a replica, moves each weight."""
    images = {key: tf.gather(values, order) for key, values in batch(4).items()}
    share = 4 // strategy.num_replicas_in_sync

    def of_replica(context):
        first = context.replica_id_in_sync_group * share
        return {key: values[first : first + share] for key, values in images.items()}

    values = strategy.experimental_distribute_values_from_function(of_replica)
    before = [np.asarray(variable) for variable in method.segmenter.variables]
    tf.function(lambda values: strategy.run(method.step, args=(values,)))(values)
    return [np.asarray(after) - old for after, old in zip(method.segmenter.variables, before, strict=True)]


@pytest.mark.slow  # test_conformance.py quickly shows replicas and parts, one by one
@pytest.mark.parametrize("batch_norm", ["frozen", "synchronized"])
def test_two_replicas_in_two_parts_do_what_one_does_with_the_parts_of_both(two_replicas, batch_norm):
    with two_replicas.scope():
        on_two = build(2, batch_norm=batch_norm)
    # The first part of two replicas that have two images each is the first image of either.
    found = step_of(on_two, two_replicas, [0, 1, 2, 3])
    expected = step_of(build(2, batch_norm=batch_norm), tf.distribute.get_strategy(), [0, 2, 1, 3])
    moved = 0
    for one, other in zip(found, expected, strict=True):
        assert np.linalg.norm(one - other) <= 1e-2 * np.linalg.norm(other)
        moved += np.linalg.norm(other) > 0
    assert moved >= len(on_two.segmenter.trainable_variables)
