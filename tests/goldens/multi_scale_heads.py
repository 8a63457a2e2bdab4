"""The heads of SegFormer and DAFormer with the weights of golden files, and results by the names of those files."""

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from fada_tf.losses.segmentation import cross_entropy
from fada_tf.models.heads.base import Head
from fada_tf.models.layers import resize
from fada_tf.models.weights import named_variables
from tests.goldens import recipe

STRIDES = (4, 8, 16, 32)
_VARIABLES = {
    "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip
_ASPP = "fuse_layer.aspp_modules"
# Our layers by theirs; `fuse...` of SegFormer are parts of one of theirs.
SEGFORMER = {f"embed{stride}": f"linear_c.{place}.proj" for place, stride in enumerate(STRIDES)} | {
    "fused_bn": "batch_norm",
    "scores": "classifier",
}
DAFORMER = {f"embed{stride}": f"embed_layers.{place}.proj" for place, stride in enumerate(STRIDES)} | {
    "aspp_1": f"{_ASPP}.0.conv",
    "aspp_1_bn": f"{_ASPP}.0.bn",
    "bottleneck": "fuse_layer.bottleneck.conv",
    "bottleneck_bn": "fuse_layer.bottleneck.bn",
    "scores": "conv_seg",
}
for _place, _dilation in enumerate((6, 12, 18), start=1):
    for _part in ("depthwise", "pointwise"):
        DAFORMER[f"aspp_{_dilation}_{_part}"] = f"{_ASPP}.{_place}.{_part}_conv.conv"
        DAFORMER[f"aspp_{_dilation}_{_part}_bn"] = f"{_ASPP}.{_place}.{_part}_conv.bn"
_FUSE = "linear_fuse.weight"


def build(head: Head, channels: Iterable[int], num_classes: int, seed: int, layers: dict[str, str]) -> keras.Model:
    """Returns the head with the weights of a golden file; its batch norm is an ordinary one."""
    by_stride = dict(zip(STRIDES, map(int, channels), strict=True))
    model = head.build(by_stride, num_classes, "synchronized", np.random.default_rng(0))
    width = model.get_layer("scores").kernel.shape[0]
    fuse = recipe.draw(_FUSE, (width, 4 * width, 1, 1), seed)[:, :, 0, 0].T
    parts = dict(zip(reversed(STRIDES), np.split(fuse, 4), strict=True))  # the deepest map's part is the first
    for path, variable in named_variables(model).items():
        layer, _, kind = path.rpartition("/")
        if layer.startswith("fuse") and kind == "kernel":
            variable.assign(parts[int(layer.removeprefix("fuse"))])
        else:
            name = f"{layers[layer]}.{_VARIABLES[kind]}"
            drawn = recipe.draw(name, _shape_of_torch(name, variable.shape), seed)
            variable.assign(_outputs_last(drawn).reshape(variable.shape))
    return model


def gradient_norms(model: keras.Model, gradients: dict[str, np.ndarray], layers: dict[str, str]) -> dict[str, float]:
    """Returns the L2 norms of a head's gradients, given by variable path, by the names of a golden file."""
    norms, fuse = {}, []
    for path in named_variables(model):
        if path in gradients:
            layer, _, kind = path.rpartition("/")
            norm = float(np.linalg.norm(np.ravel(gradients[path])))
            if layer in layers:
                norms[f"{layers[layer]}.{_VARIABLES[kind]}"] = norm
            else:
                fuse.append(norm)
    return norms | ({_FUSE: float(np.linalg.norm(fuse))} if fuse else {})


def loss(logits: tf.Tensor, labels: np.ndarray, denominator: float | None = None) -> tf.Tensor:
    """Returns the cross entropy of logits that are brought to the labels' size with half-pixel centres."""
    return cross_entropy(resize(logits, labels.shape[1:], align_corners=False), labels, denominator)


def _shape_of_torch(name: str, shape) -> tuple[int, ...]:
    if len(shape) == 4:
        return tuple(shape[axis] for axis in (3, 2, 0, 1))
    if len(shape) == 2:
        return (*reversed(shape), 1, 1) if name.startswith(("classifier", "conv_seg")) else tuple(reversed(shape))
    return tuple(shape)


def _outputs_last(array: np.ndarray) -> np.ndarray:
    return array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim, range(array.ndim)))
