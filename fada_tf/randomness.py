"""Random numbers inside a training step, which depend on the seed, the purpose and the image's draw alone.

So a step gives the same whatever the number of replicas and of accumulated parts, and wherever a run was resumed.
TensorFlow's stateless numbers are others under XLA, for one seed and one algorithm; these are a hash of integers.
"""

import math
import zlib

import tensorflow as tf

_WORD = 2**32 - 1


def uniform(seed: int, purpose: str, draws: tf.Tensor, shape: tuple[int, ...] = ()) -> tf.Tensor:
    """Returns numbers for every image of a batch.

    Args:
      seed: of the run, at least 0.
      purpose: what the numbers are for; other purposes get others.
      draws: int64 [batch], a batch's "draw"; that of the i-th image is the same in all domains, so purposes differ.
      shape: of the numbers of one image.

    Returns:
      float32 [batch, *shape], uniform in 0..1, 1 excluded: multiples of 2^-24.
    """
    key = _mixed(tf.constant(zlib.crc32(f"{seed} {purpose}".encode()), tf.int64))
    key = _mixed(_mixed(key ^ (draws & _WORD)) ^ _shifted(draws, 32))
    places = tf.range(math.prod(shape), dtype=tf.int64)
    words = _mixed(_mixed(places)[None] ^ key[:, None])
    return tf.reshape(tf.cast(_shifted(words, 8), tf.float32) * 2.0**-24, [-1, *shape])


def _mixed(words: tf.Tensor) -> tf.Tensor:
    """Mixes the bits of int64 values in 0..2^32 - 1 within that range.

    Source: the constants of the finalizer of MurmurHash3, 32 bits,
    https://github.com/aappleby/smhasher/blob/cf7df9566ed7d88369adcc13983e090eac116d9b/src/MurmurHash3.cpp#L68
    """
    words = words ^ _shifted(words, 16)
    words = words * 0x85EBCA6B & _WORD
    words = words ^ _shifted(words, 13)
    words = words * 0xC2B2AE35 & _WORD
    return words ^ _shifted(words, 16)


def _shifted(words: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(words, tf.constant(bits, words.dtype))
