"""Patches of 4 pixels, then of 4 of those: maps at strides 4 and 16, of blocks whose sublayers share their names.

In training, each image's blocks are left out at random.
"""

import keras
import numpy as np
import tensorflow as tf

from fada_tf import randomness
from fada_tf.models.backbones.base import IMAGENET_RGB, Backbone, Maps

_CHANNELS = {4: 8, 16: 12}  # by stride
_KEPT = 0.7  # of the blocks


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """Two dense layers behind a layer norm, as in a transformer, without the attention."""

    def __init__(self, channels: int, seed: int, **options):
        super().__init__(**options)
        self.channels, self.seed = channels, seed
        self.norm = keras.layers.LayerNormalization(name="norm")
        self.inner = keras.layers.Dense(2 * channels, "gelu", name="inner", kernel_initializer=_uniform(seed))
        self.outer = keras.layers.Dense(channels, name="outer", kernel_initializer=_uniform(seed + 1))

    def get_config(self):
        return super().get_config() | {"channels": self.channels, "seed": self.seed}

    def build(self, input_shapes):
        input_shape = input_shapes[0]
        self.norm.build(input_shape)
        self.inner.build(input_shape)
        self.outer.build((*input_shape[:-1], 2 * self.channels))

    def call(self, inputs, training=False):
        images, draws = inputs
        outputs = self.outer(self.inner(self.norm(images)))
        if training:
            kept = randomness.uniform(self.seed, self.name, draws) < _KEPT
            outputs *= tf.cast(kept, outputs.dtype)[:, None, None, None] / _KEPT
        return images + outputs

    def compute_output_shape(self, input_shapes):
        return input_shapes[0]


def _uniform(seed: int) -> keras.Initializer:
    return keras.initializers.GlorotUniform(seed=seed)


def _maps(images: keras.KerasTensor, batch_norm: str, rng: np.random.Generator, draws: keras.KerasTensor) -> Maps:
    del batch_norm  # layer norms instead
    x, maps = images, {}
    for stride, channels in _CHANNELS.items():
        seed = int(rng.integers(2**31))
        x = keras.layers.Conv2D(
            channels, 4, 4, padding="same", kernel_initializer=_uniform(seed), name=f"patches{stride}"
        )(x)
        x = maps[stride] = Block(channels, seed + 1, name=f"block{stride}")([x, draws])
    return maps


VARIANTS = {
    "steps_small": Backbone(_maps, tuple(_CHANNELS), IMAGENET_RGB, draws=True, block_ends=r"block\d+"),
}
