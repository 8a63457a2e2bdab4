"""D, the domain discriminator: it sees one map of features, and tells domain and class at once."""

import keras
import numpy as np
import tensorflow as tf

from fada_tf.models.layers import convolution, torch_uniform
from fada_tf.models.segmenter import Segmenter

# https://github.com/JDAI-CV/FADA/blob/a1c6403/core/models/build.py#L36
_FILTERS = 256  # of the first convolution; the second has half of them
# https://github.com/JDAI-CV/FADA/blob/a1c6403/core/models/discriminator.py#L44
_SLOPE = 0.2  # of the leaky ReLU below zero


@keras.saving.register_keras_serializable("fada_tf")
class LeakyReLU(keras.layers.LeakyReLU):
    """Leaky ReLU of two operations, instead of TensorFlow's own one.

    In bfloat16 on CPUs its optimizer fuses that one with the convolution, misses that the gradient needs what lies
    between, and gives up fusing anything of the whole step.
    """

    def call(self, inputs):
        """Returns inputs above 0, and `negative_slope` times those below."""
        return tf.maximum(inputs, self.negative_slope * inputs)


def build_discriminator(segmenter: Segmenter, num_classes: int, seed: int = 0) -> keras.Model:
    """Builds D: two 3x3 convolutions and a head a domain (paper 3.3).

    Source: https://github.com/JDAI-CV/FADA/blob/a1c6403/core/models/discriminator.py#L38-L56.

    Args:
      segmenter: the model whose map it will see, the one that `Segmenter.features` returns.
      num_classes: channels a domain: K, or 1 for the binary discriminator.
      seed: of the initial weights, at least 0.

    Returns:
      A model from features [batch, height, width, channels] to float32 logits [batch, height, width, 2 * num_classes]:
      the source's classes, then the target's; at the stride of the map.
    """
    rng = np.random.default_rng([seed, 1])  # not the segmenter's numbers again

    def convolve(x, filters, name):
        return convolution(
            x, filters, 3, kernel=torch_uniform, bias=torch_uniform, name=name, rng=rng,
            kernel_gradient_first=False,  # the adversarial loss goes through D without changing it
        )  # fmt: skip

    features = x = keras.Input((None, None, segmenter.feature_channels), name="features")
    for filters, name in ((_FILTERS, "conv1"), (_FILTERS // 2, "conv2")):
        x = convolve(x, filters, name)
        x = LeakyReLU(_SLOPE, name=f"{name}_relu")(x)
    heads = [convolve(x, num_classes, f"{domain}_head") for domain in ("source", "target")]
    logits = keras.layers.Concatenate(name="logits", dtype="float32")(heads)
    return keras.Model(features, logits, name="discriminator")
