"""A small residual network for tests and demonstrations: with synchronized batch norm a CPU trains it from scratch."""

import keras
import numpy as np

from fada_tf.models.backbones.base import IMAGENET_RGB, Backbone, Maps
from fada_tf.models.layers import normalized_convolution

# By stage, each halving the resolution: filters, dilations of its residual blocks.
_STAGES = ((32, ()), (48, (1,)), (64, (1, 2, 4)))


def _maps(images: keras.KerasTensor, batch_norm: str, rng: np.random.Generator) -> Maps:
    def convolve(x, filters, stride, dilation, name):
        names = {"name": f"{name}_conv", "norm_name": f"{name}_bn"}
        return normalized_convolution(
            x, filters, 3, stride=stride, dilation=dilation, batch_norm=batch_norm, rng=rng, **names
        )

    x, maps = images, {}
    for stage, (filters, dilations) in enumerate(_STAGES):
        x = convolve(x, filters, 2, 1, f"stage{stage}_down")
        x = keras.layers.ReLU(name=f"stage{stage}_relu")(x)
        for block, dilation in enumerate(dilations):
            name = f"stage{stage}_{block}"
            residual = convolve(x, filters, 1, dilation, f"{name}_0")
            residual = keras.layers.ReLU(name=f"{name}_0_relu")(residual)
            residual = convolve(residual, filters, 1, dilation, f"{name}_1")
            x = keras.layers.Add(name=f"{name}_add")([x, residual])
            x = keras.layers.ReLU(name=f"{name}_relu")(x)
        maps[2 ** (stage + 1)] = x
    return maps


VARIANTS = {"tiny": Backbone(_maps, (2, 4, 8), IMAGENET_RGB, block_ends=r"stage\d(_\d)?_relu")}
