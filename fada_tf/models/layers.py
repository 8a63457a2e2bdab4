"""The layers that Keras lacks or defines differently: symmetric padding, batch norms as in torch, aligned corners."""

import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from fada_tf import forms
from fada_tf.convolutions import cpu
from fada_tf.errors import InputError
from fada_tf.models.interpolation import Interpolation

Affine = Callable[[], tuple[tf.Tensor, tf.Tensor]]
Initialize = Callable[[int, int], keras.Initializer]  # (fan_in, seed) -> initializer


def he_normal(fan_in: int, seed: int) -> keras.Initializer:
    """Returns torchvision's kernel initializer: normal, variance 2 / fan_out.

    Source: https://github.com/JDAI-CV/FADA/blob/a1c6403/core/models/resnet.py#L152-L154, a copy of torchvision's file.
    """
    del fan_in
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=seed)


def torch_uniform(fan_in: int, seed: int) -> keras.Initializer:
    """Returns the default initializer of torch's convolutions, for kernel and bias: uniform in ±1 / sqrt(fan_in)."""
    return keras.initializers.RandomUniform(-(fan_in**-0.5), fan_in**-0.5, seed=seed)


def zeros(fan_in: int, seed: int) -> keras.Initializer:
    """Returns an initializer of zeros."""
    del fan_in, seed
    return keras.initializers.Zeros()


class Folding:
    """What convolutions share that a frozen batch norm can be folded into, in float32, when they compute.

    The variables stay those of a convolution and a batch norm: SGD on folded kernels diverges where these train.
    """

    _affine: Affine | None = None

    def fold(self, affine: Affine) -> None:
        """Has the layer normalise its outputs.

        Args:
          affine: returns the constants scale and offset, float32 [filters], of a batch norm.
        """
        self._affine = affine

    def scale_and_offset(self) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """Returns those constants; None: nothing is folded in."""
        return self._affine() if self._affine else (None, None)


@keras.saving.register_keras_serializable("fada_tf")
class Convolution(Folding, keras.layers.Conv2D):
    """2-D convolution padded by dilation * (kernel_size - 1) / 2 zeros on every side, at any stride.

    Keras pads a strided convolution by less at the top and left, which shifts the features against torch's. The output
    size, ceil(input / stride), is that of Keras's `padding="same"`. Kernel sizes are odd.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        *,
        kernel_gradient_first: bool = True,
        symmetric: bool = True,
        **options,
    ):
        """Sets up the layer.

        Args:
          filters: number of output channels.
          kernel_size: odd, rows = columns.
          kernel_gradient_first: see `fada_tf.convolutions.cpu.convolve`.
          symmetric: False: a strided convolution is padded as Keras does, for networks that were trained so.
          **options: those of `keras.layers.Conv2D`.

        Raises:
          ValueError: an even kernel, or dilations of rows and columns that differ.
        """
        super().__init__(filters, kernel_size, padding="same", **options)
        if not all(size % 2 for size in self.kernel_size) or len({*self.kernel_size}) > 1:
            raise ValueError(f"kernel_size is {kernel_size}: give one odd number for rows and columns")
        if len({*self.dilation_rate}) > 1:
            raise ValueError(f"dilation_rate is {self.dilation_rate}: give one for rows and columns")
        self._kernel_gradient_first, self._symmetric = kernel_gradient_first, symmetric

    def get_config(self):
        """Returns the arguments that make the layer again."""
        own = {"kernel_gradient_first": self._kernel_gradient_first, "symmetric": self._symmetric}
        config = super().get_config() | own
        del config["padding"]
        return config

    def add_weight(self, *args, name=None, **options):
        """Makes a weight; it is cast where it is used, a kernel after it has been scaled."""
        return super().add_weight(*args, name=name, autocast=False, **options)

    def call(self, inputs):
        """Convolves [batch, height, width, channels], adds the bias and activates."""
        outputs = self.convolution_op(inputs, self.kernel)
        return self.activation(add_bias(outputs, tf.convert_to_tensor(self.bias)) if self.use_bias else outputs)

    def convolution_op(self, inputs, kernel):
        """Convolves, see the class."""
        scale, offset = self.scale_and_offset()
        dilation = self.dilation_rate[0]
        if self.strides == (1, 1):
            return _convolve(inputs, kernel, dilation, scale, offset, kernel_gradient_first=self._kernel_gradient_first)
        if not self._symmetric:
            return _plain(inputs, kernel, dilation, scale, offset, strides=self.strides)
        if pad := dilation * (self.kernel_size[0] - 1) // 2:
            # With explicit padding, oneDNN does not compute the gradients: so an operation of its own pads.
            inputs = tf.pad(inputs, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        return _plain(inputs, kernel, dilation, scale, offset, strides=self.strides, padding="VALID")


def _plain(inputs, kernel, dilation, scale, offset, *, strides=1, padding="SAME") -> tf.Tensor:
    """Convolves with a kernel that is scaled in float32, and adds the offset."""
    kernel = tf.convert_to_tensor(kernel)
    kernel = tf.cast(kernel if scale is None else tf.cast(kernel, tf.float32) * scale, inputs.dtype)
    outputs = tf.nn.conv2d(inputs, kernel, strides, padding, dilations=dilation)
    return outputs if offset is None else tf.nn.bias_add(outputs, tf.cast(offset, outputs.dtype))


@forms.on_cpus(cpu.convolve)
def _convolve(inputs, kernel, dilation, scale, offset, *, kernel_gradient_first: bool) -> tf.Tensor:
    """Convolves at stride 1."""
    del kernel_gradient_first  # TensorFlow takes its own gradients in an order of its own
    return _plain(inputs, kernel, dilation, scale, offset)


def add_bias(outputs: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Adds a float32 bias to outputs of any float type and rank.

    CPUs add up bfloat16 in bfloat16, where a sum over thousands of pixels stops growing: here the bias's gradient is
    summed in float32.
    """
    if outputs.dtype == tf.float32:
        return outputs + bias

    @tf.custom_gradient
    def added(outputs, bias):
        def gradient(upstream):
            return upstream, tf.reduce_sum(tf.cast(upstream, tf.float32), range(upstream.shape.rank - 1))

        return outputs + tf.cast(bias, outputs.dtype), gradient

    return added(outputs, bias)


def convolution(
    inputs: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    *,
    name: str,
    rng: np.random.Generator,
    stride: int = 1,
    dilation: int = 1,
    kernel: Initialize = he_normal,
    bias: Initialize | None = None,
    **options,
) -> keras.KerasTensor:
    """Applies a new `Convolution`.

    Args:
      inputs: [batch, height, width, channels].
      filters: number of output channels.
      kernel_size: odd, rows = columns.
      name: of the layer.
      rng: source of the seeds of the initial weights.
      stride: of rows and columns.
      dilation: of rows and columns.
      kernel: initializer of the kernel.
      bias: initializer of the bias; None: no bias.
      **options: `kernel_gradient_first` and `symmetric` of `Convolution`.

    Returns:
      [batch, ceil(height / stride), ceil(width / stride), filters].
    """
    fan_in = kernel_size**2 * inputs.shape[-1]
    kernel_seed, bias_seed = rng.integers(2**31, size=2).tolist()
    return Convolution(
        filters,
        kernel_size,
        strides=stride,
        dilation_rate=dilation,
        use_bias=bias is not None,
        kernel_initializer=kernel(fan_in, kernel_seed),
        bias_initializer=bias(fan_in, bias_seed) if bias else None,
        name=name,
        **options,
    )(inputs)


def normalized_convolution(
    inputs: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    *,
    batch_norm: str,
    name: str,
    norm_name: str,
    rng: np.random.Generator,
    stride: int = 1,
    dilation: int = 1,
    epsilon: float | None = None,
    **options,
) -> keras.KerasTensor:
    """Applies a new `Convolution` and a new batch norm layer; a frozen one is folded into the convolution.

    Args:
      inputs: [batch, height, width, channels].
      filters: number of output channels.
      kernel_size: odd, rows = columns.
      batch_norm: "frozen" or "synchronized".
      name: of the convolution.
      norm_name: of the batch norm.
      rng: source of the seeds of the initial weights.
      stride: of rows and columns.
      dilation: of rows and columns.
      epsilon: see `batch_norm_layer`.
      **options: those of `convolution`.

    Returns:
      [batch, ceil(height / stride), ceil(width / stride), filters].

    Raises:
      InputError: no such batch norm.
    """
    norm = batch_norm_layer(batch_norm, norm_name, epsilon=epsilon, folded=True)
    options |= {"stride": stride, "dilation": dilation}
    return norm(convolution(inputs, filters, kernel_size, name=name, rng=rng, **options))


def batch_norm_layer(
    batch_norm: str, name: str, *, epsilon: float | None = None, folded: bool = False
) -> keras.layers.Layer:
    """Returns a new batch norm layer.

    Args:
      batch_norm: "frozen" or "synchronized".
      name: of the layer.
      epsilon: that of the network's paper, of both kinds; None: the default of each, 0 where frozen.
      folded: whether a frozen one leaves its work to the convolution before it.

    Raises:
      InputError: no such batch norm.
    """
    layers = {"frozen": functools.partial(FrozenBatchNorm, folded=folded), "synchronized": BatchNorm}
    if batch_norm not in layers:
        raise InputError(f"batch norm {batch_norm!r} is unknown: choose from {', '.join(layers)}")
    return layers[batch_norm](name=name, **({} if epsilon is None else {"epsilon": epsilon}))


@keras.saving.register_keras_serializable("fada_tf")
class FrozenBatchNorm(keras.layers.Layer):
    """Batch norm whose four vectors are constants: gamma * (x - mean) / sqrt(variance + epsilon) + beta.

    Epsilon is 0 unless given: https://github.com/JDAI-CV/FADA/blob/a1c6403/core/models/layers.py#L18-L23.

    Attributes:
      folded: whether the convolution that made its inputs normalises them.
      epsilon: added to the variance.
    """

    trainable_affine = False

    def __init__(self, *, folded: bool = False, epsilon: float = 0.0, **options):
        """Sets up the layer.

        Args:
          folded: whether the `Folding` layer that it is applied to in a functional model takes its work over.
          epsilon: added to the variance, at least 0.
          **options: those of `keras.layers.Layer`.
        """
        super().__init__(**options)
        self.folded, self.epsilon = folded, epsilon

    def get_config(self):
        """Returns the arguments that make the layer again."""
        return super().get_config() | {"folded": self.folded, "epsilon": self.epsilon}

    def __call__(self, inputs, **options):
        """Normalises; when a functional model is made, of a folded layer, tells the convolution to."""
        outputs = super().__call__(inputs, **options)
        if self.folded and isinstance(inputs, keras.KerasTensor):
            inputs._keras_history.operation.fold(self.affine)
        return outputs

    def build(self, input_shape):
        """Makes gamma, beta, moving_mean and moving_variance, each [channels] and float32."""

        def vector(name, initializer, trainable):
            return self.add_weight(
                name=name,
                shape=(input_shape[-1],),
                initializer=initializer,
                trainable=trainable,
                dtype="float32",
                autocast=False,
                aggregation="none" if trainable else "only_first_replica",  # all replicas hold the same statistics
            )

        self.gamma = vector("gamma", "ones", self.trainable_affine)
        self.beta = vector("beta", "zeros", self.trainable_affine)
        self.moving_mean = vector("moving_mean", "zeros", False)
        self.moving_variance = vector("moving_variance", "ones", False)

    def call(self, inputs):
        """Normalises [batch, height, width, channels]."""
        return inputs if self.folded else self._normalize(inputs, *self.affine())

    def affine(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the scale and the offset, beta - mean * scale, that stored statistics make, float32 [channels]."""
        return self._affine(self.moving_mean, self.moving_variance)

    def _affine(self, mean, variance):
        scale = self.gamma * tf.math.rsqrt(variance + self.epsilon if self.epsilon else variance)
        return scale, self.beta - mean * scale

    def _normalize(self, inputs, scale, offset):
        return tf.cast(tf.cast(inputs, tf.float32) * scale + offset, self.compute_dtype)


@keras.saving.register_keras_serializable("fada_tf")
class BatchNorm(FrozenBatchNorm):
    """Batch norm as torch defines it, in float32, with statistics over the batches of all replicas.

    The running variance is the unbiased one (divided by n - 1), as in torch and unlike Keras. Epsilon's default and
    1 - momentum are torch's: https://github.com/pytorch/pytorch/blob/5c6695ee/torch/nn/modules/batchnorm.py#L33-L34.
    """

    trainable_affine = True
    momentum = 0.9

    def __init__(self, *, epsilon: float = 1e-5, **options):
        """Sets up the layer, see `FrozenBatchNorm`."""
        super().__init__(epsilon=epsilon, **options)

    def call(self, inputs, training=False):
        """Normalises [batch, height, width, channels], in training by the batch, else by the running statistics."""
        if not training:
            return self._normalize(inputs, *self.affine())
        return self._normalize(inputs, *self._affine(*self._batch_statistics(tf.cast(inputs, tf.float32))))

    def _batch_statistics(self, inputs):
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        count, total = _replica_sum([count, tf.reduce_sum(inputs, [0, 1, 2])])
        mean = total / count
        (squares,) = _replica_sum([tf.reduce_sum(tf.square(inputs - mean), [0, 1, 2])])
        self._update(self.moving_mean, mean)
        self._update(self.moving_variance, squares / tf.maximum(count - 1, 1))
        return mean, squares / count

    def _update(self, variable, value):
        variable.assign(self.momentum * variable + (1 - self.momentum) * tf.stop_gradient(value))


def _replica_sum(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    """Returns the sums of `tensors` over the replicas, differentiably."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def resize_align_corners(x: tf.Tensor, size) -> tf.Tensor:
    """Resizes so that corner pixels map to corner pixels; see `resize`."""
    return resize(x, size, align_corners=True)


def resize(x: tf.Tensor, size, *, align_corners: bool) -> tf.Tensor:
    """Resizes bilinearly, without antialiasing, as torch's `interpolate` does.

    Args:
      x: [batch, height, width, channels], any float type.
      size: (new height, new width), integers or an integer tensor [2].
      align_corners: see `Interpolation`.

    Returns:
      float32 [batch, new height, new width, channels].
    """
    height, width = (known or size for known, size in zip(x.shape[1:3], tf.unstack(tf.shape(x)[1:3]), strict=True))
    columns, rows = (
        Interpolation(old, new, align_corners=align_corners) for old, new in ((width, size[1]), (height, size[0]))
    )
    return rows.at(columns.at(tf.cast(x, tf.float32), 2, tf.range(size[1])), 1, tf.range(size[0]))
