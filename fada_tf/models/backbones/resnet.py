"""ResNet-50 and ResNet-101 of torchvision at output stride 8 (stride on the 3x3; stages 3 and 4 dilated by 2 and 4)."""

import functools

import keras
import numpy as np

from fada_tf.models.backbones.base import IMAGENET_RGB, Backbone
from fada_tf.models.layers import batch_norm as normalize
from fada_tf.models.layers import convolution

_EXPANSION = 4  # of the last convolution of a bottleneck block
# By stage: filters, stride, dilation of the first block, dilation of the others.
_STAGES = ((64, 1, 1, 1), (128, 2, 1, 1), (256, 1, 1, 2), (512, 1, 2, 4))
_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}  # by stage


def _build(variant: str, batch_norm: str, rng: np.random.Generator) -> keras.Model:
    images = keras.Input((None, None, 3), name="images")
    x = convolution(images, 64, 7, stride=2, name="conv1", rng=rng)
    x = normalize(x, batch_norm, name="bn1")
    x = keras.layers.ReLU(name="relu")(x)
    # After a ReLU, padding with zeros is padding with minus infinity.
    x = keras.layers.ZeroPadding2D(1, name="maxpool_pad")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="maxpool")(x)
    for stage, (filters, stride, first_dilation, dilation) in enumerate(_STAGES, start=1):
        for block in range(_BLOCKS[variant][stage - 1]):
            first = block == 0
            x = _bottleneck(
                x,
                filters,
                stride if first else 1,
                first_dilation if first else dilation,
                project=first,
                batch_norm=batch_norm,
                name=f"layer{stage}_{block}",
                rng=rng,
            )
    return keras.Model(images, x, name=variant)


def _bottleneck(x, filters, stride, dilation, *, project: bool, batch_norm: str, name: str, rng: np.random.Generator):
    """Applies 1x1, 3x3 and 1x1 convolutions, each normalised, and adds the input, projected where its shape differs."""
    shortcut = x
    if project:
        shortcut = convolution(x, _EXPANSION * filters, 1, stride=stride, name=f"{name}_downsample_0", rng=rng)
        shortcut = normalize(shortcut, batch_norm, name=f"{name}_downsample_1")
    x = convolution(x, filters, 1, name=f"{name}_conv1", rng=rng)
    x = normalize(x, batch_norm, name=f"{name}_bn1")
    x = keras.layers.ReLU(name=f"{name}_relu1")(x)
    x = convolution(x, filters, 3, stride=stride, dilation=dilation, name=f"{name}_conv2", rng=rng)
    x = normalize(x, batch_norm, name=f"{name}_bn2")
    x = keras.layers.ReLU(name=f"{name}_relu2")(x)
    x = convolution(x, _EXPANSION * filters, 1, name=f"{name}_conv3", rng=rng)
    x = normalize(x, batch_norm, name=f"{name}_bn3")
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu3")(x)


VARIANTS = {name: Backbone(functools.partial(_build, name), IMAGENET_RGB) for name in _BLOCKS}
