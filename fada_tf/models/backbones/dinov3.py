"""DINOv3, vision transformers of patches of 16 pixels and four registers, whose positions are angles.

Siméoni et al., 2025, https://arxiv.org/abs/2508.10104. As in Hugging Face's Transformers, of which the numbers of a
network with drawn weights are the same (tests/goldens); published weights could not be had. The authors draw the scale
of positions at random in pretraining; here, in fine-tuning too, it stays as it is.
"""

import functools

from fada_tf.models.backbones.base import Backbone, Published
from fada_tf.models.vision_transformer import published_names, vision_transformer

_SIZES = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}  # channels, blocks, heads
_ATTENTION = "layer.#.attention"
_HUGGING_FACE = {
    "embeddings": ("embeddings.patch_embeddings",),
    "embeddings/class_token": ("embeddings.cls_token",),
    "embeddings/register_tokens": ("embeddings.register_tokens",),
    "block#/norm1": ("layer.#.norm1",),
    "block#/qkv": tuple(f"{_ATTENTION}.{part}_proj" for part in "qkv"),
    "block#/query_value_bias": tuple(f"{_ATTENTION}.{part}_proj.bias" for part in "qv"),
    "block#/projection": (f"{_ATTENTION}.o_proj",),
    "block#/scale1": ("layer.#.layer_scale1.lambda1",),
    "block#/norm2": ("layer.#.norm2",),
    "block#/inner": ("layer.#.mlp.up_proj",),
    "block#/outer": ("layer.#.mlp.down_proj",),
    "block#/scale2": ("layer.#.layer_scale2.lambda1",),
    "norm": ("norm",),
}
_PUBLISHED = Published(
    "Hugging Face",
    "DINOv3 License, Meta's own, on what they and models made of them may be used for: "
    "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
    functools.partial(published_names, _HUGGING_FACE),
    extra=("embeddings.mask_token",),
)


def dinov3(channels: int, blocks: int, heads: int) -> Backbone:
    """Returns a network of this kind.

    Args:
      channels: of a token.
      blocks: their number.
      heads: of each attention; four times their number divides the channels.
    """
    options = {"patch": 16, "registers": 4, "trained_grid": 0, "epsilon": 1e-5, "published": (_PUBLISHED,)}
    return vision_transformer(channels, blocks, heads, **options)


VARIANTS = {f"dinov3_{name}": dinov3(*size) for name, size in _SIZES.items()}
