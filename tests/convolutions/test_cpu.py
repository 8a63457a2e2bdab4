"""Values and gradients on CPUs against convolutions without dilation, whose gradients TensorFlow has."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.convolutions import cpu


def normal(*shape, seed):
    return tf.constant(np.random.default_rng(seed).standard_normal(shape), tf.float32)


def widened(kernel, dilation: int) -> tf.Tensor:
    """Puts dilation - 1 zeros between the taps."""
    for _ in range(2):
        size, *rest = kernel.shape
        spread = tf.reshape(tf.pad(kernel[:, None], [[0, 0], [0, dilation - 1]] + [[0, 0]] * 3), [-1, *rest])
        kernel = tf.transpose(spread[: dilation * (size - 1) + 1], [1, 0, 2, 3])
    return kernel


def values_and_gradients(function, x, kernels, weights, dynamic: bool):
    shape = [None, None, None, x.shape[-1]] if dynamic else x.shape

    @tf.function(input_signature=[tf.TensorSpec(shape)], autograph=False)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch([x, *kernels])
            y = function(x, kernels)
            loss = tf.reduce_sum(y * weights)
        return y, *tape.gradient(loss, [x, *kernels])

    return run(x)


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(("height", "width"), [(9, 14), (2, 30), (1, 1)])
def test_a_sum_of_convolutions(height, width, dynamic):
    dilations = (1, 6, 24)
    x, weights = normal(2, height, width, 5, seed=0), normal(2, height, width, 3, seed=1)
    kernels = [normal(3, 3, 5, 3, seed=2 + d) for d in dilations]

    def plain(x, kernels):
        pairs = zip(kernels, dilations, strict=True)
        return tf.add_n([tf.nn.conv2d(x, widened(kernel, dilation), 1, "SAME") for kernel, dilation in pairs])

    found = values_and_gradients(
        lambda x, kernels: cpu.sum_of_convolutions(x, kernels, dilations), x, kernels, weights, dynamic
    )
    assert_equal(found, values_and_gradients(plain, x, kernels, weights, dynamic))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("size", "dilation", "channels", "filters"), [(1, 1, 7, 2), (1, 1, 2, 7), (3, 1, 2, 3), (3, 4, 40, 2)]
)
def test_a_convolution(size, dilation, channels, filters, first, scaled, dynamic):
    x, weights = normal(2, 6, 9, channels, seed=0), normal(2, 6, 9, filters, seed=1)
    kernels, scale = [normal(size, size, channels, filters, seed=2)], normal(filters, seed=3) if scaled else None

    def convolve(x, kernels):
        return cpu.convolve(x, kernels[0], dilation, scale, kernel_gradient_first=first)

    def plain(x, kernels):
        return tf.nn.conv2d(x, widened(kernels[0], dilation), 1, "SAME") * (scale if scaled else 1.0)

    found = values_and_gradients(convolve, x, kernels, weights, dynamic)
    assert_equal(found, values_and_gradients(plain, x, kernels, weights, dynamic))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize(("size", "dilation"), [(3, 1), (5, 1), (3, 2)])
@pytest.mark.parametrize(("height", "width"), [(17, 65), (18, 5), (3, 4)])
@pytest.mark.parametrize("channels", [2, 260])
def test_every_form_of_a_convolution(channels, height, width, size, dilation, batch, large, monkeypatch):
    if large:  # in halves, and tap by tap
        monkeypatch.setattr(cpu, "_HALVE_FROM", 1)
        monkeypatch.setattr(cpu, "_GATHER_AT_MOST", 1)
    x, weights = normal(batch, height, width, channels, seed=0), normal(batch, height, width, 3, seed=1)
    kernels, scale, offset = [normal(size, size, channels, 3, seed=2)], normal(3, seed=3), normal(3, seed=4)

    def convolve(x, kernels):
        return cpu.convolve(x, kernels[0], dilation, scale, offset)

    def plain(x, kernels):
        return tf.nn.conv2d(x, widened(kernels[0], dilation), 1, "SAME") * scale + offset

    found = values_and_gradients(convolve, x, kernels, weights, dynamic=False)
    assert_equal(found, values_and_gradients(plain, x, kernels, weights, dynamic=False))


@pytest.mark.parametrize(("size", "channels"), [(1, 4), (3, 4), (3, 300)])
def test_a_loss_may_hide_the_shape_of_its_gradient(size, channels):
    x, kernel = normal(2, 6, 7, channels, seed=0), normal(size, size, channels, 3, seed=1)

    @tf.custom_gradient
    def hide(y):
        return y, lambda upstream: tf.numpy_function(lambda value: value, [upstream], upstream.dtype)

    def gradients(hide, function):
        def hidden(x, kernels):
            return hide(function(x, kernels))

        return values_and_gradients(hidden, x, [kernel], normal(2, 6, 7, 3, seed=2), dynamic=False)

    for function in (
        lambda x, kernels: cpu.convolve(x, kernels[0], 1),
        lambda x, kernels: cpu.sum_of_convolutions(x, kernels, [2]),
    ):
        assert_equal(gradients(hide, function), gradients(tf.identity, function))
