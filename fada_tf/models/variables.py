"""Weights of models by their paths, which initial weights and converted ones are named by."""

import keras

from fada_tf.models.lora import is_adapter


def named_variables(*models: keras.Model) -> dict[str, keras.Variable]:
    """Returns the weights of models by their paths, for instance "block1_conv1/kernel"; without adapters.

    Raises:
      ValueError: two have one path.
    """
    weights = [weight for model in models for weight in model.weights if not is_adapter(weight)]
    named = {weight.path: weight for weight in weights}
    if len(named) < len(weights):
        common = max(named, key=[weight.path for weight in weights].count)
        raise ValueError(f"several weights are named {common}: give their layers names of their own")
    return named
