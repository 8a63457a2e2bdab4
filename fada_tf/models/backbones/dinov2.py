"""DINOv2, vision transformers of patches of 14 pixels, with four registers or without.

Oquab et al., TMLR 2024, https://arxiv.org/abs/2304.07193; registers: Darcet et al., ICLR 2024,
https://arxiv.org/abs/2309.16588. Position embeddings are resized as Hugging Face's Transformers do, to the size of the
grid; the authors' program resizes them by a factor, (patches + 0.1) / 37, which gives slightly other ones.
"""

import functools
import re

import keras
import numpy as np
import tensorflow as tf

from fada_tf.convolutions.places import shape_of
from fada_tf.models.backbones.base import IMAGENET_RGB, Backbone, Maps, Published
from fada_tf.models.transformer_block import Block, float32_norm

_PATCH = 14  # pixels
_TRAINED_GRID = 37  # patches a side of the pretraining's last images, of 518 pixels
_REGISTERS = 4
_SIZES = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}  # channels, blocks, heads
_EPSILON = 1e-6  # of layer norms
_VARIABLES = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
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


def _names(table: dict[str, tuple[str, ...]], path: str) -> tuple[str, ...]:
    """Returns what a table of layers, and of weights that have names of their own, calls a weight."""
    number = "".join(re.findall(r"^block(\d+)", path))
    path = re.sub(r"^block\d+", "block#", path)
    layer, _, variable = path.rpartition("/")
    own = table.get(path)
    names = own or tuple(f"{name}.{_VARIABLES[variable]}" for name in table[layer])
    return tuple(name.replace("#", number) for name in names)


_LICENSE = "Apache-2.0"
_PUBLISHED = (
    Published(
        "Hugging Face",
        _LICENSE,
        functools.partial(_names, _HUGGING_FACE),
        extra=("embeddings.mask_token",),
        prefixes=("dinov2.", "dinov2_with_registers."),
    ),
    Published("its authors", _LICENSE, functools.partial(_names, _AUTHORS), extra=("mask_token",)),
)


@keras.saving.register_keras_serializable("fada_tf")
class Embeddings(keras.layers.Layer):
    """Makes tokens of an image: its class, the registers, then the patches, row by row."""

    def __init__(self, channels: int, registers: int, seed: int, **options):
        """Sets up the layer.

        Args:
          channels: of a token.
          registers: how many there are; without any, position embeddings are resized without antialiasing.
          seed: of the initial weights.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(dtype="float32", **options)
        self.channels, self.registers, self.seed = channels, registers, seed
        self.product_type = keras.config.dtype_policy().compute_dtype

    def get_config(self):
        """Returns the arguments that make the layer again."""
        config = super().get_config() | {"channels": self.channels, "registers": self.registers, "seed": self.seed}
        del config["dtype"]
        return config

    def build(self, input_shape):
        """Makes the patches' kernel and bias, and the embeddings."""
        del input_shape
        seeds = iter(np.random.default_rng(self.seed).integers(2**31, size=4).tolist())

        def weight(name, *shape, stddev=0.02):
            initializer = keras.initializers.TruncatedNormal(stddev=stddev, seed=next(seeds)) if stddev else "zeros"
            return self.add_weight(name=name, shape=shape, initializer=initializer)

        self.kernel = weight("kernel", _PATCH, _PATCH, 3, self.channels)
        self.bias = weight("bias", self.channels, stddev=0)
        self.class_token = weight("class_token", 1, 1, self.channels, stddev=1e-6)
        self.position_embeddings = weight("position_embeddings", 1, 1 + _TRAINED_GRID**2, self.channels)
        if self.registers:
            self.register_tokens = weight("register_tokens", 1, self.registers, self.channels, stddev=1e-6)

    def call(self, images):
        """Returns float32 [batch, 1 + registers + patches, channels] of images [batch, height, width, 3]."""
        # Patches do not overlap: their convolution is a product.
        patches = tf.nn.space_to_depth(tf.cast(images, self.product_type), _PATCH)
        batch, rows, columns, _ = shape_of(patches)
        kernel = tf.reshape(tf.cast(self.kernel, self.product_type), [-1, self.channels])
        patches = tf.matmul(tf.reshape(patches, [-1, kernel.shape[0]]), kernel)
        positions = tf.reshape(self.positions(rows, columns), [1, -1, self.channels])
        patches = tf.reshape(tf.cast(patches, tf.float32) + self.bias, [batch, -1, self.channels]) + positions
        first = self.class_token + self.position_embeddings[:, :1]
        if self.registers:
            first = tf.concat([first, self.register_tokens], axis=1)
        return tf.concat([tf.tile(first, [batch, 1, 1]), patches], axis=1)

    def positions(self, rows, columns) -> tf.Tensor:
        """Returns the patches' position embeddings on a grid, float32 [rows, columns, channels]."""
        table = tf.reshape(self.position_embeddings[0, 1:], [_TRAINED_GRID, _TRAINED_GRID, self.channels])
        resize = functools.partial(_cubic_weights, antialias=self.registers > 0)
        return tf.einsum("ri,cj,ijk->rck", resize(rows), resize(columns), table)


def _cubic_weights(size, *, antialias: bool) -> tf.Tensor:
    """Returns the weights of bicubic interpolation along one side of the trained grid, float32 [size, old size].

    Pixels' centres are at halves. As in PyTorch, the cubic has a = -0.5 with antialiasing, which leaves out what lies
    beyond the border, and a = -0.75 without, which repeats the border.
    """
    old = tf.range(_TRAINED_GRID, dtype=tf.float32)
    scale = _TRAINED_GRID / tf.cast(size, tf.float32)
    places = ((tf.range(size, dtype=tf.float32) + 0.5) * scale - 0.5)[:, None]
    if antialias:
        weights = _cubic((old - places) / tf.maximum(scale, 1.0), -0.5)
        return weights / tf.reduce_sum(weights, axis=1, keepdims=True)
    first = tf.floor(places)
    taps = [first + shift for shift in (-1.0, 0.0, 1.0, 2.0)]
    return tf.add_n(
        [
            tf.where(tf.clip_by_value(tap, 0.0, _TRAINED_GRID - 1.0) == old, _cubic(tap - places, -0.75), 0.0)
            for tap in taps
        ]
    )


def _cubic(distance: tf.Tensor, a: float) -> tf.Tensor:
    """Returns Keys' cubic of distances in pixels: 1 at 0, and 0 from 2 on."""
    x = tf.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return tf.where(x <= 1, near, tf.where(x < 2, far, 0.0))


@keras.saving.register_keras_serializable("fada_tf")
class PatchMap(keras.layers.Layer):
    """Puts the tokens of patches, which come last, at their places in the image."""

    def call(self, inputs):
        """Returns [batch, height / 14, width / 14, channels] of tokens [batch, count, channels] and the images."""
        tokens, images = inputs
        batch, height, width, _ = shape_of(images)
        rows, columns = height // _PATCH, width // _PATCH
        return tf.reshape(tokens[:, -rows * columns :], [batch, rows, columns, tokens.shape[-1]])

    def compute_output_shape(self, input_shapes):
        """Returns the shape of the map."""
        (*_, channels), (batch, height, width, _) = input_shapes
        return (batch, height and height // _PATCH, width and width // _PATCH, channels)


def vision_transformer(channels: int, blocks: int, heads: int, *, registers: int = 0) -> Backbone:
    """Returns a network of DINOv2's kind.

    Args:
      channels: of a token.
      blocks: their number.
      heads: of each attention; they divide the channels.
      registers: tokens beside the class and the patches.
    """

    def maps(images: keras.KerasTensor, batch_norm: str, rng: np.random.Generator, lora_rank: int = 0) -> Maps:
        del batch_norm  # layer norms instead
        tokens = Embeddings(channels, registers, int(rng.integers(2**31)), name="embeddings")(images)
        for index in range(blocks):
            options = {"epsilon": _EPSILON, "layer_scale": 1.0, "lora_rank": lora_rank}
            tokens = Block(heads, seed=int(rng.integers(2**31)), name=f"block{index}", **options)(tokens)
        tokens = float32_norm(_EPSILON, "norm")(tokens)
        return {_PATCH: PatchMap(name="patch_map")([tokens, images])}

    return Backbone(
        maps,
        (_PATCH,),
        IMAGENET_RGB,
        minimum_size=_PATCH,
        multiple=_PATCH,
        block_ends=r"embeddings|block\d+",
        published=_PUBLISHED,
        lora=True,
    )


VARIANTS = {
    f"dinov2_{name}{suffix}": vision_transformer(*size, registers=registers)
    for name, size in _SIZES.items()
    for suffix, registers in (("", 0), ("_registers", _REGISTERS))
}
