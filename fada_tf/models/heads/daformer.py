"""DAFormer's head: separable atrous pooling over maps of all strides (Hoyer et al., CVPR 2022).

Source: https://github.com/lhoyer/DAFormer/blob/e6f6e04/mmseg/models/decode_heads/daformer_head.py#L85-L188, with the
options of https://github.com/lhoyer/DAFormer/blob/e6f6e04/configs/_base_/models/daformer_sepaspp_mitb5.py#L16-L37.
"""

import functools
from collections.abc import Mapping

import keras
import numpy as np

from fada_tf.models.depthwise import normalized_depthwise_convolution
from fada_tf.models.head_layers import DROPOUT, ResizeLike, score_pixels
from fada_tf.models.heads.base import Head
from fada_tf.models.layers import normalized_convolution, torch_uniform
from fada_tf.models.transformer_layers import Dense

DILATIONS = (6, 12, 18)
_EPSILON = 1e-5  # of batch norms


def _build(
    channels: Mapping[int, int],
    num_classes: int,
    batch_norm: str,
    rng: np.random.Generator,
    *,
    width: int,
    dropout: float,
) -> keras.Model:
    def embed(x, name):
        kernel_seed, bias_seed = rng.integers(2**31, size=2).tolist()
        fan_in = x.shape[-1]
        initializers = torch_uniform(fan_in, kernel_seed), torch_uniform(fan_in, bias_seed)
        return Dense(width, kernel_initializer=initializers[0], bias_initializer=initializers[1], name=name)(x)

    def convolve(x, size, name):
        options = {"batch_norm": batch_norm, "epsilon": _EPSILON, "name": name, "norm_name": f"{name}_bn"}
        return keras.layers.ReLU(name=f"{name}_relu")(normalized_convolution(x, width, size, rng=rng, **options))

    def convolve_apart(x, dilation, name):
        names = {"name": f"{name}_depthwise", "norm_name": f"{name}_depthwise_bn"}
        options = {"dilation": dilation, "batch_norm": batch_norm, "epsilon": _EPSILON, "rng": rng}
        x = normalized_depthwise_convolution(x, 3, **names, **options)
        x = keras.layers.ReLU(name=f"{name}_depthwise_relu")(x)
        return convolve(x, 1, f"{name}_pointwise")

    maps = [keras.Input((None, None, count), name=f"map{stride}") for stride, count in channels.items()]
    draws = keras.Input((), name="draws", dtype="int64")
    embedded = [embed(x, f"embed{stride}") for stride, x in zip(channels, maps, strict=True)]
    resized = zip(channels, embedded, strict=True)
    x = keras.layers.Concatenate(name="embedded")(
        [ResizeLike(name=f"enlarge{stride}")([x, embedded[0]]) for stride, x in resized]
    )
    branches = [convolve(x, 1, "aspp_1"), *(convolve_apart(x, dilation, f"aspp_{dilation}") for dilation in DILATIONS)]
    x = convolve(keras.layers.Concatenate(name="branches")(branches), 3, "bottleneck")
    return keras.Model([*maps, draws], score_pixels(x, draws, num_classes, dropout, rng), name="classifier")


def daformer(width: int, *, dropout: float = DROPOUT) -> Head:
    """Returns the head whose embeddings have `width` channels."""
    build = functools.partial(_build, width=width, dropout=dropout)
    return Head(build, (4, 8, 16, 32), draws=True, align_corners=False)


VARIANTS = {"daformer": daformer(256)}
