"""The block of vision transformers: attention and two dense layers, each behind a layer norm and beside a shortcut."""

import keras
import numpy as np
import tensorflow as tf


def layer_norm(epsilon: float, name: str) -> keras.layers.Layer:
    """Returns a layer norm that computes in float32, whatever the compute type."""
    return keras.layers.LayerNormalization(epsilon=epsilon, dtype="float32", name=name)


def sizes(values: tf.Tensor) -> list:
    """Returns the sizes of a tensor's axes: integers where they are known when the graph is traced, else tensors."""
    return [known or size for known, size in zip(values.shape, tf.unstack(tf.shape(values)), strict=True)]


@keras.saving.register_keras_serializable("fada_tf")
class Block(keras.layers.Layer):
    """A pre-norm block: x + s1 * attention(norm1(x)), then x + s2 * dense(gelu(dense(norm2(x)))).

    Source: Dosovitskiy et al., ICLR 2021; for the layer scales s1 and s2, Touvron et al., ICCV 2021. The GELU is the
    exact one. Products are made in the compute type; norms, the softmax and the sums in float32, as in PyTorch under
    autocast.

    Maps tokens, float32 [batch, count, channels], to such.
    """

    _EXPANSION = 4  # channels between the two dense layers, as a multiple

    def __init__(self, heads: int, *, epsilon: float, layer_scale: float, seed: int, **options):
        """Sets up the block.

        Args:
          heads: of the attention.
          epsilon: of the layer norms.
          layer_scale: initial value of s1 and s2.
          seed: of the initial weights.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(dtype="float32", **options)
        self.heads, self.epsilon, self.layer_scale, self.seed = heads, epsilon, layer_scale, seed

    def get_config(self):
        """Returns the arguments that make the block again."""
        config = super().get_config()
        del config["dtype"]
        own = {"heads": self.heads, "epsilon": self.epsilon, "layer_scale": self.layer_scale, "seed": self.seed}
        return config | own

    def build(self, input_shape):
        """Makes the layers; `qkv` makes queries, keys and values, in that order, each of all heads."""
        channels = input_shape[-1]
        seeds = iter(np.random.default_rng(self.seed).integers(2**31, size=4).tolist())

        def dense(name, inputs, outputs):
            initializer = keras.initializers.TruncatedNormal(stddev=0.02, seed=next(seeds))
            layer = keras.layers.Dense(outputs, kernel_initializer=initializer, name=name)
            layer.build((*input_shape[:-1], inputs))
            return layer

        self.norm1, self.norm2 = layer_norm(self.epsilon, "norm1"), layer_norm(self.epsilon, "norm2")
        for norm in (self.norm1, self.norm2):
            norm.build(input_shape)
        self.qkv = dense("qkv", channels, 3 * channels)
        self.projection = dense("projection", channels, channels)
        self.inner = dense("inner", channels, self._EXPANSION * channels)
        self.outer = dense("outer", self._EXPANSION * channels, channels)
        for name in ("scale1", "scale2"):
            initializer = keras.initializers.Constant(self.layer_scale)
            setattr(self, name, self.add_weight(name=name, shape=(channels,), initializer=initializer))

    def call(self, tokens):
        """Returns the tokens after the block."""
        outputs = self.projection(attention(self.qkv(self.norm1(tokens)), self.heads))
        tokens += self.scale1 * tf.cast(outputs, tf.float32)
        outputs = self.outer(tf.nn.gelu(self.inner(self.norm2(tokens)), approximate=False))
        return tokens + self.scale2 * tf.cast(outputs, tf.float32)

    def compute_output_shape(self, input_shape):
        """Returns the shape of the tokens."""
        return input_shape


def attention(qkv: tf.Tensor, heads: int) -> tf.Tensor:
    """Lets every token see all tokens: softmax(q k^T / sqrt(channels of a head)) v of each head.

    Args:
      qkv: [batch, count, 3 * channels]: queries, keys and values, each of all heads.
      heads: they divide the channels.

    Returns:
      [batch, count, channels], the heads side by side.
    """
    batch, count, _ = sizes(qkv)
    channels = qkv.shape[-1] // 3
    of_heads = tf.reshape(qkv, [batch, count, 3, heads, channels // heads])
    queries, keys, values = tf.unstack(tf.transpose(of_heads, [2, 0, 3, 1, 4]))
    scores = tf.matmul(queries * (channels // heads) ** -0.5, keys, transpose_b=True)
    weights = tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), qkv.dtype)
    return tf.reshape(tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3]), [batch, count, channels])
