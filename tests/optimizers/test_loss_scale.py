"""Loss scaling: gradients come back unscaled, an overflow anywhere skips the update everywhere."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf.optimizers import loss_scale as loss_scale_lib
from fada_tf.optimizers.groups import ParameterGroup
from fada_tf.optimizers.loss_scale import LossScale
from fada_tf.optimizers.schedules import build_schedule
from fada_tf.optimizers.torch_optimizers import TorchSGD


def test_gradients_that_float16_lacks_are_kept():
    scale, x = LossScale(), tf.Variable(1.0)
    with tf.GradientTape(persistent=True) as tape:
        small = tf.cast(tf.cast(x, tf.float16), tf.float32) * 1e-8  # below float16's smallest number, 6e-8
    assert tape.gradient(small, x) == 0
    assert scale.gradient(tape, small, {"x": x})["x"].numpy() == pytest.approx(1e-8, rel=1e-3)


def sgd(variable: keras.Variable, name: str = "constant", **settings) -> TorchSGD:
    """Returns SGD over one variable, at a learning rate of 0.5, with a schedule of 4 iterations."""
    group = ParameterGroup("all", [variable])
    return TorchSGD([group], lambda rate: build_schedule(rate / 2, name, horizon=4, power=1.0), **settings)


def test_a_skipped_update_leaves_clipping_and_schedule_where_they_were():
    variable, scale = keras.Variable([3.0, 4.0]), LossScale()
    optimizer = sgd(variable, "linear", momentum=0.0, clip_norm=5.0)

    @tf.function
    def step(gradient):
        scale.update(optimizer.apply, [gradient])

    for gradient, rate, after in (
        ([np.inf, 1.0], 0.5, [3.0, 4.0]),
        ([30.0, 40.0], 0.375, [1.5, 2.0]),
        ([np.nan, 1.0], 0.375, [1.5, 2.0]),
        ([3.0, 0.0], 0.25, [0.375, 2.0]),
    ):
        step(tf.constant(gradient, tf.float32))
        assert optimizer.learning_rates() == {"all": rate}
        np.testing.assert_allclose(variable, after, rtol=1e-6)


@pytest.mark.parametrize("replicas", [1, 2])
def test_an_overflow_on_any_replica_skips_the_update_on_all(two_replicas, replicas, monkeypatch):
    monkeypatch.setattr(loss_scale_lib, "_GROWTH_INTERVAL", 2)
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        variable, scale = keras.Variable([3.0, 4.0]), LossScale()
        optimizer = sgd(variable, momentum=0.5)

    @tf.function
    def step(last):
        def in_replica():
            is_last = tf.distribute.get_replica_context().replica_id_in_sync_group == replicas - 1
            gradients = [tf.stack([1.0, tf.where(is_last, last, 1.0)]) / replicas]
            scale.update(optimizer.apply, gradients)

        strategy.run(in_replica)

    def state():
        counts = [scale.scale.numpy(), scale.updates.numpy(), optimizer.iterations.value.numpy()]
        return [*np.asarray(variable).tolist(), *counts]

    first = 2.0**15
    step(tf.constant(np.inf))
    assert state() == [3, 4, first / 2, 0, 0]
    step(tf.constant(1.0))
    assert state() == [2.5, 3.5, first / 2, 1, 1]
    step(tf.constant(np.nan))
    assert state() == [2.5, 3.5, first / 4, 0, 1]
    step(tf.constant(1.0))  # the velocity is that of the first update
    assert state() == [1.75, 2.75, first / 4, 1, 2]
    step(tf.constant(1.0))
    assert state()[2:] == [first / 2, 0, 3]
    for _ in range(20):
        step(tf.constant(np.inf))
    assert state()[2:] == [1, 0, 3]
