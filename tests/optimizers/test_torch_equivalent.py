"""SGD and Adam against torch's formulas, written out in NumPy."""

import keras
import numpy as np
import pytest

from fada_tf.optimizers.parameter_groups import poly_schedule
from fada_tf.optimizers.torch_equivalent import TorchAdam, TorchSGD

STEPS = 5


def run(optimizer: keras.optimizers.Optimizer, start: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Returns the weights after one step a gradient."""
    weights = keras.Variable(start)
    optimizer.build([weights])
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weights])
    return np.asarray(weights)


@pytest.fixture
def numbers() -> tuple[np.ndarray, np.ndarray]:
    """Start weights and a gradient a step."""
    rng = np.random.default_rng(0)
    return rng.standard_normal(6).astype("f"), rng.standard_normal((STEPS, 6)).astype("f")


def rates() -> np.ndarray:
    """A learning rate that changes much from step to step."""
    return 0.5 * (1 - np.arange(STEPS) / 8) ** 0.9


def test_sgd_under_a_changing_learning_rate(numbers):
    start, gradients = numbers
    weights, velocity = start.astype(np.float64), 0.0
    for gradient, rate in zip(gradients, rates(), strict=True):
        velocity = 0.9 * velocity + gradient + 0.1 * weights
        weights = weights - rate * velocity
    ours = run(TorchSGD(poly_schedule(0.5, 8, 0.9), momentum=0.9, weight_decay=0.1), start, gradients)
    np.testing.assert_allclose(ours, weights, rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e-8], ids=["ordinary", "gradients as small as epsilon"])
def test_adam_adds_epsilon_after_the_bias_correction(numbers, scale):
    start, gradients = numbers[0], numbers[1] * np.float32(scale)
    weights, mean, square = start.astype(np.float64), 0.0, 0.0
    for count, (gradient, rate) in enumerate(zip(gradients, rates(), strict=True), start=1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * np.square(gradient, dtype=np.float64)
        weights = weights - rate * (mean / (1 - 0.9**count)) / (np.sqrt(square / (1 - 0.99**count)) + 1e-8)
    ours = run(TorchAdam(poly_schedule(0.5, 8, 0.9), 0.9, 0.99, 1e-8), start, gradients)
    np.testing.assert_allclose(ours, weights, rtol=2e-5)


@pytest.mark.parametrize("optimizer", [TorchSGD(0.1, 0.8, 0.2), TorchAdam(0.1, 0.8, 0.95, 1e-6)])
def test_serialisation_keeps_every_setting(optimizer):
    copy = type(optimizer).from_config(optimizer.get_config())
    assert copy.get_config() == optimizer.get_config()


def test_poly_schedule_ends_at_0_399_of_the_base_in_the_paper():
    schedule = poly_schedule(2.5e-4, 62_500, 0.9)
    np.testing.assert_allclose(float(schedule(0)), 2.5e-4, rtol=1e-6)
    np.testing.assert_allclose(float(schedule(40_000)) / 2.5e-4, (1 - 40 / 62.5) ** 0.9, rtol=1e-5)
