"""Depthwise convolutions: every channel has a kernel of its own."""

import keras
import numpy as np
import tensorflow as tf

from fada_tf import forms
from fada_tf.convolutions import cpu
from fada_tf.models.layers import Folding, Initialize, add_bias, batch_norm_layer


def he_normal_of_channels(fan_in: int, seed: int) -> keras.Initializer:
    """Returns torchvision's kernel initializer: normal, variance 2 / fan_out, which is here that of one channel."""
    return keras.initializers.RandomNormal(stddev=(2 / fan_in) ** 0.5, seed=seed)


@keras.saving.register_keras_serializable("fada_tf")
class DepthwiseConvolution(Folding, keras.layers.Layer):
    """Convolves every channel, padded with zeros as TensorFlow's "SAME": at stride 1 by as many on every side."""

    def __init__(
        self,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        kernel_initializer: keras.Initializer,
        bias_initializer: keras.Initializer | None = None,
        **options,
    ):
        """Sets up the layer.

        Args:
          kernel_size: odd, rows = columns.
          stride: of rows and columns.
          dilation: of rows and columns; 1 where the stride is not.
          kernel_initializer: of the kernel.
          bias_initializer: of the bias; None: no bias.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(**options)
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, dilation
        self.kernel_initializer, self.bias_initializer = map(
            keras.initializers.get, (kernel_initializer, bias_initializer)
        )

    def get_config(self):
        """Returns the arguments that make the layer again."""
        initializers = {"kernel_initializer": self.kernel_initializer, "bias_initializer": self.bias_initializer}
        config = {"kernel_size": self.kernel_size, "stride": self.stride, "dilation": self.dilation}
        config |= {name: value and keras.initializers.serialize(value) for name, value in initializers.items()}
        return super().get_config() | config

    def build(self, input_shape):
        """Makes kernel [kernel_size, kernel_size, 1, channels], as of a grouped convolution, and bias [channels]."""
        shapes = {"kernel": (self.kernel_size, self.kernel_size, 1, input_shape[-1]), "bias": input_shape[-1:]}
        initializers = {"kernel": self.kernel_initializer, "bias": self.bias_initializer}
        self.kernel, self.bias = (
            initializer and self.add_weight(name=name, shape=shapes[name], initializer=initializer, autocast=False)
            for name, initializer in initializers.items()
        )

    def compute_output_shape(self, input_shape):
        """Returns the shape of the outputs."""
        batch, *sizes, channels = input_shape
        return (batch, *(size and -(-size // self.stride) for size in sizes), channels)

    def call(self, inputs):
        """Convolves [batch, height, width, channels] and adds the bias."""
        kernel = tf.convert_to_tensor(self.kernel)
        outputs = _convolve(inputs, kernel, self.stride, self.dilation, *self.scale_and_offset())
        return outputs if self.bias is None else add_bias(outputs, tf.convert_to_tensor(self.bias))


@forms.on_cpus(cpu.depthwise)
def _convolve(inputs, kernel, stride, dilation, scale, offset) -> tf.Tensor:
    """Convolves with a kernel that is scaled in float32, and adds the offset."""
    kernel = tf.cast(kernel if scale is None else tf.cast(kernel, tf.float32) * scale, inputs.dtype)
    size, _, _, channels = kernel.shape
    # The operation's own dilations are no way: where oneDNN does not compute it, CPUs take them for 1.
    outputs = tf.nn.depthwise_conv2d(
        inputs, tf.reshape(kernel, [size, size, channels, 1]), [1, stride, stride, 1], "SAME", dilations=[dilation] * 2
    )
    return outputs if offset is None else tf.nn.bias_add(outputs, tf.cast(offset, outputs.dtype))


def depthwise_convolution(
    inputs: keras.KerasTensor,
    kernel_size: int,
    *,
    name: str,
    rng: np.random.Generator,
    stride: int = 1,
    dilation: int = 1,
    bias: Initialize | None = None,
) -> keras.KerasTensor:
    """Applies a new `DepthwiseConvolution`; for the arguments see there and `convolution`."""
    kernel_seed, bias_seed = rng.integers(2**31, size=2).tolist()
    return DepthwiseConvolution(
        kernel_size,
        stride=stride,
        dilation=dilation,
        kernel_initializer=he_normal_of_channels(kernel_size**2, kernel_seed),
        bias_initializer=bias(kernel_size**2, bias_seed) if bias else None,
        name=name,
    )(inputs)


def normalized_depthwise_convolution(
    inputs: keras.KerasTensor,
    kernel_size: int,
    *,
    batch_norm: str,
    name: str,
    norm_name: str,
    rng: np.random.Generator,
    stride: int = 1,
    dilation: int = 1,
    epsilon: float | None = None,
) -> keras.KerasTensor:
    """Applies a new `DepthwiseConvolution` and a new batch norm layer; see `normalized_convolution`.

    Returns:
      [batch, ceil(height / stride), ceil(width / stride), channels].

    Raises:
      InputError: no such batch norm.
    """
    norm = batch_norm_layer(batch_norm, norm_name, epsilon=epsilon, folded=True)
    return norm(depthwise_convolution(inputs, kernel_size, name=name, rng=rng, stride=stride, dilation=dilation))
