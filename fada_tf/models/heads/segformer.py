"""SegFormer's head of dense layers (Xie et al., NeurIPS 2021), for maps at strides 4, 8, 16 and 32.

Source: https://github.com/NVlabs/SegFormer/blob/65fa8cf/mmseg/models/decode_heads/segformer_head.py#L33-L89.
"""

import functools
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from fada_tf.models.head_layers import DROPOUT, ResizeLike, score_pixels
from fada_tf.models.heads.base import Head
from fada_tf.models.layers import batch_norm_layer, he_normal, torch_uniform
from fada_tf.models.transformer_layers import Dense, multiply

STRIDES = (4, 8, 16, 32)


@keras.saving.register_keras_serializable("fada_tf")
class _Embed(Dense):
    """The first of two products, which is left to the second one."""

    def compute_output_shape(self, input_shape):
        """Returns the shapes of `call`'s results."""
        return input_shape, (input_shape[-1], self.units), (self.units,)

    def call(self, inputs):
        """Returns what comes in, and the float32 kernel and bias that it should be multiplied by."""
        return inputs, tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)


@keras.saving.register_keras_serializable("fada_tf")
class _Fuse(Dense):
    """The second of two products: one, by the product of their matrices."""

    def __init__(self, units: int, **options):
        """Sets up the layer; for the arguments see `Dense`."""
        super().__init__(units, **options | {"autocast": False})

    def build(self, input_shapes):
        """Makes the kernel, of as many rows as the first one has columns."""
        super().build(input_shapes[1])

    def compute_output_shape(self, input_shapes):
        """Returns the shape of `call`'s result."""
        return super().compute_output_shape(input_shapes[0])

    def call(self, inputs):
        """Multiplies [batch, height, width, channels] by both matrices, in whose product nothing is rounded."""
        x, kernel, bias = inputs
        own = tf.convert_to_tensor(self.kernel)
        return multiply(x, tf.matmul(kernel, own), tf.matmul(bias[tf.newaxis], own)[0])


def _build(
    channels: Mapping[int, int],
    num_classes: int,
    batch_norm: str,
    rng: np.random.Generator,
    *,
    width: int,
    dropout: float,
) -> keras.Model:
    def fused(x, stride):
        kernel_seed, bias_seed = rng.integers(2**31, size=2).tolist()
        embed = _Embed(
            width,
            kernel_initializer=torch_uniform(x.shape[-1], kernel_seed),
            bias_initializer=torch_uniform(x.shape[-1], bias_seed),
            name=f"embed{stride}",
        )
        kernel_seed, _ = rng.integers(2**31, size=2).tolist()
        kernel = he_normal(width, kernel_seed)
        return _Fuse(width, kernel_initializer=kernel, bias_initializer=None, name=f"fuse{stride}")(embed(x))

    maps = [keras.Input((None, None, count), name=f"map{stride}") for stride, count in channels.items()]
    draws = keras.Input((), name="draws", dtype="int64")
    # The original enlarges the embedded maps, and multiplies all of them, side by side, by one matrix. Multiplied each
    # by its part of the matrix, before they are enlarged, they have the same sum, from a third of the products. The two
    # matrices of a map are multiplied first: the large maps have few channels.
    parts = [fused(x, stride) for stride, x in zip(channels, maps, strict=True)]
    enlarged = [ResizeLike(name=f"enlarge{stride}")([x, parts[0]]) for stride, x in zip(channels, parts, strict=True)]
    x = keras.layers.Add(name="fused")(enlarged)
    x = batch_norm_layer(batch_norm, "fused_bn", epsilon=1e-5)(x)
    x = keras.layers.ReLU(name="fused_relu")(x)
    return keras.Model([*maps, draws], score_pixels(x, draws, num_classes, dropout, rng), name="classifier")


def segformer(width: int, *, dropout: float = DROPOUT) -> Head:
    """Returns the head whose embeddings have `width` channels: 256 in SegFormer-B0 and B1, and 768 in B2 to B5."""
    build = functools.partial(_build, width=width, dropout=dropout)
    return Head(build, STRIDES, draws=True, align_corners=False)


VARIANTS = {"segformer": segformer(256), "segformer_768": segformer(768)}
