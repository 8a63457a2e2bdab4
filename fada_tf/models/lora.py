"""Low-rank adapters: a network learns a small product that is added to each of some kernels, which stay as they are.

Hu et al., LoRA, ICLR 2022, https://arxiv.org/abs/2106.09685. The sum is the kernel of the network that is scored,
exported and converted: see `assign_merged`.
"""

import keras
import numpy as np

# Their product is added to the `kernel` beside them, with a factor of 1.
_IN, _OUT = "lora_in", "lora_out"


def is_adapter(variable: keras.Variable) -> bool:
    """Tells, by its path, whether a weight belongs to an adapter."""
    return variable.path.rpartition("/")[2] in (_IN, _OUT)


def assign_merged(network: keras.Model, adapted: keras.Model) -> None:
    """Gives a network the weights of one like it that may have adapters, kernels with those added to them.

    Args:
      network: its own adapters, if it has any, stay as they are.
      adapted: the other one.
    """
    values = {variable.path: variable for variable in adapted.variables}
    for variable in network.variables:
        if not is_adapter(variable):
            value, layer = values[variable.path], variable.path.rpartition("/")[0]
            if variable.name == "kernel" and f"{layer}/{_IN}" in values:
                value = value + np.asarray(values[f"{layer}/{_IN}"]) @ np.asarray(values[f"{layer}/{_OUT}"])
            variable.assign(value)


def adapter_weights(
    layer: keras.layers.Layer, kernel_shape: tuple[int, int], rank: int, seed: int
) -> tuple[keras.Variable, keras.Variable]:
    """Makes weights of a layer that is being built, whose product is 0 at first.

    Args:
      layer: gets the weights.
      kernel_shape: inputs and outputs.
      rank: of the product.
      seed: of the initial values.

    Returns:
      float32 [inputs, rank] and [rank, outputs].
    """
    inputs, outputs = kernel_shape
    options = {"dtype": "float32", "autocast": False}
    uniform = keras.initializers.HeUniform(seed=seed)
    into = layer.add_weight(name=_IN, shape=(inputs, rank), initializer=uniform, **options)
    return into, layer.add_weight(name=_OUT, shape=(rank, outputs), initializer="zeros", **options)
