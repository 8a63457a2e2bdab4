"""Convolutions for CPUs, in the forms that oneDNN computes fast, with the gradients that TensorFlow lacks there.

A convolution at stride 1 is a sum over taps: each multiplies the pixels, shifted by the tap's offset, by a matrix. The
upstream gradients that all taps see, side by side, turn the gradient by a kernel of many channels into one product.
oneDNN reaches the rate of such products in plain convolutions of several images, not in those of one image, nor in
dilated ones, nor in the gradient by a kernel of few channels, whose images outgrow the caches: so images are taken
apart into a batch of grids, halves or tiles. Where grids would be small, the pixels that all taps read are one product.

Two CPUs were measured, two cores of each, in float32. On the first, with AVX-512 and AMX, plain convolutions of one
image, dilated ones and gradients by kernels of few channels ran at a third to two thirds of the rate of a large
product, and these forms at 0.8 to 0.95 of it: it chose the constants. The milliseconds beside them are of the second,
with AVX-512 alone, of one image and 3x3 kernels, the lower of two tables of `python -m tests.convolutions.thresholds`,
which times both sides of each.
"""

from collections.abc import Sequence

import tensorflow as tf

from fada_tf.convolutions.places import (
    Size,
    pixel_places,
    pixels,
    seen_by_taps,
    shape_of,
    tap_offsets,
    tiles,
    with_zero,
)

# Pixels of a grid, below which one product of all taps' pixels is faster. fc6 and fc7 of VGG-16 see 15x20 pixels of a
# 160x120 picture, in grids of 4x5: on the first CPU its inference took 0.76 of the time with a product. On the second,
# grids are faster from fewer pixels on (512 channels, dilation 4; grids, product): 15 pixels 6.9, 6.3 ms; 50 pixels
# 17.4, 20.9; 72 pixels 24.3, 29.1; 128 pixels 45.6, 48.0; 512 pixels 178, 198.
_GRIDS_FROM = 64
# channels * filters, from which on a convolution of two halves gains more than copying them costs: its time grows with
# this product, that of the copies with the channels alone. On the second CPU halves gain nothing at any size (64x128
# pixels; halves, whole): 2**12 4.1, 3.5 ms; 2**14 13.8, 12.0; 192 * 192 27.3, 25.8; 2**16 48.0, 43.3; 2**18 188, 189.
_HALVE_FROM = 2**15
# Channels, from which on the gradient by a kernel is a product: gathering costs as much for every number of channels,
# while the product gains on the convolution of tiles. On the second CPU the two are alike (64x128 pixels, as many
# filters; product, tiles): 64 channels 4.7, 4.9 ms; 128 channels 14.4, 14.9; 256 channels, from where on this product
# goes tap by tap (see below), 56.7, 53.7; 512 channels 199, 204.
_MULTIPLY_FROM = 256
# Values that are gathered for all taps at once; above it they are gathered tap by tap, in less memory and on the second
# CPU in more time (256 channels and filters, dilation 2; tap by tap, at once): 2**22.2 values 14.2, 15.6 ms;
# 2**24.2 56.6, 52.3; 2**25.3 136, 114; 2**26.2 238, 194.
_GATHER_AT_MOST = 2**24  # 64 MiB in float32


def convolve(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    dilation: int,
    scale: tf.Tensor | None = None,
    offset: tf.Tensor | None = None,
    *,
    kernel_gradient_first: bool = True,
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


def depthwise(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    stride: int,
    dilation: int,
    scale: tf.Tensor | None = None,
    offset: tf.Tensor | None = None,
) -> tf.Tensor:
    """Convolves every channel with a kernel of its own, and pads with zeros as TensorFlow's "SAME".

    Keeps the inputs for the gradients, not their grids beside them. CPUs that lack instructions for bfloat16 or float16
    add up in that type, where a sum over many pixels stops growing: so the gradient by the kernel is one of float32.

    Args:
      inputs: [batch, height, width, channels].
      kernel: [size, size, 1, channels], with an odd size; in the type of its variable, whatever that of inputs.
      stride: of rows and columns.
      dilation: of the kernel; 1 where the stride is not.
      scale: float32 [channels], a constant by which the kernel is multiplied.
      offset: float32 [channels], a constant that is added to the outputs.

    Returns:
      [batch, ceil(height / stride), ceil(width / stride), channels].
    """
    options = {"strides": [1, stride, stride, 1], "padding": "SAME"}
    size, channels = kernel.shape[0], kernel.shape[-1]
    _, height, width, _ = shape_of(inputs)

    def depthwise_kernel(after):
        return tf.reshape(_scaled(kernel, scale, inputs.dtype, after=after), [size, size, channels, 1])

    @tf.custom_gradient
    def convolved(inputs, kernel):
        @_in_gradient_scope
        def gradient(upstream):
            grids = _grids(upstream, dilation)
            by_kernel = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                input=tf.cast(_grids(inputs, dilation), tf.float32),
                filter_sizes=[size, size, channels, 1],
                out_backprop=tf.cast(grids, tf.float32),
                **options,
            )
            with tf.control_dependencies([by_kernel]):  # which frees the inputs
                by_inputs = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                    input_sizes=grids_shape, filter=depthwise_kernel(upstream), out_backprop=grids, **options
                )
            by_kernel = _scaled(tf.reshape(by_kernel, kernel.shape), scale, kernel.dtype)
            return _image_of_grids(by_inputs, height, width, dilation), by_kernel

        grids = _grids(inputs, dilation)
        grids_shape = shape_of(grids)
        outputs = tf.raw_ops.DepthwiseConv2dNative(input=grids, filter=depthwise_kernel(inputs), **options)
        outputs = outputs if offset is None else tf.nn.bias_add(outputs, tf.cast(offset, outputs.dtype))
        return _image_of_grids(outputs, height, width, dilation), gradient

    return convolved(inputs, tf.convert_to_tensor(kernel))


def sum_of_convolutions(inputs: tf.Tensor, kernels: Sequence[tf.Tensor], dilations: Sequence[int]) -> tf.Tensor:
    """Adds up convolutions of the same inputs, all their taps in one product; best where filters are few.

    On the second CPU, 64x128 pixels of 2048 channels, four dilations (product, one by one): 19 filters 210, 528 ms; 64
    filters 366, 446; 256 filters 1.50, 2.48 s.

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
            seen = seen_by_taps(tf.cast(upstream, inputs.dtype), offsets)
            by_inputs = tf.matmul(seen, tf.reshape(tf.linalg.matrix_transpose(taps), [-1, channels]))
            return tf.reshape(by_inputs, shape_of(inputs)), _by_taps(seen, inputs, len(offsets))

        matrix = tf.reshape(tf.transpose(taps, [1, 0, 2]), [channels, -1])
        products = tf.cast(tf.matmul(pixels(inputs), matrix), tf.float32)
        batch, height, width, _ = shape_of(inputs)
        places = pixel_places(height, width, offsets)
        places = places * len(offsets) + tf.where(places < height * width, tf.range(len(offsets)), 0)
        products = tf.gather(with_zero(tf.reshape(products, [batch, -1, filters])), places, axis=1)
        return tf.reduce_sum(products, axis=-2), gradient

    return convolved(inputs, tf.concat([tf.reshape(kernel, [-1, channels, filters]) for kernel in kernels], 0))


def _in_gradient_scope(gradient):
    """Names a gradient's operations after the layer that it is defined in, as TensorFlow names those of its own."""
    scope = f"gradient_tape/{tf.get_current_name_scope() or 'convolution'}/"

    def named(upstream):
        with tf.name_scope(scope):
            return gradient(upstream)

    return named


def _by_taps(seen: tf.Tensor, inputs: tf.Tensor, taps: int) -> tf.Tensor:
    """Returns the gradient by the taps' matrices: [taps, channels, filters], without the first dimension if it is 1."""
    filters, channels = seen.shape[-1] // taps, inputs.shape[-1]
    # Few rows and many columns are the faster way round; on the second CPU not always (8192 pixels; rows of filters, of
    # channels): 1024 channels, 512 filters 45, 50 ms; 512 and 512 22, 22; 2048 and 512 144, 130; 512 and 2048 131, 155.
    if taps * filters < channels:
        by_taps = tf.matmul(seen, pixels(inputs), transpose_a=True)
        if taps == 1:
            return tf.transpose(by_taps)
        return tf.transpose(tf.reshape(by_taps, [taps, filters, channels]), [0, 2, 1])
    by_taps = tf.matmul(pixels(inputs), seen, transpose_a=True)
    if taps == 1:
        return by_taps
    return tf.transpose(tf.reshape(by_taps, [channels, taps, filters]), [1, 0, 2])


def _by_kernel(upstream: tf.Tensor, inputs: tf.Tensor, shape: tf.TensorShape, dilation: int) -> tf.Tensor:
    """Returns the gradient by a kernel of that shape."""
    size, _, channels, _ = shape
    if size > 1 and dilation == 1 and channels < _MULTIPLY_FROM and inputs.shape[1:3].is_fully_defined():
        upstream = tiles(upstream, 0)
        with tf.control_dependencies([upstream]):  # without it, the tiles of all layers are made early, and kept
            inputs = tiles(inputs, size // 2)
        return tf.raw_ops.Conv2DBackpropFilter(
            input=inputs, filter_sizes=shape, out_backprop=upstream, strides=[1] * 4, padding="VALID"
        )
    offsets = tap_offsets(size, dilation)
    if size > 1 and (upstream.shape.num_elements() or 0) * len(offsets) > _GATHER_AT_MOST:
        by_taps = []
        for offset in offsets:
            with tf.control_dependencies(by_taps[-1:]):
                by_taps.append(_by_taps(seen_by_taps(upstream, [offset]), inputs, 1))
        return tf.reshape(tf.stack(by_taps), shape)
    return tf.reshape(_by_taps(seen_by_taps(upstream, offsets), inputs, len(offsets)), shape)


def _by_inputs(upstream: tf.Tensor, kernel: tf.Tensor, dilation: int) -> tf.Tensor:
    """Returns the gradient by the inputs."""
    batch, height, width, _ = shape_of(upstream)
    size, _, channels, _ = kernel.shape
    if size == 1:
        by_inputs = tf.matmul(pixels(upstream), tf.reshape(kernel, kernel.shape[2:]), transpose_b=True)
        return tf.reshape(by_inputs, [batch, height, width, channels])
    grids = _grids(upstream, dilation)
    by_inputs = tf.nn.conv2d_transpose(grids, kernel, [*shape_of(grids)[:3], channels], 1, "SAME")
    return _image_of_grids(by_inputs, height, width, dilation)


def _forward(inputs: tf.Tensor, kernel: tf.Tensor, offset: tf.Tensor | None, dilation: int) -> tf.Tensor:
    def with_offset(outputs):  # TensorFlow adds it in the same operation, if it comes right after the product
        return outputs if offset is None else tf.nn.bias_add(outputs, tf.cast(offset, outputs.dtype))

    def convolved(images):
        return with_offset(tf.nn.conv2d(images, kernel, 1, "SAME"))

    batch, height, width, channels = shape_of(inputs)
    size, _, _, filters = kernel.shape
    small = inputs.shape[1:3].is_fully_defined() and -(-height // dilation) * -(-width // dilation) < _GRIDS_FROM
    if size == 1 or (dilation > 1 and small):
        read = seen_by_taps(inputs, tap_offsets(size, dilation)[::-1])  # in the order of the taps
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


def _grids(images: tf.Tensor, dilation: int) -> tf.Tensor:
    """Returns a batch whose images hold every dilation-th pixel of every dilation-th row, one for each first pixel."""
    if dilation == 1:
        return images
    _, height, width, _ = shape_of(images)
    return tf.space_to_batch(images, [dilation] * 2, [[0, -height % dilation], [0, -width % dilation]])


def _image_of_grids(grids: tf.Tensor, height: Size, width: Size, dilation: int) -> tf.Tensor:
    if dilation == 1:
        return grids
    return tf.batch_to_space(grids, [dilation] * 2, [[0, -height % dilation], [0, -width % dilation]])


def _scaled(kernel: tf.Tensor, scale: tf.Tensor | None, dtype: tf.DType, after: tf.Tensor | None = None) -> tf.Tensor:
    """Scales the filters of a kernel, or of its gradient, in float32; casts; not before the tensor `after` is there.

    Without that order, a step would start with scaling, and keeping, the kernels of all layers.
    """
    with tf.control_dependencies([] if after is None else [after]):
        return tf.cast(kernel if scale is None else tf.cast(kernel, tf.float32) * scale, dtype)
