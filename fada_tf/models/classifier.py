"""C, the pixel classifier: atrous spatial pyramid pooling as in DeepLab-v2."""

import keras
import numpy as np

from fada_tf.models.layers import convolution, torch_uniform

_DILATIONS = (6, 12, 18, 24)


def _normal(fan_in: int, seed: int) -> keras.Initializer:
    del fan_in
    return keras.initializers.RandomNormal(stddev=0.01, seed=seed)


def build_classifier(feature_channels: int, num_classes: int, rng: np.random.Generator) -> keras.Model:
    """Builds C: the SUM of four 3x3 convolutions, dilated by 6, 12, 18 and 24 (code).

    Args:
      feature_channels: channels of the features.
      num_classes: K.
      rng: source of the seeds of the initial weights.

    Returns:
      A model from features [batch, height, width, feature_channels] to float32 logits [batch, height, width, K].
    """
    features = keras.Input((None, None, feature_channels), name="features")
    branches = [
        convolution(
            features,
            num_classes,
            3,
            dilation=dilation,
            kernel=_normal,
            bias=torch_uniform,
            name=f"aspp_{dilation}",
            rng=rng,
        )
        for dilation in _DILATIONS
    ]
    logits = keras.layers.Add(name="logits", dtype="float32")(branches)
    return keras.Model(features, logits, name="classifier")
