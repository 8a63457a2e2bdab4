import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf import forms
from fada_tf.errors import InputError
from fada_tf.models.discriminator import LeakyReLU
from fada_tf.models.interpolation import Interpolation
from fada_tf.models.layers import (
    BatchNorm,
    Convolution,
    FrozenBatchNorm,
    normalized_convolution,
    resize,
    resize_align_corners,
)
from tests import tf32


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def direct_convolution(x, kernel, stride, dilation):
    """Convolves by the definition, with dilation * (size - 1) / 2 zeros on every side."""
    size = kernel.shape[0]
    pad = dilation * (size - 1) // 2
    padded = np.pad(x.astype(np.float64), [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    height = (x.shape[1] - 1) // stride + 1
    width = (x.shape[2] - 1) // stride + 1
    out = np.zeros((x.shape[0], height, width, kernel.shape[-1]))
    for row in range(height):
        for column in range(width):
            y, x0 = row * stride, column * stride
            window = padded[:, y : y + dilation * size : dilation, x0 : x0 + dilation * size : dilation]
            out[:, row, column] = np.einsum("byxc,yxco->bo", window, kernel)
    return out


@pytest.mark.parametrize(
    ("size", "stride", "dilation"), [(7, 2, 1), (3, 2, 1), (3, 1, 1), (3, 1, 2), (3, 1, 12), (1, 2, 1)]
)
@pytest.mark.parametrize(("height", "width"), [(8, 11), (1, 1)])
def test_convolution_is_padded_symmetrically(size, stride, dilation, height, width):
    x = normal(2, height, width, 3)
    layer = Convolution(4, size, strides=stride, dilation_rate=dilation)
    y = layer(x)
    assert layer.compute_output_shape(x.shape) == y.shape
    np.testing.assert_allclose(y, direct_convolution(x, np.asarray(layer.kernel), stride, dilation), atol=1e-5)


def test_convolution_activates():
    x = normal(2, 7, 9, 3)
    plain, activated = Convolution(4, 3), Convolution(4, 3, activation="relu")
    value = plain(x)
    activated.build(x.shape)
    activated.set_weights(plain.get_weights())
    assert np.min(value) < 0
    np.testing.assert_array_equal(activated(x), np.maximum(value, 0))


@pytest.mark.parametrize("dilation", [1, 2, 6])
def test_gradient_of_convolution(dilation):
    x, weight = tf.constant(normal(2, 7, 9, 3)), normal(2, 7, 9, 4, seed=1)
    layer = Convolution(4, 3, dilation_rate=dilation, use_bias=False)
    layer.build(x.shape)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) * weight)
        return tape.gradient(loss, [x, layer.kernel])

    # The convolution is linear in either argument: its gradient there is its value on the unit tensors.
    by_input, by_kernel = gradients()
    kernel, step = np.asarray(layer.kernel), normal(*x.shape, seed=2)
    expected = np.sum(direct_convolution(step, kernel, 1, dilation) * weight)
    np.testing.assert_allclose(np.sum(by_input * step), expected, rtol=1e-4)
    for index in [(0, 0, 0, 0), (1, 2, 1, 3), (2, 1, 2, 2)]:
        unit = np.zeros_like(kernel)
        unit[index] = 1
        expected = np.sum(direct_convolution(x.numpy(), unit, 1, dilation) * weight)
        np.testing.assert_allclose(by_kernel[index], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "dilation", "message"),
    [(2, 1, "kernel_size is 2"), ((3, 1), 1, r"kernel_size is \(3, 1\)"), (3, (1, 3), "dilation_rate is")],
)
def test_convolutions_that_are_not_computed_are_refused(size, dilation, message):
    with pytest.raises(ValueError, match=message):
        Convolution(4, size, dilation_rate=dilation)


def test_dilated_convolution_equals_convolution_with_a_widened_kernel():
    x = normal(1, 13, 10, 2)
    dilated, plain = Convolution(3, 3, dilation_rate=4), Convolution(3, 9)
    dilated.build(x.shape)
    plain.build(x.shape)
    widened = np.zeros((9, 9, 2, 3), np.float32)
    widened[::4, ::4] = dilated.kernel
    plain.kernel.assign(widened)
    np.testing.assert_allclose(dilated(x), plain(x), atol=1e-5)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("form", ["cpu", "plain"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_resize_equals_tensorflow_1(dynamic, form, align_corners):
    def value_and_gradient(resize, x, size, weight):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = resize(x, size)
            loss = tf.reduce_sum(y * weight)
        return y, tape.gradient(loss, x)

    def expected(x, size):
        return tf.compat.v1.image.resize_bilinear(
            x, size, align_corners=align_corners, half_pixel_centers=not align_corners
        )

    ours = functools.partial(value_and_gradient, functools.partial(resize, align_corners=align_corners))
    if dynamic:
        images = tf.TensorSpec([None, None, None, 3])
        ours = tf.function(ours, input_signature=[images, tf.TensorSpec([2], tf.int32), images])
    sizes = [(1, 1), (17, 23), (65, 97), (5, 1), (9, 13), (4, 5)]
    for old_size, size in itertools.product([(9, 13), (1, 1), (1, 6)], sizes):
        x, weight = tf.constant(normal(2, *old_size, 3)), tf.constant(normal(2, *size, 3, seed=1))
        with forms.chosen(form):
            value, gradient = ours(x, size, weight)
        expected_value, expected_gradient = value_and_gradient(expected, x, size, weight)
        case = f"{old_size} to {size}"
        np.testing.assert_allclose(value, expected_value, atol=1e-5, err_msg=case)
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-4, rtol=1e-5, err_msg=case)


@pytest.mark.parametrize("form", ["cpu", "plain"])
def test_products_of_ten_bits_do_not_move_what_gpus_resize(form, monkeypatch):
    x = tf.constant(normal(2, 9, 13, 3))
    with forms.chosen(form):
        exact = resize_align_corners(x, (65, 97))
        tf32.round_products(monkeypatch)
        assert np.array_equal(resize_align_corners(x, (65, 97)), exact) == (form == "plain")


@pytest.mark.parametrize(("size", "new_size"), [(9, 65), (4, 5), (1, 6), (6, 1), (65, 9), (5, 24)])
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("align_corners", [True, False])
def test_what_goes_down_is_the_adjoint_of_what_goes_up(size, new_size, axis, align_corners):
    def part(first, last, count):
        return tf.range(first * count // 8, last * count // 8 + 1) if count > 1 else tf.range(count)

    interpolation = Interpolation(size, new_size, align_corners=align_corners)
    shapes = {count: [3 if side != axis else count for side in range(4)] for count in (size, new_size)}
    values, upstream = normal(*shapes[size]), normal(*shapes[new_size], seed=1)
    whole, new = tf.range(size), part(2, 5, new_size)
    upstream = np.take(upstream, new, axis)
    for form in ("cpu", "plain"):
        with forms.chosen(form):
            up = interpolation.up(values, axis, new, whole)
            down = interpolation.down(upstream, axis, new, whole)
        matrix = interpolation.weights(new[:, None], whole)
        np.testing.assert_allclose(up, np.moveaxis(np.tensordot(matrix, values, [1, axis]), 0, axis), atol=1e-5)
        np.testing.assert_allclose(down, np.moveaxis(np.tensordot(matrix, upstream, [0, axis]), 0, axis), atol=1e-5)


def test_resize_computes_in_float32_and_keeps_static_sizes():
    x = tf.cast(normal(1, 4, 5, 2), tf.bfloat16)
    np.testing.assert_array_equal(resize_align_corners(x, (7, 9)), resize_align_corners(tf.cast(x, tf.float32), (7, 9)))
    function = tf.function(lambda x: resize_align_corners(x, (7, 9)))
    assert function.get_concrete_function(tf.TensorSpec([1, None, None, 2])).output_shapes == (1, 7, 9, 2)


def test_frozen_batch_norm_has_no_epsilon_and_no_trainable_weights():
    layer, x = FrozenBatchNorm(), normal(2, 3, 4, 2)
    layer.build(x.shape)
    gamma, beta, mean, variance = [2.0, 3.0], [0.5, -0.5], [1.0, -1.0], [1e-10, 4.0]
    for variable, value in zip(layer.variables, (gamma, beta, mean, variance), strict=True):
        variable.assign(value)
    expected = np.array(gamma) * (x - np.array(mean)) / np.sqrt(variance) + np.array(beta)
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=1e-5)
    assert not layer.trainable_variables
    assert [variable.name for variable in layer.variables] == ["gamma", "beta", "moving_mean", "moving_variance"]


def test_batch_norm_in_training():
    layer, x = BatchNorm(), 3 * normal(2, 3, 4, 2) + 5
    y = layer(x, training=True)
    mean, biased, unbiased = (f((0, 1, 2)) for f in (x.mean, x.var, lambda axes: x.var(axes, ddof=1)))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(biased + 1e-5), atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * unbiased, rtol=1e-5)
    assert len(layer.trainable_variables) == 2


def test_batch_norm_passes_gradients_through_its_statistics():
    layer, x, weight = BatchNorm(), tf.constant(normal(2, 3, 4, 2)), normal(2, 3, 4, 2, seed=1)

    def by_definition(x):
        mean, variance = tf.nn.moments(x, [0, 1, 2])
        return tf.nn.batch_normalization(x, mean, variance, None, None, 1e-5)

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(function(x) * weight)
        return tape.gradient(loss, x)

    ours = gradient(lambda x: layer(x, training=True))
    np.testing.assert_allclose(ours, gradient(by_definition), atol=1e-5)


def test_batch_norm_in_inference():
    layer, x = BatchNorm(), normal(2, 3, 4, 2)
    layer.build(x.shape)
    layer.moving_mean.assign([1.0, 2.0])
    layer.moving_variance.assign([4.0, 9.0])
    expected = (x - np.array([1, 2])) / np.sqrt(np.array([4, 9]) + 1e-5)
    np.testing.assert_allclose(layer(x), expected, atol=1e-6)
    np.testing.assert_array_equal(layer.moving_mean, [1, 2])


def test_batch_norm_keeps_float32_statistics_under_mixed_precision():
    layer = BatchNorm(dtype="mixed_bfloat16")
    # In bfloat16 a mean of 1000 and a deviation of 1 cannot be told apart.
    x = tf.cast(1000 + 4 * np.sign(normal(2, 8, 8, 1)), tf.bfloat16)
    y = layer(x, training=True)
    assert y.dtype == tf.bfloat16
    assert {variable.dtype for variable in layer.variables} == {"float32"}
    np.testing.assert_allclose(layer.moving_mean, 0.1 * np.mean(tf.cast(x, tf.float32)), rtol=1e-5)
    np.testing.assert_allclose(np.std(tf.cast(y, tf.float32)), 1, rtol=1e-2)


def test_two_replicas_normalise_as_one(two_replicas):
    # The replicas' halves differ in mean, so statistics of their own would show.
    x = normal(4, 3, 5, 2) + np.array([0, 0, 10, 10], np.float32)[:, None, None, None]
    weight = normal(4, 3, 5, 2, seed=1)

    def run(layer, x, weight):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(tf.tanh(y) * weight)
        return (y, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value]))

    one = BatchNorm()
    one.build(x.shape)
    y, by_input, by_gamma, by_beta = tf.function(run)(one, tf.constant(x), weight)

    with two_replicas.scope():
        two = BatchNorm()
        two.build(x.shape)

    @tf.function
    def replicated():
        def replica():
            index = tf.distribute.get_replica_context().replica_id_in_sync_group
            half = tf.cast(index, tf.int32) * 2
            return run(two, tf.constant(x)[half : half + 2], tf.constant(weight)[half : half + 2])

        return [two_replicas.experimental_local_results(value) for value in two_replicas.run(replica)]

    ys, by_inputs, by_gammas, by_betas = replicated()
    np.testing.assert_allclose(np.concatenate(ys), y, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(by_inputs), by_input, atol=1e-5)
    np.testing.assert_allclose(sum(by_gammas), by_gamma, atol=1e-4)
    np.testing.assert_allclose(sum(by_betas), by_beta, atol=1e-4)
    np.testing.assert_allclose(two.moving_mean, one.moving_mean, rtol=1e-5)
    np.testing.assert_allclose(two.moving_variance, one.moving_variance, rtol=1e-5)


def test_unknown_batch_norm_is_named():
    with pytest.raises(InputError, match="'group' is unknown: choose from frozen, synchronized"):
        normalized_convolution(
            keras.Input((4, 4, 3)), 2, 1, batch_norm="group", name="conv", norm_name="bn", rng=np.random.default_rng(0)
        )


@pytest.mark.parametrize(("batch_norm", "default"), [("frozen", 0.0), ("synchronized", 1e-5)])
@pytest.mark.parametrize("epsilon", [None, 1e-3])
def test_epsilon_is_the_one_given_and_stays_with_the_layer(batch_norm, default, epsilon):
    inputs, names = keras.Input((None, None, 3)), {"name": "conv", "norm_name": "bn"}
    rng, options = np.random.default_rng(0), {} if epsilon is None else {"epsilon": epsilon}
    outputs = normalized_convolution(inputs, 2, 1, batch_norm=batch_norm, rng=rng, **names, **options)
    model, x, variances = keras.Model(inputs, outputs), normal(2, 3, 4, 3), np.array([1e-3, 2.0])
    norm = model.get_layer("bn")
    norm.moving_variance.assign(variances)
    expected = x @ np.asarray(model.get_layer("conv").kernel)[0, 0] / np.sqrt(variances + (epsilon or default))
    again = keras.models.clone_model(model)
    again.set_weights(model.get_weights())
    for built in (model, again):
        np.testing.assert_allclose(built(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dilation", [1, 2])
def test_frozen_batch_norm_is_folded_into_the_kernel_without_changing_values_or_gradients(dilation):
    x = tf.constant(normal(2, 7, 9, 3))
    inputs, rng = keras.Input((None, None, 3)), np.random.default_rng(0)
    outputs = normalized_convolution(
        inputs, 4, 3, batch_norm="frozen", name="conv", norm_name="bn", rng=rng, dilation=dilation
    )
    folded = keras.Model(inputs, outputs)
    vectors = [normal(4, seed=i) for i in range(3)]
    folded.get_layer("bn").set_weights([*vectors, np.square(normal(4, seed=3)) + 0.1])
    convolution = Convolution(4, 3, dilation_rate=dilation, use_bias=False)
    convolution.build(x.shape)
    convolution.kernel.assign(folded.get_layer("conv").kernel)
    norm = FrozenBatchNorm()
    norm.build((None, None, None, 4))
    norm.set_weights(folded.get_layer("bn").get_weights())

    def value_and_gradients(function, kernel):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
            loss = tf.reduce_sum(tf.square(y))
        return [y, *tape.gradient(loss, [x, kernel])]

    expected = value_and_gradients(lambda x: norm(convolution(x)), convolution.kernel)
    for value, wanted in zip(value_and_gradients(folded, folded.get_layer("conv").kernel), expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    assert folded.get_layer("bn").folded


@pytest.mark.usefixtures("bfloat16")
def test_bias_gradients_of_low_precision_are_summed_in_float32():
    def gradient(policy):
        layer = Convolution(3, 3, dtype=policy, kernel_initializer=keras.initializers.HeNormal(seed=0))
        inputs = tf.random.stateless_uniform([1, 64, 128, 2], seed=(0, 0))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(layer(inputs), tf.float32) ** 2)
        return tape.gradient(loss, layer.bias.value)

    expected = gradient("float32")
    for policy in ("mixed_bfloat16", "mixed_float16"):
        # Rounding errors of single pixels, 0.4 % in bfloat16, cancel out.
        np.testing.assert_allclose(gradient(policy), expected, rtol=0.01)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_leaky_relu_is_the_one_of_keras(dtype):
    inputs = tf.cast(tf.linspace(-3.0, 3.0, 8), dtype)

    def value_and_gradient(layer):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
        return outputs, tape.gradient(outputs, inputs)

    ours, expected = (value_and_gradient(layer(0.2, dtype=dtype)) for layer in (LeakyReLU, keras.layers.LeakyReLU))
    np.testing.assert_array_equal(tf.cast(ours, tf.float32), tf.cast(expected, tf.float32))
