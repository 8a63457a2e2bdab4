"""Gaussian blur with a width of its own for every image."""

import math

import tensorflow as tf

LARGEST_SIGMA = 1.15  # pixels, DACS: https://arxiv.org/abs/2007.08702


def kernel_size(side: int) -> int:
    """Returns the length of the kernel along a side of so many pixels: a tenth, rounded up, or one less to be odd."""
    length = -(-side // 10)
    return length if length % 2 else length - 1


def gaussian_blur(images: tf.Tensor, sigmas: tf.Tensor, largest_sigma: float = LARGEST_SIGMA) -> tf.Tensor:
    """Blurs along both sides; the border is reflected, without the edge pixel itself.

    Args:
      images: float32 [batch, height, width, channels]; height and width are static.
      sigmas: float32 [batch], standard deviations in pixels; 0 leaves an image as it is.
      largest_sigma: no value of `sigmas` is above it.

    Returns:
      Images of the same shape and dtype.
    """
    for axis in (1, 2):
        # What lies farther away than seven deviations weighs less than a float32 can tell.
        radius = min(kernel_size(images.shape[axis]) // 2, math.ceil(7 * largest_sigma))
        images = _blurred(images, sigmas, axis, radius)
    return images


def _blurred(images: tf.Tensor, sigmas: tf.Tensor, axis: int, radius: int) -> tf.Tensor:
    distances = tf.range(-radius, radius + 1, dtype=tf.float32) / tf.maximum(sigmas, 1e-3)[:, None]
    weights = tf.exp(-0.5 * distances**2)
    weights = (weights / tf.reduce_sum(weights, axis=1, keepdims=True))[:, :, None, None, None]
    side = images.shape[axis]
    padded = tf.pad(images, [[radius, radius] if place == axis else [0, 0] for place in range(4)], mode="REFLECT")
    # Sums of products in float32, which a convolution or a matrix product on GPUs would round to TensorFloat-32.
    shifted = (padded[:, i : i + side] if axis == 1 else padded[:, :, i : i + side] for i in range(2 * radius + 1))
    return tf.add_n([weights[:, i] * pixels for i, pixels in enumerate(shifted)])
