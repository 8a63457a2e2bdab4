"""Takes the maps at strides 4 and 16, and gives logits at half an image's resolution."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from fada_tf.models.heads.base import Head


@keras.saving.register_keras_serializable("tests")
class AddResized(keras.layers.Layer):
    """Adds up two maps at the first one's size."""

    def call(self, maps):
        large, small = maps
        return large + tf.cast(tf.image.resize(small, tf.shape(large)[1:3]), large.dtype)


def _build(channels: Mapping[int, int], num_classes: int, batch_norm: str, rng: np.random.Generator) -> keras.Model:
    maps = [keras.Input((None, None, count), name=f"map{stride}") for stride, count in channels.items()]
    embedded = [
        keras.layers.Dense(8, kernel_initializer=_uniform(rng), name=f"embed{stride}")(each)
        for stride, each in zip(channels, maps, strict=True)
    ]
    x = AddResized(name="add")(embedded)
    x = keras.layers.Conv2DTranspose(
        num_classes, 2, 2, kernel_initializer=_uniform(rng), name="enlarge", dtype="float32"
    )(x)
    return keras.Model(maps, x, name="classifier")


def _uniform(rng: np.random.Generator) -> keras.Initializer:
    return keras.initializers.GlorotUniform(seed=int(rng.integers(2**31)))


VARIANTS = {"steps": Head(_build, strides=(4, 16), upsampling=2)}
