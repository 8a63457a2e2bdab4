"""Gradient checkpointing: training that keeps the outputs of some blocks, and computes the rest a second time."""

import itertools
import math
import re
from collections.abc import Callable

import keras
import tensorflow as tf

from fada_tf.errors import InputError


def recomputed(model: keras.Model, block_ends: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that computes what the model does, in less memory where gradients are taken.

    Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.

    Args:
      model: functional, of one input and one output, without batch statistics: they would be updated twice.
      block_ends: see `Backbone`.

    Raises:
      InputError: the backbone names no block ends.
    """
    outputs = [layer.output for layer in model.layers if re.fullmatch(block_ends, layer.name)]
    if not outputs:
        raise InputError("this backbone names no block_ends to keep: set config.model.recompute to False")
    every = math.isqrt(len(outputs))  # as many outputs are kept as there are blocks whose values exist at a time
    ends = [model.input, *(output for output in outputs[every - 1 :: every] if output is not model.output)]
    parts = [keras.Model(*part, name=model.name) for part in itertools.pairwise([*ends, model.output])]
    # The gradient begins with the last part, whose values are still there.
    steps = [*(tf.recompute_grad(part) for part in parts[:-1]), parts[-1]]

    def compute(inputs: tf.Tensor) -> tf.Tensor:
        for step in steps:
            inputs = step(inputs)
        return inputs

    return compute
