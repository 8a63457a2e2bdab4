"""Plain networks: convolutions of stride 2, each followed by batch norm and a ReLU."""

import functools

import keras
import numpy as np

from fada_tf.models.backbones.base import IMAGENET_RGB, Backbone, Maps
from fada_tf.models.layers import normalized_convolution


def _maps(
    images: keras.KerasTensor, batch_norm: str, rng: np.random.Generator, *, filters: tuple[int, int, int]
) -> Maps:
    x, maps = images, {}
    for stage, channels in enumerate(filters):
        names = {"name": f"stage{stage}_conv", "norm_name": f"stage{stage}_bn"}
        x = normalized_convolution(x, channels, 3, stride=2, batch_norm=batch_norm, rng=rng, **names)
        x = maps[2 ** (stage + 1)] = keras.layers.ReLU(name=f"stage{stage}_relu")(x)
    return maps


def _plain(*filters: int) -> Backbone:
    return Backbone(functools.partial(_maps, filters=filters), (2, 4, 8), IMAGENET_RGB, block_ends=r"stage\d_relu")


VARIANTS = {"plain_small": _plain(16, 32, 64), "plain_large": _plain(32, 64, 128)}
