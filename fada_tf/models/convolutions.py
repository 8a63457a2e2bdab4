"""Convolutions for CPUs: gradients that TensorFlow lacks there, or computes slowly, as products of matrices.

A convolution at stride 1 is a sum over taps: each multiplies the pixels, shifted by the tap's offset, by a matrix. Side by
side, the upstream gradients that all taps see turn both gradients into one product each.
"""

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


def convolve(inputs, kernel, dilation: int, scale=None, *, kernel_gradient_first: bool = True) -> tf.Tensor:
    """Convolves at stride 1 and pads with zeros to the same size.

    Args:
      inputs: [batch, height, width, channels].
      kernel: [size, size, channels, filters], with an odd size.
      dilation: of the kernel.
      scale: float32 [filters], a constant by which the kernel is multiplied.
      kernel_gradient_first: whether the gradient by the inputs waits for the one by the kernel, which then frees the inputs
        early. Where only the former is wanted, the order would have the latter computed for nothing.

    Returns:
      [batch, height, width, filters].
    """
    size, _, channels, filters = kernel.shape
    offsets = tap_offsets(size, dilation)

    @tf.custom_gradient
    def convolved(inputs, kernel):
        def gradient(upstream):
            if scale is not None:  # of the filters, by which the gradients of both arguments are scaled
                upstream = tf.cast(tf.cast(upstream, tf.float32) * scale, upstream.dtype)
            seen = _seen_by_taps(upstream, offsets)
            by_kernel = tf.matmul(_pixels(inputs), seen, transpose_a=True)
            by_kernel = tf.transpose(tf.reshape(by_kernel, [channels, size, size, filters]), [1, 2, 0, 3])
            with tf.control_dependencies([by_kernel] if kernel_gradient_first else []):
                matrix = tf.reshape(tf.transpose(kernel, [0, 1, 3, 2]), [-1, channels])
                by_inputs = tf.reshape(tf.matmul(seen, matrix), _shape(inputs))
            return by_inputs, by_kernel

        return _forward(inputs, kernel, scale, dilation), gradient

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
        def gradient(upstream):
            seen = _seen_by_taps(tf.cast(upstream, inputs.dtype), offsets)
            by_taps = tf.matmul(seen, _pixels(inputs), transpose_a=True)
            by_taps = tf.transpose(tf.reshape(by_taps, [-1, filters, channels]), [0, 2, 1])
            matrix = tf.reshape(tf.transpose(taps, [0, 2, 1]), [-1, channels])
            return tf.reshape(tf.matmul(seen, matrix), _shape(inputs)), by_taps

        matrix = tf.reshape(tf.transpose(taps, [1, 0, 2]), [channels, -1])
        products = tf.cast(tf.matmul(_pixels(inputs), matrix), tf.float32)
        products = tf.reshape(products, [*_shape(inputs)[:3], matrix.shape[1]])
        products = tf.split(products, len(offsets), axis=-1)
        return tf.add_n([_shift(one, *offset) for one, offset in zip(products, offsets, strict=True)]), gradient

    return convolved(inputs, tf.concat([tf.reshape(kernel, [-1, channels, filters]) for kernel in kernels], 0))


def _forward(inputs, kernel, scale, dilation: int) -> tf.Tensor:
    if scale is not None:
        with tf.control_dependencies([inputs]):  # or a step would start with scaling, and keeping, the kernels of all layers
            kernel = tf.cast(tf.cast(kernel, tf.float32) * scale, kernel.dtype)
    if kernel.shape[:2] == (1, 1):
        products = tf.matmul(_pixels(inputs), kernel[0, 0])
        return tf.reshape(products, [*_shape(inputs)[:3], kernel.shape[3]])
    return tf.nn.conv2d(inputs, kernel, 1, "SAME", dilations=dilation)


def _shape(values) -> list:
    """Returns the sizes of the dimensions: integers where they are known when the graph is traced."""
    if values.shape.is_fully_defined():
        return values.shape.as_list()
    return [known or size for known, size in zip(values.shape, tf.unstack(tf.shape(values)), strict=True)]


def _pixels(values) -> tf.Tensor:
    return tf.reshape(values, [-1, values.shape[-1]])


def _seen_by_taps(upstream, offsets: Offsets) -> tf.Tensor:
    """Returns, by pixel of the inputs and tap, the upstream gradient where the tap added to: [pixels, taps * filters]."""
    if len(offsets) == 1:
        return _pixels(upstream)
    batch, height, width, filters = _shape(upstream)
    top, left = (max(abs(offset[axis]) for offset in offsets) for axis in (0, 1))
    padded = tf.pad(upstream, [[0, 0], [top, top], [left, left], [0, 0]])
    # One gather is three times as fast as putting shifted copies side by side.
    rows = tf.range(height)[:, None, None] + [top - row for row, _ in offsets]
    columns = tf.range(width)[None, :, None] + [left - column for _, column in offsets]
    places = rows * (width + 2 * left) + columns
    seen = tf.gather(tf.reshape(padded, [batch, -1, filters]), places, axis=1)
    return tf.reshape(seen, [-1, len(offsets) * filters])


def _shift(values, rows: int, columns: int) -> tf.Tensor:
    """Returns values[:, y + rows, x + columns] at every (y, x), zeros where that is outside."""
    if not (rows or columns):
        return values
    _, height, width, _ = _shape(values)
    padding = [[0, 0], [max(-rows, 0), max(rows, 0)], [max(-columns, 0), max(columns, 0)], [0, 0]]
    top, left = max(rows, 0), max(columns, 0)
    shifted = tf.pad(values, padding)[:, top : top + height, left : left + width]
    return tf.ensure_shape(shifted, values.shape)
