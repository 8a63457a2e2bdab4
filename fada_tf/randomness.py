"""Random numbers inside a training step, which depend on the seed, the purpose and the image's draw alone.

So a step gives the same whatever the number of replicas and of accumulated parts, and wherever a run was resumed.
"""

import zlib

import tensorflow as tf


def uniform(seed: int, purpose: str, draws: tf.Tensor, shape: tuple[int, ...] = ()) -> tf.Tensor:
    """Returns numbers for every image of a batch.

    Args:
      seed: of the run, at least 0.
      purpose: what the numbers are for; other purposes get others.
      draws: int64 [batch], each image's number among all that the run draws, the batch's "draw".
      shape: of the numbers of one image.

    Returns:
      float32 [batch, *shape], uniform in 0..1, 1 excluded.
    """
    of_purpose = (seed * 0x9E3779B1 + zlib.crc32(purpose.encode())) % 2**31

    def of_image(draw):
        # Devices and XLA would each choose an algorithm of their own.
        return tf.random.stateless_uniform(shape, tf.stack([tf.constant(of_purpose, tf.int64), draw]), alg="philox")

    return tf.map_fn(of_image, draws, fn_output_signature=tf.TensorSpec(shape, tf.float32))
