"""The block of plain vision transformers: attention and two dense layers, each behind a norm and beside a shortcut."""

import keras
import numpy as np
import tensorflow as tf

from fada_tf.models.attention import attend_by_heads
from fada_tf.models.layers import add_bias
from fada_tf.models.transformer_layers import Dense, Gelu, LayerNorm

_EXPANSION = 4  # channels between the two dense layers, as a multiple
_STDDEV = 0.02  # of initial kernels


def float32_norm(epsilon: float, name: str) -> LayerNorm:
    """Returns a layer norm from float32 to float32, whatever the compute type."""
    return LayerNorm(epsilon, dtype="float32", name=name)


@keras.saving.register_keras_serializable("fada_tf")
class Block(keras.layers.Layer):
    """A pre-norm block: x + s1 * attention(norm1(x)), then x + s2 * dense(gelu(dense(norm2(x)))).

    Source: Dosovitskiy et al., ICLR 2021; for the layer scales s1 and s2, Touvron et al., ICCV 2021. Products are made
    in the compute type, norms, the softmax and the sums in float32, as in PyTorch under autocast.

    Maps tokens, float32 [batch, count, channels], to such; or, if it is rotary, those and angles, see
    `attend_by_heads`.
    """

    def __init__(
        self,
        heads: int,
        *,
        epsilon: float,
        layer_scale: float,
        seed: int,
        lora_rank: int = 0,
        rotary: bool = False,
        **options,
    ):
        """Sets up the block.

        Args:
          heads: of the attention.
          epsilon: of the layer norms.
          layer_scale: initial value of s1 and s2.
          seed: of the initial weights.
          lora_rank: of what is added to the attention's kernels, see `fada_tf.models.lora`; 0: nothing.
          rotary: whether queries and keys are turned by angles; then keys have no bias.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(dtype="float32", **options)
        self.heads, self.epsilon, self.layer_scale = heads, epsilon, layer_scale
        self.seed, self.lora_rank, self.rotary = seed, lora_rank, rotary

    def get_config(self):
        """Returns the arguments that make the block again."""
        config = super().get_config()
        del config["dtype"]
        names = ("heads", "epsilon", "layer_scale", "seed", "lora_rank", "rotary")
        return config | {name: getattr(self, name) for name in names}

    def build(self, input_shapes):
        """Makes the layers; `qkv` makes queries, keys and values, in that order, each of all heads."""
        input_shape = input_shapes[0] if self.rotary else input_shapes
        channels = input_shape[-1]
        seeds = iter(np.random.default_rng(self.seed).integers(2**31, size=6).tolist())

        def dense(name, inputs, outputs, **options):
            initializer = keras.initializers.TruncatedNormal(stddev=_STDDEV, seed=next(seeds))
            layer = Dense(outputs, kernel_initializer=initializer, name=name, **options)
            layer.build((*input_shape[:-1], inputs))
            return layer

        self.norm1, self.norm2 = (float32_norm(self.epsilon, name) for name in ("norm1", "norm2"))
        for norm in (self.norm1, self.norm2):
            norm.build(input_shape)
        inner = _EXPANSION * channels
        adapted = {"lora_rank": self.lora_rank}
        bias = {"bias_initializer": None if self.rotary else "zeros"}
        self.qkv = dense("qkv", channels, 3 * channels, **adapted, **bias, lora_seed=next(seeds))
        self.projection = dense("projection", channels, channels, **adapted, lora_seed=next(seeds))
        self.inner, self.outer = dense("inner", channels, inner), dense("outer", inner, channels)
        self.gelu = Gelu(name="gelu")
        if self.rotary:
            shape = (2 * channels,)
            self.query_value_bias = self.add_weight(name="query_value_bias", shape=shape, initializer="zeros")
        scale = {"shape": (channels,), "initializer": keras.initializers.Constant(self.layer_scale)}
        self.scale1, self.scale2 = (self.add_weight(name=name, **scale) for name in ("scale1", "scale2"))

    def call(self, inputs):
        """Returns the tokens after the block."""
        tokens, angles = inputs if self.rotary else (inputs, None)
        queries, keys, values = tf.split(self.qkv(self.norm1(tokens)), 3, axis=-1)
        if self.rotary:
            of_queries, of_values = tf.split(self.query_value_bias, 2)
            queries, values = add_bias(queries, of_queries), add_bias(values, of_values)
        outputs = self.projection(attend_by_heads(queries, keys, values, self.heads, angles))
        tokens += self.scale1 * tf.cast(outputs, tf.float32)
        outputs = self.outer(self.gelu(self.inner(self.norm2(tokens))))
        return tokens + self.scale2 * tf.cast(outputs, tf.float32)

    def compute_output_shape(self, input_shapes):
        """Returns the shape of the tokens."""
        return input_shapes[0] if self.rotary else input_shapes
