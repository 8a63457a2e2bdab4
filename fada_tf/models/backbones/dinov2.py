"""DINOv2, vision transformers of patches of 14 pixels, with four registers or without.

Oquab et al., TMLR 2024, https://arxiv.org/abs/2304.07193; registers: Darcet et al., ICLR 2024,
https://arxiv.org/abs/2309.16588. Position embeddings are resized as Hugging Face's Transformers do, to the size of the
grid; the authors' program resizes them by a factor, (patches + 0.1) / 37, which gives slightly other ones.
"""

import functools

from fada_tf.models.backbones.base import Backbone, Published
from fada_tf.models.vision_transformer import published_names, vision_transformer

_REGISTERS = 4
_SIZES = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}  # channels, blocks, heads
_ATTENTION = "encoder.layer.#.attention"
_HUGGING_FACE = {
    "embeddings": ("embeddings.patch_embeddings.projection",),
    "embeddings/class_token": ("embeddings.cls_token",),
    "embeddings/position_embeddings": ("embeddings.position_embeddings",),
    "embeddings/register_tokens": ("embeddings.register_tokens",),
    "block#/norm1": ("encoder.layer.#.norm1",),
    "block#/qkv": tuple(f"{_ATTENTION}.attention.{part}" for part in ("query", "key", "value")),
    "block#/projection": (f"{_ATTENTION}.output.dense",),
    "block#/scale1": ("encoder.layer.#.layer_scale1.lambda1",),
    "block#/norm2": ("encoder.layer.#.norm2",),
    "block#/inner": ("encoder.layer.#.mlp.fc1",),
    "block#/outer": ("encoder.layer.#.mlp.fc2",),
    "block#/scale2": ("encoder.layer.#.layer_scale2.lambda1",),
    "norm": ("layernorm",),
}
_AUTHORS = {
    "embeddings": ("patch_embed.proj",),
    "embeddings/class_token": ("cls_token",),
    "embeddings/position_embeddings": ("pos_embed",),
    "embeddings/register_tokens": ("register_tokens",),
    "block#/norm1": ("blocks.#.norm1",),
    "block#/qkv": ("blocks.#.attn.qkv",),
    "block#/projection": ("blocks.#.attn.proj",),
    "block#/scale1": ("blocks.#.ls1.gamma",),
    "block#/norm2": ("blocks.#.norm2",),
    "block#/inner": ("blocks.#.mlp.fc1",),
    "block#/outer": ("blocks.#.mlp.fc2",),
    "block#/scale2": ("blocks.#.ls2.gamma",),
    "norm": ("norm",),
}

_LICENSE = "Apache-2.0"
_PUBLISHED = (
    Published(
        "Hugging Face",
        _LICENSE,
        functools.partial(published_names, _HUGGING_FACE),
        extra=("embeddings.mask_token",),
        prefixes=("dinov2.", "dinov2_with_registers."),
    ),
    Published("its authors", _LICENSE, functools.partial(published_names, _AUTHORS), extra=("mask_token",)),
)


def dinov2(channels: int, blocks: int, heads: int, *, registers: int = 0) -> Backbone:
    """Returns a network of this kind.

    Args:
      channels: of a token.
      blocks: their number.
      heads: of each attention; they divide the channels.
      registers: tokens beside the class and the patches.
    """
    # The pretraining's last images had 518 pixels a side.
    options = {"patch": 14, "trained_grid": 518 // 14, "epsilon": 1e-6, "published": _PUBLISHED}
    return vision_transformer(channels, blocks, heads, registers=registers, **options)


VARIANTS = {
    f"dinov2_{name}{suffix}": dinov2(*size, registers=registers)
    for name, size in _SIZES.items()
    for suffix, registers in (("", 0), ("_registers", _REGISTERS))
}
