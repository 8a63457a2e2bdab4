"""Plain vision transformers: patches of an image become tokens, blocks change them, and they become a map again.

Dosovitskiy et al., ICLR 2021, https://arxiv.org/abs/2010.11929. Where a patch is, its token is told in one of two ways:
by a table of position embeddings that is added, resized to the grid of the image; or by angles that its queries and
keys are turned by (RoFormer, https://arxiv.org/abs/2104.09864).
"""

import functools
import math
import re

import keras
import numpy as np
import tensorflow as tf

from fada_tf.convolutions.places import shape_of
from fada_tf.models.backbones.base import IMAGENET_RGB, TORCH_VARIABLES, Backbone, Maps, Published
from fada_tf.models.transformer_block import Block, float32_norm

_STDDEV = 0.02  # of initial weights
_LONGEST_PERIOD = 100.0  # of the angles, where a side of the image is 2


def published_names(table: dict[str, tuple[str, ...]], path: str) -> tuple[str, ...]:
    """Returns what others call a weight.

    Args:
      table: their names of layers, and of weights that have names of their own; # is a block's number.
      path: of our weight.
    """
    number = "".join(re.findall(r"^block(\d+)", path))
    path = re.sub(r"^block\d+", "block#", path)
    layer, _, variable = path.rpartition("/")
    own = table.get(path)
    names = own or tuple(f"{name}.{TORCH_VARIABLES[variable]}" for name in table[layer])
    return tuple(name.replace("#", number) for name in names)


@keras.saving.register_keras_serializable("fada_tf")
class Embeddings(keras.layers.Layer):
    """Makes tokens of an image: its class, the registers, then the patches, row by row."""

    def __init__(self, channels: int, patch: int, registers: int, seed: int, *, trained_grid: int = 0, **options):
        """Sets up the layer.

        Args:
          channels: of a token.
          patch: its side, in pixels.
          registers: how many there are; without any, position embeddings are resized without antialiasing.
          seed: of the initial weights.
          trained_grid: patches a side of the table of position embeddings; 0: there is none.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(dtype="float32", **options)
        self.channels, self.patch, self.registers, self.seed = channels, patch, registers, seed
        self.trained_grid = trained_grid
        self.product_type = keras.config.dtype_policy().compute_dtype

    def get_config(self):
        """Returns the arguments that make the layer again."""
        names = ("channels", "patch", "registers", "seed", "trained_grid")
        config = super().get_config() | {name: getattr(self, name) for name in names}
        del config["dtype"]
        return config

    def build(self, input_shape):
        """Makes the patches' kernel and bias, and the embeddings."""
        del input_shape
        seeds = iter(np.random.default_rng(self.seed).integers(2**31, size=4).tolist())

        def weight(name, *shape, stddev=_STDDEV):
            initializer = keras.initializers.TruncatedNormal(stddev=stddev, seed=next(seeds)) if stddev else "zeros"
            return self.add_weight(name=name, shape=shape, initializer=initializer)

        self.kernel = weight("kernel", self.patch, self.patch, 3, self.channels)
        # Tokens of hidden pixels must not be 0, of which the blocks' norms would make gradients without bounds.
        self.bias = weight("bias", self.channels, stddev=0 if self.trained_grid else _STDDEV)
        self.class_token = weight("class_token", 1, 1, self.channels, stddev=1e-6)
        if self.trained_grid:
            self.position_embeddings = weight("position_embeddings", 1, 1 + self.trained_grid**2, self.channels)
        if self.registers:
            self.register_tokens = weight("register_tokens", 1, self.registers, self.channels, stddev=1e-6)

    def call(self, images):
        """Returns float32 [batch, 1 + registers + patches, channels] of images [batch, height, width, 3]."""
        # Patches do not overlap: their convolution is a product.
        patches = tf.nn.space_to_depth(tf.cast(images, self.product_type), self.patch)
        batch, rows, columns, _ = shape_of(patches)
        kernel = tf.reshape(tf.cast(self.kernel, self.product_type), [-1, self.channels])
        patches = tf.matmul(tf.reshape(patches, [-1, kernel.shape[0]]), kernel)
        patches = tf.reshape(tf.cast(patches, tf.float32) + self.bias, [batch, -1, self.channels])
        first = tf.convert_to_tensor(self.class_token)
        if self.trained_grid:
            patches += tf.reshape(self.positions(rows, columns), [1, -1, self.channels])
            first += self.position_embeddings[:, :1]
        if self.registers:
            first = tf.concat([first, self.register_tokens], axis=1)
        return tf.concat([tf.tile(first, [batch, 1, 1]), patches], axis=1)

    def positions(self, rows, columns) -> tf.Tensor:
        """Returns the patches' position embeddings on a grid, float32 [rows, columns, channels]."""
        grid = self.trained_grid
        table = tf.reshape(self.position_embeddings[0, 1:], [grid, grid, self.channels])
        resize = functools.partial(cubic_weights, grid, antialias=self.registers > 0)
        return tf.einsum("ri,cj,ijk->rck", resize(rows), resize(columns), table)


def cubic_weights(old_size: int, size, *, antialias: bool) -> tf.Tensor:
    """Returns the weights of bicubic interpolation along one side, float32 [size, old size].

    Pixels' centres are at halves. As in PyTorch, the cubic has a = -0.5 with antialiasing, which leaves out what lies
    beyond the border, and a = -0.75 without, which repeats the border.
    """
    old = tf.range(old_size, dtype=tf.float32)
    scale = old_size / tf.cast(size, tf.float32)
    places = ((tf.range(size, dtype=tf.float32) + 0.5) * scale - 0.5)[:, None]
    if antialias:
        weights = _cubic((old - places) / tf.maximum(scale, 1.0), -0.5)
        return weights / tf.reduce_sum(weights, axis=1, keepdims=True)
    first = tf.floor(places)
    taps = [first + shift for shift in (-1.0, 0.0, 1.0, 2.0)]
    return tf.add_n(
        [tf.where(tf.clip_by_value(tap, 0.0, old_size - 1.0) == old, _cubic(tap - places, -0.75), 0.0) for tap in taps]
    )


def _cubic(distance: tf.Tensor, a: float) -> tf.Tensor:
    """Returns Keys' cubic of distances in pixels: 1 at 0, and 0 from 2 on."""
    x = tf.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return tf.where(x <= 1, near, tf.where(x < 2, far, 0.0))


@keras.saving.register_keras_serializable("fada_tf")
class Angles(keras.layers.Layer):
    """Gives the angles that a patch's queries and keys are turned by: the row's, then the column's, by period.

    Centres of patches lie in -1..1 along either side of the image, whatever its size. Tokens that are no patches come
    first, and are not turned.
    """

    def __init__(self, channels: int, patch: int, others: int, **options):
        """Sets up the layer.

        Args:
          channels: of a head, a multiple of 4.
          patch: its side, in pixels.
          others: tokens before the patches.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(dtype="float32", **options)
        self.channels, self.patch, self.others = channels, patch, others

    def get_config(self):
        """Returns the arguments that make the layer again."""
        config = super().get_config() | {"channels": self.channels, "patch": self.patch, "others": self.others}
        del config["dtype"]
        return config

    def call(self, images):
        """Returns float32 [others + patches, channels / 2] of images [batch, height, width, 3]."""
        _, height, width, _ = shape_of(images)
        count = self.channels // 4
        frequencies = tf.constant(2 * math.pi / _LONGEST_PERIOD ** (np.arange(count) / count), tf.float32)

        def of_side(size):
            centres = (2 * tf.range(size, dtype=tf.float32) + 1) / tf.cast(size, tf.float32) - 1
            return centres[:, None] * frequencies

        rows, columns = height // self.patch, width // self.patch
        by_row = tf.repeat(of_side(rows), columns, axis=0)
        angles = tf.concat([by_row, tf.tile(of_side(columns), [rows, 1])], axis=1)
        return tf.pad(angles, [[self.others, 0], [0, 0]])

    def compute_output_shape(self, input_shape):
        """Returns the shape of the angles."""
        _, height, width, _ = input_shape
        patches = height and width and (height // self.patch) * (width // self.patch)
        return (patches and self.others + patches, self.channels // 2)


@keras.saving.register_keras_serializable("fada_tf")
class PatchMap(keras.layers.Layer):
    """Puts the tokens of patches, which come last, at their places in the image."""

    def __init__(self, patch: int, **options):
        """Sets up the layer.

        Args:
          patch: its side, in pixels.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(**options)
        self.patch = patch

    def get_config(self):
        """Returns the arguments that make the layer again."""
        return super().get_config() | {"patch": self.patch}

    def call(self, inputs):
        """Returns [batch, height / patch, width / patch, channels] of tokens [batch, count, channels] and images."""
        tokens, images = inputs
        batch, height, width, _ = shape_of(images)
        rows, columns = height // self.patch, width // self.patch
        return tf.reshape(tokens[:, -rows * columns :], [batch, rows, columns, tokens.shape[-1]])

    def compute_output_shape(self, input_shapes):
        """Returns the shape of the map."""
        (*_, channels), (batch, height, width, _) = input_shapes
        return (batch, height and height // self.patch, width and width // self.patch, channels)


def vision_transformer(
    channels: int,
    blocks: int,
    heads: int,
    *,
    patch: int,
    registers: int,
    trained_grid: int,
    epsilon: float,
    published: tuple[Published, ...],
) -> Backbone:
    """Returns a network of patches that sees images of whole patches.

    Args:
      channels: of a token.
      blocks: their number.
      heads: of each attention; they divide the channels.
      patch: its side, in pixels.
      registers: tokens beside the class and the patches.
      trained_grid: see `Embeddings`; where it is 0, queries and keys are turned, and keys have no bias.
      epsilon: of layer norms.
      published: see `Backbone`.
    """

    def maps(images: keras.KerasTensor, batch_norm: str, rng: np.random.Generator, lora_rank: int = 0) -> Maps:
        del batch_norm  # layer norms instead
        seed, grid = int(rng.integers(2**31)), {"trained_grid": trained_grid}
        tokens = Embeddings(channels, patch, registers, seed, **grid, name="embeddings")(images)
        angles = [] if trained_grid else [Angles(channels // heads, patch, 1 + registers, name="angles")(images)]
        for index in range(blocks):
            options = {"epsilon": epsilon, "layer_scale": 1.0, "lora_rank": lora_rank, "rotary": bool(angles)}
            block = Block(heads, seed=int(rng.integers(2**31)), name=f"block{index}", **options)
            tokens = block([tokens, *angles] if angles else tokens)
        tokens = float32_norm(epsilon, "norm")(tokens)
        return {patch: PatchMap(patch, name="patch_map")([tokens, images])}

    return Backbone(
        maps,
        (patch,),
        IMAGENET_RGB,
        minimum_size=patch,
        multiple=patch,
        block_ends=r"embeddings|block\d+",
        published=published,
        lora=True,
    )
