"""What heads of several maps share: maps of one size, dropout, and the scores of pixels."""

import keras
import numpy as np
import tensorflow as tf

from fada_tf import randomness
from fada_tf.models.layers import resize
from fada_tf.models.transformer_layers import Dense

# Of mmsegmentation's heads: https://github.com/open-mmlab/mmsegmentation/blob/v0.16.0/mmseg/models/decode_heads/decode_head.py#L46
DROPOUT = 0.1


@keras.saving.register_keras_serializable("fada_tf")
class ResizeLike(keras.layers.Layer):
    """Resizes a map bilinearly, with half-pixel centres, to the size of another one."""

    def compute_output_shape(self, input_shapes):
        """Returns the first map's channels at the second one's size."""
        resized, like = input_shapes
        return (*like[:3], resized[3])

    def call(self, inputs):
        """Returns the first of two maps [batch, height, width, channels] at the second one's size."""
        resized, like = inputs
        if resized is like:
            return resized
        size = [known or side for known, side in zip(like.shape, tf.unstack(tf.shape(like)), strict=True)][1:3]
        return tf.cast(resize(resized, size, align_corners=False), self.compute_dtype)


@keras.saving.register_keras_serializable("fada_tf")
class ChannelDropout(keras.layers.Layer):
    """Leaves whole channels of each image out in training, and enlarges the others, by numbers of the images' draws."""

    def __init__(self, rate: float, seed: int, **options):
        """Sets up the layer.

        Args:
          rate: the share of channels that is left out.
          seed: of the random numbers.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(**options)
        self.rate, self.seed = rate, seed

    def get_config(self):
        """Returns the arguments that make the layer again."""
        return super().get_config() | {"rate": self.rate, "seed": self.seed}

    def compute_output_shape(self, input_shapes):
        """Returns the shape of the features."""
        return input_shapes[0]

    def call(self, inputs, training=False):
        """Drops channels of features [batch, height, width, channels], by draws int64 [batch]."""
        features, draws = inputs
        if not training or not self.rate:
            return features
        kept = randomness.uniform(self.seed, self.name, draws, features.shape[-1:]) >= self.rate
        factors = tf.cast(kept, features.dtype) / tf.cast(1 - self.rate, features.dtype)
        return features * factors[:, tf.newaxis, tf.newaxis]


def score_pixels(
    features: keras.KerasTensor, draws: keras.KerasTensor, num_classes: int, dropout: float, rng: np.random.Generator
) -> keras.KerasTensor:
    """Applies dropout and the last dense layer, as mmsegmentation's heads do.

    Args:
      features: [batch, height, width, channels].
      draws: the images' draws, int64 [batch].
      num_classes: K.
      dropout: share of the channels that is left out in training.
      rng: source of seeds.

    Returns:
      float32 logits [batch, height, width, K].
    """
    dropout_seed, kernel_seed = rng.integers(2**31, size=2).tolist()
    features = ChannelDropout(dropout, dropout_seed, name="dropout")([features, draws])
    kernel = keras.initializers.RandomNormal(stddev=0.01, seed=kernel_seed)
    return Dense(num_classes, kernel_initializer=kernel, dtype="float32", name="scores")(features)
