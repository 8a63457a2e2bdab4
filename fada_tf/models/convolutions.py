"""Convolutions for CPUs: gradients that TensorFlow lacks there, or computes slowly, as products of matrices.

A convolution at stride 1 is a sum over taps: each multiplies the pixels, shifted by the tap's offset, by a matrix. The
upstream gradients that all taps see, side by side, turn both gradients into one product each.
"""

import functools
from collections.abc import Sequence

import tensorflow as tf

Offsets = Sequence[tuple[int, int]]


def tap_offsets(size: int, dilation: int) -> Offsets:
    """Returns (rows, columns) between the pixel that a tap reads and the one it adds to, by row of the kernel.

    Args:
      size: of the kernel, odd.
      dilation: of its rows and columns.
    """
    steps = [dilation * (index - size // 2) for index in range(size)]
    return [(row, column) for row in steps for column in steps]


def convolve(
    inputs, kernel, dilation: int, scale=None, offset=None, *, kernel_gradient_first: bool = True
) -> tf.Tensor:
    """Convolves at stride 1 and pads with zeros to the same size.

    Args:
      inputs: [batch, height, width, channels].
      kernel: [size, size, channels, filters], with an odd size.
      dilation: of the kernel.
      scale: float32 [filters], a constant by which the kernel is multiplied.
      offset: float32 [filters], a constant that is added to the outputs.
      kernel_gradient_first: whether the gradient by the inputs waits for the one by the kernel, which then frees the
        inputs early. Where only the former is wanted, the order would have the latter computed for nothing.

    Returns:
      [batch, height, width, filters].
    """
    offsets = tap_offsets(kernel.shape[0], dilation)

    @tf.custom_gradient
    def convolved(inputs, kernel):
        @_in_gradient_scope
        def gradient(upstream):
            if scale is not None:  # of the filters, by which the gradients of both arguments are scaled
                upstream = tf.cast(tf.cast(upstream, tf.float32) * scale, upstream.dtype)
            seen = _seen_by_taps(upstream, offsets)
            by_kernel = tf.reshape(_by_taps(seen, inputs, len(offsets)), kernel.shape)
            with tf.control_dependencies([by_kernel] if kernel_gradient_first else []):
                return _by_inputs(seen, inputs, kernel), by_kernel

        return _forward(inputs, kernel, scale, offset, dilation), gradient

    return convolved(inputs, tf.convert_to_tensor(kernel))


def sum_of_convolutions(inputs, kernels: Sequence, dilations: Sequence[int]) -> tf.Tensor:
    """Adds up convolutions of the same inputs, all their taps in one product; best where filters are few.

    Args:
      inputs: [batch, height, width, channels].
      kernels: each [size, size, channels, filters], with an odd size.
      dilations: of the kernels.

    Returns:
      float32 [batch, height, width, filters].
    """
    channels, filters = kernels[0].shape[2:]
    offsets = [offset for k, d in zip(kernels, dilations, strict=True) for offset in tap_offsets(k.shape[0], d)]

    @tf.custom_gradient
    def convolved(inputs, taps):
        @_in_gradient_scope
        def gradient(upstream):
            seen = _seen_by_taps(tf.cast(upstream, inputs.dtype), offsets)
            return _by_inputs(seen, inputs, taps), _by_taps(seen, inputs, len(offsets))

        matrix = tf.reshape(tf.transpose(taps, [1, 0, 2]), [channels, -1])
        products = tf.cast(tf.matmul(_pixels(inputs), matrix), tf.float32)
        batch, height, width, _ = _shape(inputs)
        places = _places(height, width, offsets)
        places = places * len(offsets) + tf.where(places < height * width, tf.range(len(offsets)), 0)
        products = tf.gather(_with_zero(tf.reshape(products, [batch, -1, filters])), places, axis=1)
        return tf.reduce_sum(products, axis=-2), gradient

    return convolved(inputs, tf.concat([tf.reshape(kernel, [-1, channels, filters]) for kernel in kernels], 0))


def _in_gradient_scope(gradient):
    """Names a gradient's operations after the layer that it is defined in, as TensorFlow names those of its own."""
    scope = f"gradient_tape/{tf.get_current_name_scope() or 'convolution'}/"

    def named(upstream):
        with tf.name_scope(scope):
            return gradient(upstream)

    return named


def _by_taps(seen, inputs, taps: int) -> tf.Tensor:
    """Returns the gradient by the taps' matrices: [taps, channels, filters], without the first dimension if it is 1."""
    filters, channels = seen.shape[-1] // taps, inputs.shape[-1]
    if taps * filters < channels:  # few rows and many columns are the faster way round
        by_taps = tf.matmul(seen, _pixels(inputs), transpose_a=True)
        if taps == 1:
            return tf.transpose(by_taps)
        return tf.transpose(tf.reshape(by_taps, [taps, filters, channels]), [0, 2, 1])
    by_taps = tf.matmul(_pixels(inputs), seen, transpose_a=True)
    if taps == 1:
        return by_taps
    return tf.transpose(tf.reshape(by_taps, [channels, taps, filters]), [1, 0, 2])


def _by_inputs(seen, inputs, taps) -> tf.Tensor:
    """Returns the gradient by the inputs; the taps' matrices are [..., channels, filters]."""
    channels, filters = taps.shape[-2:]
    if seen.shape[-1] == filters:  # one tap
        by_inputs = tf.matmul(seen, tf.reshape(taps, [channels, filters]), transpose_b=True)
    else:
        by_inputs = tf.matmul(seen, tf.reshape(tf.linalg.matrix_transpose(taps), [-1, channels]))
    return tf.reshape(by_inputs, _shape(inputs))


def _forward(inputs, kernel, scale, offset, dilation: int) -> tf.Tensor:
    if scale is not None:
        # Without the order, a step would start with scaling, and keeping, the kernels of all layers.
        with tf.control_dependencies([inputs]):
            kernel = tf.cast(tf.cast(kernel, tf.float32) * scale, kernel.dtype)
    one_tap = kernel.shape[:2] == (1, 1)
    if one_tap:
        outputs = tf.matmul(_pixels(inputs), tf.reshape(kernel, kernel.shape[2:]))
    else:
        outputs = tf.nn.conv2d(inputs, kernel, 1, "SAME", dilations=dilation)
    if offset is not None:
        outputs = tf.nn.bias_add(outputs, tf.cast(offset, outputs.dtype))
    return tf.reshape(outputs, [*_shape(inputs)[:3], kernel.shape[3]]) if one_tap else outputs


def _shape(values) -> list:
    """Returns the sizes of the dimensions: integers where they are known when the graph is traced."""
    if values.shape.is_fully_defined():
        return values.shape.as_list()
    return [known or size for known, size in zip(values.shape, tf.unstack(tf.shape(values)), strict=True)]


def _pixels(values) -> tf.Tensor:
    return tf.reshape(values, [-1, values.shape[-1]])


def _seen_by_taps(upstream, offsets: Offsets) -> tf.Tensor:
    """Returns the upstream gradient where each tap of each input pixel added to: [pixels, taps * filters]."""
    if len(offsets) == 1:
        return _pixels(upstream)
    batch, height, width, filters = _shape(upstream)
    places = _places(height, width, [(-row, -column) for row, column in offsets])
    # One gather is three times as fast as putting shifted copies side by side.
    seen = tf.gather(_with_zero(tf.reshape(upstream, [batch, -1, filters])), places, axis=1)
    return tf.reshape(seen, [-1, len(offsets) * filters])


def _places(height, width, offsets: Offsets) -> tf.Tensor:
    """Returns int32 [height, width, taps]: the pixel at each offset, height * width where there is none."""
    if isinstance(height, int) and isinstance(width, int):
        with tf.init_scope():  # a constant for all layers of one size: what is not traced again starts a run earlier
            return _constant_places(height, width, tuple(offsets))
    return _compute_places(height, width, offsets)


def _compute_places(height, width, offsets: Offsets) -> tf.Tensor:
    rows = tf.range(height)[:, None, None] + [row for row, _ in offsets]
    columns = tf.range(width)[None, :, None] + [column for _, column in offsets]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return tf.where(inside, rows * width + columns, height * width)


_constant_places = functools.lru_cache(maxsize=32)(_compute_places)


def _with_zero(values) -> tf.Tensor:
    """Appends zeros to the rows of [batch, rows, channels]."""
    return tf.pad(values, [[0, 0], [0, 1], [0, 0]])
