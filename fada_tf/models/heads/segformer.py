"""SegFormer's head of dense layers (Xie et al., NeurIPS 2021), for maps at strides 4, 8, 16 and 32.

Source: https://github.com/NVlabs/SegFormer/blob/65fa8cf/mmseg/models/decode_heads/segformer_head.py#L33-L89.
"""

import functools
from collections.abc import Mapping

import keras
import numpy as np

from fada_tf.models.head_layers import DROPOUT, ResizeLike, score_pixels
from fada_tf.models.heads.base import Head
from fada_tf.models.layers import batch_norm_layer, he_normal, torch_uniform
from fada_tf.models.transformer_layers import Dense

STRIDES = (4, 8, 16, 32)


def _build(
    channels: Mapping[int, int],
    num_classes: int,
    batch_norm: str,
    rng: np.random.Generator,
    *,
    width: int,
    dropout: float,
) -> keras.Model:
    def dense(x, name, kernel, bias):
        kernel_seed, bias_seed = rng.integers(2**31, size=2).tolist()
        fan_in = x.shape[-1]
        bias_initializer = bias and bias(fan_in, bias_seed)
        return Dense(
            width, kernel_initializer=kernel(fan_in, kernel_seed), bias_initializer=bias_initializer, name=name
        )(x)

    maps = [keras.Input((None, None, count), name=f"map{stride}") for stride, count in channels.items()]
    draws = keras.Input((), name="draws", dtype="int64")
    # The original enlarges the embedded maps, and multiplies all of them, side by side, by one matrix. Multiplied each
    # by its part of the matrix, before they are enlarged, they have the same sum, from a third of the products.
    parts = [
        dense(dense(x, f"embed{stride}", torch_uniform, torch_uniform), f"fuse{stride}", he_normal, None)
        for stride, x in zip(channels, maps, strict=True)
    ]
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
