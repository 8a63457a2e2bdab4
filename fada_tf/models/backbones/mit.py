"""Mix Transformers B0 to B5, SegFormer's backbones (Xie et al., NeurIPS 2021): maps at strides 4, 8, 16 and 32.

The original: https://github.com/NVlabs/SegFormer/blob/65fa8cf/mmseg/models/backbones/mix_transformer.py. Its layer
norms have an epsilon of 1e-6 in blocks and after stages, and of 1e-5 elsewhere. Here it is 1e-5 everywhere, as in
Hugging Face's Transformers: maps of the same weights differ by less than 1e-5 of their size.
"""

import functools
import itertools
import re

import keras
import numpy as np

from fada_tf.models.backbones.base import IMAGENET_RGB, TORCH_VARIABLES, Backbone, Maps, Published
from fada_tf.models.depthwise import depthwise_convolution
from fada_tf.models.layers import convolution, he_normal, torch_uniform, zeros
from fada_tf.models.transformer_layers import Attention, Dense, DropPath, Gelu, LayerNorm

# By stage.
_PATCHES = ((7, 4), (3, 2), (3, 2), (3, 2))  # kernel and stride of the patch embedding
_HEADS = (1, 2, 5, 8)
_REDUCTIONS = (8, 4, 2, 1)  # of the sides of the map of keys and values
_SMALL, _WIDE = (32, 64, 160, 256), (64, 128, 320, 512)  # channels
_EXPANSION = 4  # of the channels inside a feed-forward network
_DROP_PATH = 0.1  # rate of the last block; it grows from 0 by equal steps


def _maps(
    images: keras.KerasTensor,
    batch_norm: str,
    rng: np.random.Generator,
    draws: keras.KerasTensor,
    lora_rank: int = 0,
    *,
    channels: tuple[int, ...],
    blocks: tuple[int, ...],
) -> Maps:
    del batch_norm  # it has layer norms alone
    x, maps, total_stride = images, {}, 1
    rates = iter(np.linspace(0, _DROP_PATH, sum(blocks)).tolist())
    for stage, ((size, stride), heads, reduction) in enumerate(zip(_PATCHES, _HEADS, _REDUCTIONS, strict=True)):
        number, total_stride = stage + 1, total_stride * stride
        # The authors' biases begin as zeros. With them hidden pixels, which are 0, stay near 0 in every block, where
        # each layer norm multiplies gradients by up to 1 / sqrt(epsilon): those of masked images become infinite.
        options = {"stride": stride, "bias": torch_uniform, "name": f"patches{number}"}
        x = convolution(x, channels[stage], size, rng=rng, **options)
        x = LayerNorm(name=f"patches{number}_norm")(x)
        for block, rate in enumerate(itertools.islice(rates, blocks[stage])):
            name = f"block{number}_{block}"
            dropped = functools.partial(_add, draws=draws, rate=rate, rng=rng)
            attended = _attend(x, heads, reduction, name=name, rng=rng, lora_rank=lora_rank)
            x = dropped(x, attended, name=f"{name}_attended")
            x = dropped(x, _feed_forward(x, name=name, rng=rng), name=f"{name}_end")
        x = maps[total_stride] = LayerNorm(name=f"norm{number}")(x)
    return maps


def _add(x, branch, *, draws: keras.KerasTensor, rate: float, name: str, rng: np.random.Generator):
    branch = DropPath(rate, int(rng.integers(2**31)), name=f"{name}_drop")([branch, draws])
    return keras.layers.Add(name=name)([x, branch])


def _attend(x, heads: int, reduction: int, *, name: str, rng: np.random.Generator, lora_rank: int):
    """Attends to a map of keys and values whose sides are `reduction` times smaller."""
    channels = x.shape[-1]
    x = seen = LayerNorm(name=f"{name}_norm1")(x)
    if reduction > 1:
        kernel = he_normal(0, int(rng.integers(2**31)))
        seen = Dense(channels, cell=reduction, kernel_initializer=kernel, name=f"{name}_reduction")(seen)
        seen = LayerNorm(name=f"{name}_reduction_norm")(seen)
    queries = _dense(x, channels, f"{name}_query", rng, lora_rank)
    keys_and_values = _dense(seen, 2 * channels, f"{name}_key_value", rng, lora_rank)
    x = Attention(heads, name=f"{name}_attention")([queries, keys_and_values])
    return _dense(x, channels, f"{name}_output", rng, lora_rank)


def _feed_forward(x, *, name: str, rng: np.random.Generator):
    """Applies Mix-FFN: by a depthwise 3x3 convolution between its dense layers, pixels know where they are."""
    channels = x.shape[-1]
    x = LayerNorm(name=f"{name}_norm2")(x)
    x = _dense(x, _EXPANSION * channels, f"{name}_expansion", rng)
    x = depthwise_convolution(x, 3, bias=zeros, name=f"{name}_depthwise", rng=rng)
    x = Gelu(name=f"{name}_gelu")(x)
    return _dense(x, channels, f"{name}_projection", rng)


def _dense(x, units: int, name: str, rng: np.random.Generator, lora_rank: int = 0):
    seed = int(rng.integers(2**31))
    kernel = keras.initializers.RandomNormal(stddev=0.02, seed=seed)
    return Dense(units, kernel_initializer=kernel, lora_rank=lora_rank, lora_seed=seed + 1, name=name)(x)


_ATTENTION = "encoder.block.{index}.{block}.attention"
_HUGGING_FACE = {
    "patches": ("encoder.patch_embeddings.{index}.proj",),
    "patches_norm": ("encoder.patch_embeddings.{index}.layer_norm",),
    "block_norm1": ("encoder.block.{index}.{block}.layer_norm_1",),
    "block_query": (f"{_ATTENTION}.self.query",),
    "block_key_value": (f"{_ATTENTION}.self.key", f"{_ATTENTION}.self.value"),
    "block_output": (f"{_ATTENTION}.output.dense",),
    "block_reduction": (f"{_ATTENTION}.self.sr",),
    "block_reduction_norm": (f"{_ATTENTION}.self.layer_norm",),
    "block_norm2": ("encoder.block.{index}.{block}.layer_norm_2",),
    "block_expansion": ("encoder.block.{index}.{block}.mlp.dense1",),
    "block_depthwise": ("encoder.block.{index}.{block}.mlp.dwconv.dwconv",),
    "block_projection": ("encoder.block.{index}.{block}.mlp.dense2",),
    "norm": ("encoder.layer_norm.{index}",),
}
_AUTHORS = {
    "patches": ("patch_embed{stage}.proj",),
    "patches_norm": ("patch_embed{stage}.norm",),
    "block_norm1": ("block{stage}.{block}.norm1",),
    "block_query": ("block{stage}.{block}.attn.q",),
    "block_key_value": ("block{stage}.{block}.attn.kv",),
    "block_output": ("block{stage}.{block}.attn.proj",),
    "block_reduction": ("block{stage}.{block}.attn.sr",),
    "block_reduction_norm": ("block{stage}.{block}.attn.norm",),
    "block_norm2": ("block{stage}.{block}.norm2",),
    "block_expansion": ("block{stage}.{block}.mlp.fc1",),
    "block_depthwise": ("block{stage}.{block}.mlp.dwconv.dwconv",),
    "block_projection": ("block{stage}.{block}.mlp.fc2",),
    "norm": ("norm{stage}",),
}


def _names(table: dict[str, tuple[str, ...]], path: str) -> tuple[str, ...]:
    """Returns what a table of layers calls a weight; theirs count stages from 0 or, as here, from 1."""
    layer, _, variable = path.rpartition("/")
    kind, stage, block, part = re.fullmatch(r"([a-z]+)(\d)(?:_(\d+))?((?:_[a-z_]+\d?)?)", layer).groups()
    places = {"index": int(stage) - 1, "stage": stage, "block": block}
    return tuple(f"{name.format(**places)}.{TORCH_VARIABLES[variable]}" for name in table[kind + part])


_LICENSE = "NVIDIA Source Code License for SegFormer: non-commercial use, for research or evaluation, alone"
_PUBLISHED = (
    Published(
        "Hugging Face",
        _LICENSE,
        functools.partial(_names, _HUGGING_FACE),
        extra=("classifier.weight", "classifier.bias"),
        prefixes=("segformer.",),
    ),
    Published(
        "NVlabs",
        _LICENSE,
        functools.partial(_names, _AUTHORS),
        extra=("head.weight", "head.bias"),
        prefixes=("backbone.",),
    ),
)


def mix_transformer(channels: tuple[int, ...], *blocks: int) -> Backbone:
    """Returns the backbone of so many channels and blocks by stage."""
    maps = functools.partial(_maps, channels=channels, blocks=blocks)
    options = {"draws": True, "block_ends": r"block\d_\d+_end", "published": _PUBLISHED, "lora": True}
    return Backbone(maps, (4, 8, 16, 32), IMAGENET_RGB, **options)


VARIANTS = {
    "mit_b0": mix_transformer(_SMALL, 2, 2, 2, 2),
    "mit_b1": mix_transformer(_WIDE, 2, 2, 2, 2),
    "mit_b2": mix_transformer(_WIDE, 3, 4, 6, 3),
    "mit_b3": mix_transformer(_WIDE, 3, 4, 18, 3),
    "mit_b4": mix_transformer(_WIDE, 3, 8, 27, 3),
    "mit_b5": mix_transformer(_WIDE, 3, 6, 40, 3),
}
