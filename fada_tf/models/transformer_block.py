"""The block of plain vision transformers: attention and two dense layers, each behind a norm and beside a shortcut."""

import keras
import numpy as np
import tensorflow as tf

from fada_tf.convolutions.places import shape_of
from fada_tf.models.attention import attend
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

    Maps tokens, float32 [batch, count, channels], to such.
    """

    def __init__(self, heads: int, *, epsilon: float, layer_scale: float, seed: int, lora_rank: int = 0, **options):
        """Sets up the block.

        Args:
          heads: of the attention.
          epsilon: of the layer norms.
          layer_scale: initial value of s1 and s2.
          seed: of the initial weights.
          lora_rank: of what is added to the attention's kernels, see `fada_tf.models.lora`; 0: nothing.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(dtype="float32", **options)
        self.heads, self.epsilon, self.layer_scale = heads, epsilon, layer_scale
        self.seed, self.lora_rank = seed, lora_rank

    def get_config(self):
        """Returns the arguments that make the block again."""
        config = super().get_config()
        del config["dtype"]
        names = ("heads", "epsilon", "layer_scale", "seed", "lora_rank")
        return config | {name: getattr(self, name) for name in names}

    def build(self, input_shape):
        """Makes the layers; `qkv` makes queries, keys and values, in that order, each of all heads."""
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
        self.qkv = dense("qkv", channels, 3 * channels, **adapted, lora_seed=next(seeds))
        self.projection = dense("projection", channels, channels, **adapted, lora_seed=next(seeds))
        self.inner, self.outer = dense("inner", channels, inner), dense("outer", inner, channels)
        self.gelu = Gelu(name="gelu")
        scale = {"shape": (channels,), "initializer": keras.initializers.Constant(self.layer_scale)}
        self.scale1, self.scale2 = (self.add_weight(name=name, **scale) for name in ("scale1", "scale2"))

    def call(self, tokens):
        """Returns the tokens after the block."""
        outputs = self.projection(self._attended(self.qkv(self.norm1(tokens))))
        tokens += self.scale1 * tf.cast(outputs, tf.float32)
        outputs = self.outer(self.gelu(self.inner(self.norm2(tokens))))
        return tokens + self.scale2 * tf.cast(outputs, tf.float32)

    def _attended(self, qkv):
        """Lets every token see all tokens; returns [batch, count, channels], the heads side by side."""
        batch, count, width = shape_of(qkv)
        of_heads = tf.reshape(qkv, [batch, count, 3, self.heads, width // (3 * self.heads)])
        attended = attend(*tf.unstack(tf.transpose(of_heads, [2, 0, 3, 1, 4])))
        return tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), [batch, count, width // 3])

    def compute_output_shape(self, input_shape):
        """Returns the shape of the tokens."""
        return input_shape
