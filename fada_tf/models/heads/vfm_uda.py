"""The light head of VFM-UDA, for the one map of a plain vision transformer (Englert et al., CVPR workshops 2024).

https://arxiv.org/abs/2406.09896. Layers as in the authors' code, where a GELU follows the first enlargement alone:
https://github.com/tue-mps/vfm-uda/blob/e154d8f/models/vit_variants/vit_lightweight_head.py#L36-L57
"""

from collections.abc import Mapping

import keras
import numpy as np

from fada_tf.models.heads.base import Head
from fada_tf.models.layers import convolution, torch_uniform
from fada_tf.models.transformer_layers import Gelu, LayerNorm

_EPSILON = 1e-6  # of layer norms
_STDDEV = 0.1  # of the last kernel's initial values


def _last_kernel(fan_in: int, seed: int) -> keras.Initializer:
    del fan_in
    return keras.initializers.RandomNormal(stddev=_STDDEV, seed=seed)


def _build(channels: Mapping[int, int], num_classes: int, batch_norm: str, rng: np.random.Generator) -> keras.Model:
    del batch_norm  # layer norms instead
    ((stride, count),) = channels.items()

    def enlarge(x, filters, name):
        # torch counts the fan in of a transposed convolution by its outputs.
        initializer = torch_uniform(4 * filters, int(rng.integers(2**31)))
        layer = keras.layers.Conv2DTranspose(
            filters, 2, 2, use_bias=False, kernel_initializer=initializer, name=f"{name}_conv"
        )
        return LayerNorm(_EPSILON, name=f"{name}_norm")(layer(x))

    features = keras.Input((None, None, count), name=f"map{stride}")
    x = enlarge(features, count // 2, "enlarge1")
    x = Gelu(name="gelu")(x)
    x = enlarge(x, count // 4, "enlarge2")
    x = convolution(x, count // 4, 3, kernel=torch_uniform, name="smooth_conv", rng=rng)
    x = LayerNorm(_EPSILON, name="smooth_norm")(x)
    x = convolution(x, num_classes, 1, kernel=_last_kernel, name="scores", rng=rng)
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model(features, logits, name="classifier")


VARIANTS = {"vfm_uda": Head(_build, upsampling=4, align_corners=False)}
