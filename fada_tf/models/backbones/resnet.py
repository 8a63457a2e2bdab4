"""ResNet-50 and ResNet-101 of torchvision at output stride 8 (stride on the 3x3; stages 3 and 4 dilated by 2 and 4).

The authors' copy of torchvision's file: https://github.com/JDAI-CV/FADA/blob/a1c6403/core/models/resnet.py#L73-L259.
"""

import functools

import keras
import numpy as np

from fada_tf.models.backbones.base import IMAGENET_RGB, Backbone, Maps
from fada_tf.models.layers import normalized_convolution

_EXPANSION = 4  # of the last convolution of a bottleneck block
# By stage: filters, stride, dilation of the first block, dilation of the others. Strides give way to dilations as in
# https://github.com/JDAI-CV/FADA/blob/a1c6403/core/models/feature_extractor.py#L42
_STAGES = ((64, 1, 1, 1), (128, 2, 1, 1), (256, 1, 1, 2), (512, 1, 2, 4))
_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}  # by stage


def _maps(variant: str, images: keras.KerasTensor, batch_norm: str, rng: np.random.Generator) -> Maps:
    maps, total_stride = {}, 4  # of the convolution and the pooling before the stages
    x = normalized_convolution(images, 64, 7, stride=2, batch_norm=batch_norm, name="conv1", norm_name="bn1", rng=rng)
    x = keras.layers.ReLU(name="relu")(x)
    # After a ReLU, padding with zeros is padding with minus infinity.
    x = keras.layers.ZeroPadding2D(1, name="maxpool_pad")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="maxpool")(x)
    for stage, (filters, stride, first_dilation, dilation) in enumerate(_STAGES, start=1):
        total_stride *= stride
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
        maps[total_stride] = x
    return maps


def _bottleneck(x, filters, stride, dilation, *, project: bool, batch_norm: str, name: str, rng: np.random.Generator):
    """Applies 1x1, 3x3 and 1x1 convolutions, each normalised, and adds the input, projected where its shape differs."""

    def convolve(x, filters, size, convolution_name, norm_name, **options):
        names = {"name": f"{name}_{convolution_name}", "norm_name": f"{name}_{norm_name}"}
        return normalized_convolution(x, filters, size, batch_norm=batch_norm, rng=rng, **names, **options)

    shortcut = x
    if project:
        shortcut = convolve(x, _EXPANSION * filters, 1, "downsample_0", "downsample_1", stride=stride)
    x = convolve(x, filters, 1, "conv1", "bn1")
    x = keras.layers.ReLU(name=f"{name}_relu1")(x)
    x = convolve(x, filters, 3, "conv2", "bn2", stride=stride, dilation=dilation)
    x = keras.layers.ReLU(name=f"{name}_relu2")(x)
    x = convolve(x, _EXPANSION * filters, 1, "conv3", "bn3")
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu3")(x)


VARIANTS = {
    name: Backbone(functools.partial(_maps, name), (4, 8), IMAGENET_RGB, block_ends=r"maxpool|layer\d_\d+_relu3")
    for name in _BLOCKS
}
