"""VGG-16 at output stride 8: no pool4 and pool5, dilated conv5, fc6 and fc7 as dilated 3x3 convolutions.

Source: https://github.com/JDAI-CV/FADA/blob/a1c6403/core/models/feature_extractor.py#L16-L24.
"""

import keras
import numpy as np

from fada_tf.errors import InputError
from fada_tf.models.backbones.base import Backbone, Maps, Normalization
from fada_tf.models.layers import convolution, torch_uniform, zeros

# By block: filters, number of convolutions, dilation, whether a pooling follows.
_BLOCKS = ((64, 2, 1, True), (128, 2, 1, True), (256, 3, 1, True), (512, 3, 1, False), (512, 3, 2, False))
_FC_FILTERS, _FC_DILATION = 1024, 4


def _maps(images: keras.KerasTensor, batch_norm: str, rng: np.random.Generator) -> Maps:
    if batch_norm != "frozen":
        raise InputError(f"config.model.batch_norm is {batch_norm!r}, and VGG-16 has no batch norm: leave it 'frozen'")
    x, maps, stride = images, {}, 1
    for block, (filters, convolutions, dilation, pool) in enumerate(_BLOCKS, start=1):
        for index in range(1, convolutions + 1):
            name = f"block{block}_conv{index}"
            x = convolution(x, filters, 3, dilation=dilation, bias=zeros, name=name, rng=rng)
            x = keras.layers.ReLU(name=f"{name}_relu")(x)
        if pool:
            maps[stride], stride = x, 2 * stride
            x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    for name in ("fc6", "fc7"):
        x = convolution(
            x, _FC_FILTERS, 3, dilation=_FC_DILATION, kernel=torch_uniform, bias=torch_uniform, name=name, rng=rng
        )
        x = keras.layers.ReLU(name=f"{name}_relu")(x)
    return maps | {stride: x}


def _imagenet_weights() -> dict[str, np.ndarray]:
    """Returns the 13 convolutions of keras.applications.VGG16, which were converted from Caffe's."""
    model = keras.applications.VGG16(weights="imagenet", include_top=False)
    return {weight.path: np.asarray(weight) for weight in model.weights}


# The order of channels and the means are those of Caffe's weights:
# https://github.com/JDAI-CV/FADA/blob/a1c6403/configs/deeplabv2_vgg16_src.yaml#L11-L13
VARIANTS = {
    "vgg16": Backbone(
        _maps,
        (1, 2, 4, 8),
        Normalization("BGR", 1.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0)),
        fresh_layers=("fc6", "fc7"),
        imagenet_weights=_imagenet_weights,
        minimum_size=8,  # three poolings
        block_ends=r"block\d_pool|block\d_conv3_relu|fc6_relu",
    )
}
