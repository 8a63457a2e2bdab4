"""Atrous spatial pyramid pooling of the deepest map, as in DeepLab-v2 (Chen et al., TPAMI 2018)."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from fada_tf import forms
from fada_tf.convolutions import cpu
from fada_tf.models.heads.base import Head
from fada_tf.models.layers import torch_uniform

# https://github.com/JDAI-CV/FADA/blob/a1c6403/core/models/build.py#L31
DILATIONS = (6, 12, 18, 24)


@keras.saving.register_keras_serializable("fada_tf")
class Classifier(keras.Model):
    """The SUM of four 3x3 convolutions, dilated by 6, 12, 18 and 24.

    Source: https://github.com/JDAI-CV/FADA/blob/a1c6403/core/models/classifier.py#L6-L33.

    Maps features [batch, height, width, feature_channels] to float32 logits [batch, height, width, num_classes].
    """

    def __init__(self, feature_channels: int, num_classes: int, rng: np.random.Generator):
        """Builds C.

        Args:
          feature_channels: channels of the features.
          num_classes: K.
          rng: source of the seeds of the initial weights.
        """
        super().__init__(name="classifier")
        self._config = {"feature_channels": feature_channels, "num_classes": num_classes}
        for dilation in DILATIONS:
            kernel_seed, bias_seed = rng.integers(2**31, size=2).tolist()
            branch = keras.layers.Conv2D(
                num_classes,
                3,
                padding="same",
                dilation_rate=dilation,
                kernel_initializer=keras.initializers.RandomNormal(stddev=0.01, seed=kernel_seed),
                bias_initializer=torch_uniform(9 * feature_channels, bias_seed),
                name=f"aspp_{dilation}",
            )
            branch.build((None, None, None, feature_channels))
            setattr(self, branch.name, branch)  # checkpoints follow attributes, and no lists
        self.built = True

    def get_config(self):
        """Returns what `from_config` makes the model of again: all but the weights."""
        return dict(self._config)

    @classmethod
    def from_config(cls, config):
        """Builds C; initial weights are those of seed 0."""
        return cls(**config, rng=np.random.default_rng(0))

    def call(self, features):
        """Computes the logits."""
        kernels = [tf.cast(branch.kernel, features.dtype) for branch in self.layers]
        biases = tf.add_n([tf.cast(branch.bias, tf.float32) for branch in self.layers])
        return _sum_of_convolutions(features, kernels, DILATIONS) + biases


@forms.on_cpus(cpu.sum_of_convolutions)
def _sum_of_convolutions(features, kernels: Sequence, dilations: Sequence[int]) -> tf.Tensor:
    # Keras's dilated layers take the features apart into grids, in four times the memory; this operation does not.
    pairs = zip(kernels, dilations, strict=True)
    branches = [tf.nn.conv2d(features, kernel, 1, "SAME", dilations=dilation) for kernel, dilation in pairs]
    return tf.add_n([tf.cast(branch, tf.float32) for branch in branches])


def _build(channels: Mapping[int, int], num_classes: int, batch_norm: str, rng: np.random.Generator) -> Classifier:
    del batch_norm  # it has none
    (feature_channels,) = channels.values()
    return Classifier(feature_channels, num_classes, rng)


VARIANTS = {"aspp": Head(_build)}
