"""Gradient checkpointing: training that keeps the outputs of blocks, and computes the rest a second time."""

import itertools
import re
from collections.abc import Callable

import keras
import tensorflow as tf


def recomputed(model: keras.Model, block_ends: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that computes what the model does, in less memory where gradients are taken.

    Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.

    Args:
      model: functional, of one input and one output, without batch statistics: they would be updated twice.
      block_ends: see `Backbone`.
    """
    outputs = [layer.output for layer in model.layers if re.fullmatch(block_ends, layer.name)]
    ends = [model.input, *(output for output in outputs if output is not model.output), model.output]
    blocks = [keras.Model(*ends_of_block) for ends_of_block in itertools.pairwise(ends)]
    # The gradient begins with the last block, whose values are still there.
    steps = [*(tf.recompute_grad(block) for block in blocks[:-1]), blocks[-1]]

    def compute(inputs: tf.Tensor) -> tf.Tensor:
        for step in steps:
            inputs = step(inputs)
        return inputs

    return compute
