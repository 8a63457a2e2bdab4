"""Fourier domain adaptation: source images with the low frequencies' amplitudes of target images.

Source: https://arxiv.org/abs/2004.05498.
"""

import math

import numpy as np
import tensorflow as tf


def swap_amplitudes(source: tf.Tensor, target: tf.Tensor, beta: float) -> tf.Tensor:
    """Gives source images the amplitudes of target images at frequencies up to floor(beta * shorter side), either way.

    Phases stay. At the least the means of the channels are swapped, which are the amplitudes at frequency 0.

    Args:
      source: [batch, height, width, channels], any number type, in 0..255; height and width are static.
      target: the same shape; the i-th image goes with the i-th of `source`.
      beta: at least 0 and below 0.5; the authors take 0.01 to 0.09.

    Returns:
      float32 [batch, height, width, channels], not clipped: some values lie outside of 0..255.

    Raises:
      ValueError: source and target differ in size.
    """
    height, width = size = tuple(source.shape[1:3])
    if size != (other := tuple(target.shape[1:3])):
        raise ValueError(f"source images are {size[0]} x {size[1]} pixels, target images {other[0]} x {other[1]}")
    limit = math.floor(beta * min(size))
    # Half of the columns: the others' values are the conjugates, as images are real.
    rows, columns = np.abs(np.fft.fftfreq(height, 1 / height)), np.arange(width // 2 + 1)
    low = (rows <= limit)[:, None] & (columns <= limit)
    ours, theirs = (_spectrum(images) for images in (source, target))
    amplitudes, phases = tf.abs(theirs), tf.math.angle(ours)
    swapped = tf.complex(amplitudes * tf.cos(phases), amplitudes * tf.sin(phases))
    return tf.transpose(tf.signal.irfft2d(tf.where(low, swapped, ours), size), [0, 2, 3, 1])


def _spectrum(images: tf.Tensor) -> tf.Tensor:
    """Returns complex64 [batch, channels, height, width // 2 + 1]."""
    return tf.signal.rfft2d(tf.transpose(tf.cast(images, tf.float32), [0, 3, 1, 2]))
