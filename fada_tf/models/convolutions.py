"""Convolutions for CPUs, in the forms that oneDNN computes fast, with the gradients that TensorFlow lacks there.

`forms` says, by name, whether functions traced from then on use these forms or TensorFlow's plain convolutions, which
GPUs compute faster and other programs understand. The values are the same up to rounding.

A convolution at stride 1 is a sum over taps: each multiplies the pixels, shifted by the tap's offset, by a matrix. The
upstream gradients that all taps see, side by side, turn the gradient by a kernel of many channels into one product.
oneDNN reaches the rate of such products in plain convolutions of several images, not in those of one image, nor in
dilated ones, nor in the gradient by a kernel of few channels, whose images outgrow the caches: so images are taken
apart into a batch of grids, halves or tiles. Where grids would be small, the pixels that all taps read are one product.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

Offsets = Sequence[tuple[int, int]]

_GRIDS_FROM = 64  # pixels of a grid, below which a product is faster
_HALVE_FROM = 2**15  # channels * filters, from which on halves are faster by more than copying costs
_MULTIPLY_FROM = 256  # channels, from which on the same is true of products and gathering
_TILE = 16, 32  # rows and columns at most
_GATHER_AT_MOST = 2**24  # values, of all taps at once


_FORMS = ("automatic", "cpu", "plain")
_chosen = "automatic"  # of the process, not of a thread: MirroredStrategy traces every replica in a thread of its own


@contextlib.contextmanager
def forms(name: str) -> Iterator[None]:
    """Chooses the form of all convolutions, resizings and losses that are traced inside the block.

    Args:
      name: "cpu"; "plain", for GPUs and for graphs that other programs read; "automatic", the default: "cpu" where
        TensorFlow sees no GPU.

    Raises:
      ValueError: no such form.
    """
    global _chosen
    if name not in _FORMS:
        raise ValueError(f"forms {name!r} are unknown: choose from {', '.join(_FORMS)}")
    before, _chosen = _chosen, name
    try:
        yield
    finally:
        _chosen = before


def for_cpu() -> bool:
    """Returns whether what is traced now takes the forms for CPUs; the one place that looks at the devices."""
    return _chosen == "cpu" or (_chosen == "automatic" and not tf.config.list_logical_devices("GPU"))


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
      kernel: [size, size, channels, filters], with an odd size; in the type of its variable, whatever that of inputs.
      dilation: of the kernel.
      scale: float32 [filters], a constant by which the kernel is multiplied.
      offset: float32 [filters], a constant that is added to the outputs.
      kernel_gradient_first: whether the gradient by the inputs waits for the one by the kernel, which then frees the
        inputs early. Where only the former is wanted, the order would have the latter computed for nothing.

    Returns:
      [batch, height, width, filters].
    """

    @tf.custom_gradient
    def convolved(inputs, kernel):
        @_in_gradient_scope
        def gradient(upstream):
            upstream.set_shape([*inputs.shape[:3], kernel.shape[-1]])  # which it lacks after an operation without one
            by_kernel = _scaled(_by_kernel(upstream, inputs, kernel.shape, dilation), scale, kernel.dtype)
            with tf.control_dependencies([by_kernel] if kernel_gradient_first else []):
                return _by_inputs(upstream, _scaled(kernel, scale, inputs.dtype, after=upstream), dilation), by_kernel

        return _forward(inputs, _scaled(kernel, scale, inputs.dtype, after=inputs), offset, dilation), gradient

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
            upstream.set_shape([*inputs.shape[:3], filters])
            seen = _seen_by_taps(tf.cast(upstream, inputs.dtype), offsets)
            by_inputs = tf.matmul(seen, tf.reshape(tf.linalg.matrix_transpose(taps), [-1, channels]))
            return tf.reshape(by_inputs, _shape(inputs)), _by_taps(seen, inputs, len(offsets))

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


def _by_kernel(upstream, inputs, shape, dilation: int) -> tf.Tensor:
    """Returns the gradient by a kernel of that shape."""
    size, _, channels, _ = shape
    if size > 1 and dilation == 1 and channels < _MULTIPLY_FROM and inputs.shape[1:3].is_fully_defined():
        upstream = _tiles(upstream, 0)
        with tf.control_dependencies([upstream]):  # or the tiles of all layers would be made, and kept, early
            inputs = _tiles(inputs, size // 2)
        return tf.raw_ops.Conv2DBackpropFilter(
            input=inputs, filter_sizes=shape, out_backprop=upstream, strides=[1] * 4, padding="VALID"
        )
    offsets = tap_offsets(size, dilation)
    if size > 1 and (upstream.shape.num_elements() or 0) * len(offsets) > _GATHER_AT_MOST:
        by_taps = []
        for offset in offsets:
            with tf.control_dependencies(by_taps[-1:]):
                by_taps.append(_by_taps(_seen_by_taps(upstream, [offset]), inputs, 1))
        return tf.reshape(tf.stack(by_taps), shape)
    return tf.reshape(_by_taps(_seen_by_taps(upstream, offsets), inputs, len(offsets)), shape)


def _by_inputs(upstream, kernel, dilation: int) -> tf.Tensor:
    """Returns the gradient by the inputs."""
    batch, height, width, _ = _shape(upstream)
    size, _, channels, _ = kernel.shape
    if size == 1:
        by_inputs = tf.matmul(_pixels(upstream), tf.reshape(kernel, kernel.shape[2:]), transpose_b=True)
        return tf.reshape(by_inputs, [batch, height, width, channels])
    grids = _grids(upstream, dilation)
    by_inputs = tf.nn.conv2d_transpose(grids, kernel, [*_shape(grids)[:3], channels], 1, "SAME")
    return _image_of_grids(by_inputs, height, width, dilation)


def _forward(inputs, kernel, offset, dilation: int) -> tf.Tensor:
    def with_offset(outputs):  # TensorFlow adds it in the same operation, if it comes right after the product
        return outputs if offset is None else tf.nn.bias_add(outputs, tf.cast(offset, outputs.dtype))

    def convolved(images):
        return with_offset(tf.nn.conv2d(images, kernel, 1, "SAME"))

    batch, height, width, channels = _shape(inputs)
    size, _, _, filters = kernel.shape
    small = inputs.shape[1:3].is_fully_defined() and -(-height // dilation) * -(-width // dilation) < _GRIDS_FROM
    if size == 1 or (dilation > 1 and small):
        read = _seen_by_taps(inputs, tap_offsets(size, dilation)[::-1])  # in the order of the taps
        outputs = with_offset(tf.matmul(read, tf.reshape(kernel, [-1, filters])))
        return tf.reshape(outputs, [batch, height, width, filters])
    if dilation > 1:
        return _image_of_grids(convolved(_grids(inputs, dilation)), height, width, dilation)
    halo, half = size // 2, (height + 1) // 2
    if inputs.shape[0] == 1 and channels * filters >= _HALVE_FROM and isinstance(height, int) and height > 2 * size:
        halves = tf.concat([inputs[:, : half + halo], inputs[:, height - half - halo :]], axis=0)
        upper, lower = tf.split(convolved(halves), 2)
        return tf.concat([upper[:, :half], lower[:, 2 * half - height + halo :]], axis=1)
    return convolved(inputs)


def _grids(images, dilation: int) -> tf.Tensor:
    """Returns a batch whose images hold every dilation-th pixel of every dilation-th row, one for each first pixel."""
    if dilation == 1:
        return images
    _, height, width, _ = _shape(images)
    return tf.space_to_batch(images, [dilation] * 2, [[0, -height % dilation], [0, -width % dilation]])


def _image_of_grids(grids, height, width, dilation: int) -> tf.Tensor:
    if dilation == 1:
        return grids
    return tf.batch_to_space(grids, [dilation] * 2, [[0, -height % dilation], [0, -width % dilation]])


def _tiles(images, halo: int) -> tf.Tensor:
    """Returns a batch of tiles with the pixels around them, zeros outside the image: each [rows, columns, channels]."""
    _, height, width, channels = images.shape
    places = _tile_places(height, width, halo)
    tiles = tf.gather(_with_zero(tf.reshape(images, [-1, height * width, channels])), places, axis=1)
    return tf.reshape(tiles, [-1, *places.shape[1:], channels])


def _scaled(kernel, scale, dtype, after=None) -> tf.Tensor:
    """Scales the filters of a kernel, or of its gradient, in float32; casts; not before the tensor `after` is there.

    Without that order, a step would start with scaling, and keeping, the kernels of all layers.
    """
    with tf.control_dependencies([] if after is None else [after]):
        return tf.cast(kernel if scale is None else tf.cast(kernel, tf.float32) * scale, dtype)


def _shape(values) -> list:
    """Returns the sizes of the dimensions: integers where they are known when the graph is traced."""
    if values.shape.is_fully_defined():
        return values.shape.as_list()
    return [known or size for known, size in zip(values.shape, tf.unstack(tf.shape(values)), strict=True)]


def _pixels(values) -> tf.Tensor:
    return tf.reshape(values, [-1, values.shape[-1]])


def _seen_by_taps(upstream, offsets: Offsets) -> tf.Tensor:
    """Returns the upstream gradient where each tap of each input pixel added to: [pixels, taps * filters]."""
    if list(offsets) == [(0, 0)]:
        return _pixels(upstream)
    batch, height, width, filters = _shape(upstream)
    places = _places(height, width, [(-row, -column) for row, column in offsets])
    # One gather is three times as fast as putting shifted copies side by side.
    seen = tf.gather(_with_zero(tf.reshape(upstream, [batch, -1, filters])), places, axis=1)
    return tf.reshape(seen, [-1, len(offsets) * filters])


def _places(height, width, offsets: Offsets) -> tf.Tensor:
    """Returns int32 [height, width, taps]: the pixel at each offset, height * width where there is none."""
    if isinstance(height, int) and isinstance(width, int):
        return tf.constant(_constant_places(height, width, tuple(offsets)))
    return _compute_places(height, width, offsets)


@functools.lru_cache(maxsize=128)
def _constant_places(height: int, width: int, offsets: Offsets) -> np.ndarray:
    """Computes outside of the graph, once for all layers of one size: what is not traced starts a run earlier."""
    with tf.init_scope():
        return _compute_places(height, width, offsets).numpy()


def _compute_places(height, width, offsets: Offsets) -> tf.Tensor:
    rows = tf.range(height)[:, None, None] + [row for row, _ in offsets]
    columns = tf.range(width)[None, :, None] + [column for _, column in offsets]
    return _places_of(rows, columns, height, width)


@functools.lru_cache(maxsize=128)
def _tile_places(height: int, width: int, halo: int) -> np.ndarray:
    """Returns int32 [tiles, rows, columns]: the pixel at each place of a tile, height * width where there is none."""

    def positions(length, most):
        tiles = -(-length // most)
        size = -(-length // tiles)
        return size * tf.range(tiles)[:, None] + tf.range(-halo, size + halo)

    with tf.init_scope():
        rows, columns = positions(height, _TILE[0]), positions(width, _TILE[1])
        places = _places_of(rows[:, None, :, None], columns[None, :, None, :], height, width)
        return tf.reshape(places, [-1, *places.shape[2:]]).numpy()


def _places_of(rows, columns, height, width) -> tf.Tensor:
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return tf.where(inside, rows * width + columns, height * width)


def _with_zero(values) -> tf.Tensor:
    """Appends zeros to the rows of [batch, rows, channels]."""
    return tf.pad(values, [[0, 0], [0, 1], [0, 0]])
