"""Depthwise convolutions against dense ones whose kernels are diagonal, and what they are folded with."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf import forms
from fada_tf.models.depthwise import DepthwiseConvolution, normalized_depthwise_convolution
from fada_tf.models.layers import Convolution, FrozenBatchNorm


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def layer_of(kernel, bias=None, **options) -> DepthwiseConvolution:
    initializers = {"kernel_initializer": "zeros", "bias_initializer": None if bias is None else "zeros"}
    layer = DepthwiseConvolution(kernel.shape[0], **initializers, **options)
    layer.build((None, None, None, kernel.shape[-1]))
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return layer


def padded(x, size: int, stride: int, dilation: int):
    """Pads by what the last output needs, the smaller half before."""

    def pads(length):
        total = max((-(-length // stride) - 1) * stride + (size - 1) * dilation + 1 - length, 0)
        return total // 2, total - total // 2

    return tf.pad(x, [(0, 0), pads(x.shape[1]), pads(x.shape[2]), (0, 0)])


def dense(x, kernel, stride: int, dilation: int):
    """Convolves, undilated, with zeros between the taps and between the channels."""
    size = kernel.shape[0]
    taps = [
        tf.pad(tf.linalg.diag(kernel[row, column])[0][None, None], [
            (row * dilation, (size - 1 - row) * dilation), (column * dilation, (size - 1 - column) * dilation),
            (0, 0), (0, 0),
        ])
        for row in range(size) for column in range(size)
    ]  # fmt: skip
    return tf.nn.conv2d(padded(x, size, stride, dilation), tf.add_n(taps), stride, "VALID")


def value_and_gradients(function, x, kernel, weights) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = function(x)
        loss = tf.reduce_sum(y * weights)
    return [y, *tape.gradient(loss, [x, kernel])]


@pytest.mark.parametrize("form", ["cpu", "plain"])
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(("size", "stride", "dilation"), [(3, 1, 1), (5, 2, 1), (3, 2, 1), (5, 1, 2), (3, 1, 4)])
@pytest.mark.parametrize(("height", "width"), [(8, 11), (3, 1)])
def test_values_and_gradients(height, width, size, stride, dilation, dynamic, form):
    x, kernel, bias = tf.constant(normal(2, height, width, 3)), normal(size, size, 1, 3, seed=1), normal(3, seed=2)
    layer, weights = layer_of(kernel, bias, stride=stride, dilation=dilation), normal(1, 1, 1, 3, seed=3)
    kernel = tf.constant(kernel)
    expected = value_and_gradients(lambda x: dense(x, kernel, stride, dilation) + bias, x, kernel, weights)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3] if dynamic else x.shape)], autograph=False)
    def found(x):
        with forms.chosen(form):
            return value_and_gradients(layer, x, layer.kernel.value, weights)

    assert layer.compute_output_shape((None, height, None, 3)) == (None, expected[0].shape[1], None, 3)
    for value, wanted in zip(found(x), expected, strict=True):
        assert value.shape == wanted.shape
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(("height", "width"), [(8, 11), (4, 4)])
def test_a_strided_convolution_may_be_padded_as_tensorflow_does(height, width):
    x, layer = normal(2, height, width, 3), Convolution(4, 3, strides=2, use_bias=False, symmetric=False)
    np.testing.assert_allclose(layer(x), tf.nn.conv2d(padded(x, 3, 2, 1), layer.kernel, 2, "VALID"), atol=1e-5)


@pytest.mark.parametrize("form", ["cpu", "plain"])
def test_frozen_batch_norm_is_folded_in_and_the_kernel_learns_as_if_it_were_not(form):
    """SGD on a folded kernel, whose gradient lacks the scale twice, is another algorithm, and diverges."""
    inputs, names = keras.Input((None, None, 3)), {"name": "conv", "norm_name": "bn"}
    options = {"batch_norm": "frozen", "epsilon": 1e-3, "dilation": 2, "rng": np.random.default_rng(0)}
    folded = keras.Model(inputs, normalized_depthwise_convolution(inputs, 3, **names, **options))
    kernel, norm = folded.get_layer("conv").kernel, folded.get_layer("bn")
    norm.set_weights([*(normal(3, seed=i) for i in range(3)), np.array([0, 0.5, 2])])
    plain, plain_norm = layer_of(np.asarray(kernel), dilation=2), FrozenBatchNorm(epsilon=1e-3)
    plain_norm.build((None, None, None, 3))
    plain_norm.set_weights(norm.get_weights())
    x, weights = tf.constant(normal(2, 7, 9, 3)), normal(1, 1, 1, 3, seed=3)
    with forms.chosen(form):
        found = value_and_gradients(folded, x, kernel.value, weights)
        expected = value_and_gradients(lambda x: plain_norm(plain(x)), x, plain.kernel.value, weights)
    assert norm.folded
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_kernel_gradients_of_low_precision_are_summed_in_float32(dtype):
    layer = layer_of(np.ones((3, 3, 1, 8), np.float32))

    @tf.function(autograph=False)
    def gradient(x):
        with forms.chosen("cpu"), tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(layer(x), tf.float32))
        return tape.gradient(loss, layer.kernel.value)

    assert float(gradient(tf.ones([1, 64, 128, 8], dtype))[1, 1, 0, 0]) == 64 * 128
