"""Layers of transformers, on maps [batch, height, width, channels].

In bfloat16 and float16 models norms, softmaxes and GELUs compute in float32, as PyTorch does inside autocast.
"""

import math

import keras
import tensorflow as tf

from fada_tf import randomness
from fada_tf.convolutions.places import shape_of
from fada_tf.models.attention import attend_by_heads
from fada_tf.models.layers import add_bias
from fada_tf.models.lora import adapter_weights


@keras.saving.register_keras_serializable("fada_tf")
class LayerNorm(keras.layers.Layer):
    """Normalises the channels of every pixel, in float32 with float32 weights."""

    def __init__(self, epsilon: float = 1e-5, **options):
        """Sets up the layer.

        Args:
          epsilon: added to the variance.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(**options)
        self.epsilon = epsilon

    def get_config(self):
        """Returns the arguments that make the layer again."""
        return super().get_config() | {"epsilon": self.epsilon}

    def build(self, input_shape):
        """Makes gamma and beta, each [channels] and float32."""
        options = {"shape": (input_shape[-1],), "dtype": "float32", "autocast": False}
        self.gamma = self.add_weight(name="gamma", initializer="ones", **options)
        self.beta = self.add_weight(name="beta", initializer="zeros", **options)

    def call(self, inputs):
        """Normalises [..., channels]."""
        values = tf.cast(inputs, tf.float32)
        mean, variance = tf.nn.moments(values, [-1], keepdims=True)
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        normalized = tf.nn.batch_normalization(values, mean, variance, beta, gamma, self.epsilon)
        return tf.cast(normalized, self.compute_dtype)


@keras.saving.register_keras_serializable("fada_tf")
class Gelu(keras.layers.Layer):
    """The exact GELU, x * P(a standard normal number is below x); of it, only the inputs are kept for gradients."""

    def call(self, inputs):
        """Activates values of any shape."""
        return _gelu(inputs)


@tf.custom_gradient
def _gelu(inputs):
    def gradient(upstream):
        values = tf.cast(inputs, tf.float32)
        below = 0.5 + 0.5 * tf.math.erf(values * math.sqrt(0.5))
        density = tf.exp(-0.5 * tf.square(values)) * (1 / math.sqrt(2 * math.pi))
        return tf.cast(tf.cast(upstream, tf.float32) * (below + values * density), inputs.dtype)

    # In this form the converters know it: LiteRT has no erf beside a GELU of its own, and ONNX no erfc, of which
    # TensorFlow's GELU is made.
    values = tf.cast(inputs, tf.float32)
    return tf.cast(values * 0.5 * (tf.math.erf(values * math.sqrt(0.5)) + 1.0), inputs.dtype), gradient


@keras.saving.register_keras_serializable("fada_tf")
class Attention(keras.layers.Layer):
    """Scaled dot-product attention of several heads: softmax(q k^T / sqrt(channels of a head)) v."""

    def __init__(self, heads: int, **options):
        """Sets up the layer.

        Args:
          heads: a divisor of the number of channels.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(**options)
        self.heads = heads

    def get_config(self):
        """Returns the arguments that make the layer again."""
        return super().get_config() | {"heads": self.heads}

    def compute_output_shape(self, input_shapes):
        """Returns the queries' shape."""
        return input_shapes[0]

    def call(self, inputs):
        """Attends.

        Args:
          inputs: queries [batch, height, width, channels], and [batch, other height, other width, 2 * channels]: keys,
            then values.

        Returns:
          Like the queries.
        """
        queries, seen = inputs
        return attend_by_heads(queries, *tf.split(seen, 2, axis=-1), self.heads)


def multiply(maps: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None = None) -> tf.Tensor:
    """Multiplies the channels of every pixel by a matrix, and adds a bias.

    Args:
      maps: [batch, height, width, channels], of the type that is multiplied in.
      kernel: float32 [channels, units], or of a shape with as many elements in that order.
      bias: float32 [units].

    Returns:
      [batch, height, width, units], of the type of `maps`.
    """
    *sizes, channels = shape_of(maps)
    kernel = tf.cast(tf.reshape(kernel, [channels, kernel.shape[-1]]), maps.dtype)
    products = tf.reshape(tf.matmul(tf.reshape(maps, [-1, channels]), kernel), [*sizes, kernel.shape[-1]])
    return products if bias is None else add_bias(products, bias)


@keras.saving.register_keras_serializable("fada_tf")
class Dense(keras.layers.Layer):
    """A product of every pixel's channels with a matrix, and a bias.

    With cells, the channels are those of all pixels of a cell: a convolution whose stride is its kernel's side, and
    which pads nothing. Pixels beyond the last whole cell are dropped; an image smaller than a cell is one, with zeros.
    """

    def __init__(
        self,
        units: int,
        *,
        cell: int = 1,
        kernel_initializer: keras.Initializer,
        bias_initializer: keras.Initializer | str | None = "zeros",
        lora_rank: int = 0,
        lora_seed: int = 0,
        **options,
    ):
        """Sets up the layer.

        Args:
          units: channels of the result.
          cell: side of a cell, in pixels.
          kernel_initializer: of the matrix.
          bias_initializer: of the bias; None: no bias.
          lora_rank: of what is added to the matrix, see `fada_tf.models.lora`; 0: nothing.
          lora_seed: of its initial values.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(**options)
        self.units, self.cell = units, cell
        self.lora_rank, self.lora_seed = lora_rank, lora_seed
        self.kernel_initializer, self.bias_initializer = map(
            keras.initializers.get, (kernel_initializer, bias_initializer)
        )

    def get_config(self):
        """Returns the arguments that make the layer again."""
        initializers = {"kernel_initializer": self.kernel_initializer, "bias_initializer": self.bias_initializer}
        config = {name: value and keras.initializers.serialize(value) for name, value in initializers.items()}
        own = {name: getattr(self, name) for name in ("units", "cell", "lora_rank", "lora_seed")}
        return super().get_config() | config | own

    def build(self, input_shape):
        """Makes kernel [channels, units], or [cell, cell, channels, units], and bias [units]."""
        shape = (*(self.cell, self.cell) * (self.cell > 1), input_shape[-1], self.units)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer, autocast=False)
        if self.bias_initializer:
            self.bias = self.add_weight(
                name="bias", shape=(self.units,), initializer=self.bias_initializer, autocast=False
            )
        if self.lora_rank:
            self.lora_in, self.lora_out = adapter_weights(self, self.kernel.shape, self.lora_rank, self.lora_seed)

    def compute_output_shape(self, input_shape):
        """Returns the shape of `call`'s result."""
        batch, height, width, _ = input_shape
        return (batch, *(side and max(side // self.cell, 1) for side in (height, width)), self.units)

    def call(self, inputs):
        """Multiplies [batch, height, width, channels]; returns [batch, height / cell, width / cell, units]."""
        cells = self._cells(inputs) if self.cell > 1 else inputs
        kernel = tf.convert_to_tensor(self.kernel)
        if self.lora_rank:
            kernel += tf.matmul(self.lora_in, self.lora_out)
        return multiply(cells, kernel, tf.convert_to_tensor(self.bias) if self.bias_initializer else None)

    def _cells(self, images):
        """Returns [batch, rows, columns, cell * cell * channels]."""
        batch, height, width, channels = shape_of(images)
        if not (isinstance(height, int) and isinstance(width, int) and min(height, width) >= self.cell):
            missing = [[0, tf.maximum(self.cell - side, 0)] for side in (height, width)]
            images = tf.pad(images, [[0, 0], *missing, [0, 0]])
            height, width = (tf.maximum(side, self.cell) for side in (height, width))
        rows, columns = height // self.cell, width // self.cell
        images = images[:, : rows * self.cell, : columns * self.cell]
        # Rows of cells, rows of pixels, columns of cells, columns of pixels with their channels.
        grouped = tf.reshape(images, [batch * rows, self.cell, columns, self.cell * channels])
        return tf.reshape(tf.transpose(grouped, [0, 2, 1, 3]), [batch, rows, columns, self.cell**2 * channels])


@keras.saving.register_keras_serializable("fada_tf")
class DropPath(keras.layers.Layer):
    """Leaves out a branch of some images in training, and enlarges it for the others; its numbers are of their draws.

    Source: Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.
    """

    def __init__(self, rate: float, seed: int, **options):
        """Sets up the layer.

        Args:
          rate: the share of images that it is left out of.
          seed: of the random numbers; layers of other names draw others.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(**options)
        self.rate, self.seed = rate, seed

    def get_config(self):
        """Returns the arguments that make the layer again."""
        return super().get_config() | {"rate": self.rate, "seed": self.seed}

    def compute_output_shape(self, input_shapes):
        """Returns the branch's shape."""
        return input_shapes[0]

    def call(self, inputs, training=False):
        """Drops.

        Args:
          inputs: the branch's outputs [batch, ...], and the images' draws, int64 [batch].
          training: whether it is random; otherwise the outputs stay as they are.

        Returns:
          Like the outputs.
        """
        outputs, draws = inputs
        if not training or not self.rate:
            return outputs
        kept = randomness.uniform(self.seed, self.name, draws) >= self.rate
        factors = tf.cast(kept, outputs.dtype) / tf.cast(1 - self.rate, outputs.dtype)
        return outputs * factors[(..., *[tf.newaxis] * (outputs.shape.rank - 1))]
