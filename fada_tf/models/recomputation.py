"""Gradient checkpointing: training that keeps the outputs of some blocks, and computes the rest a second time."""

import itertools
import math
import re
from collections.abc import Callable

import keras
import tensorflow as tf

from fada_tf.errors import InputError


def recomputed(model: keras.Model, block_ends: str) -> Callable[..., list[tf.Tensor]]:
    """Returns a function that computes what the model does, in less memory where gradients are taken.

    Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.

    Args:
      model: functional, of images or of a list of them and more, all of which every part of it may see, with outputs
        that come one after the other; without batch statistics, which would be updated twice.
      block_ends: see `Backbone`.

    Returns:
      A function from the model's inputs, one by one, to the list of its outputs in training.

    Raises:
      InputError: the backbone names no block ends.
    """
    names = [layer.name for layer in model.layers]
    ends = [layer.output for layer in model.layers if re.fullmatch(block_ends, layer.name)]
    if not ends:
        raise InputError("this backbone names no block_ends to keep: set config.model.recompute to False")
    every = math.isqrt(len(ends))  # as many outputs are kept as there are blocks whose values exist at a time
    *maps, last = model.outputs
    kept = [end for end in ends[every - 1 :: every] if end is not last]

    def place(output: keras.KerasTensor) -> int:
        return names.index(output._keras_history.operation.name)

    parts = []
    for start, end in itertools.pairwise([model.inputs[0], *kept, last]):
        # Each part returns the model's outputs on the way to its end, from which the next one goes on.
        passed = [output for output in maps if place(start) < place(output) < place(end)]
        seen = [place for place, given in enumerate(model.inputs) if given is not start]
        part = keras.Model([start, *(model.inputs[place] for place in seen)], [*passed, end], name=model.name)
        parts.append((part, seen, len(passed) + any(end is output for output in model.outputs)))

    def compute(*given: tf.Tensor) -> list[tf.Tensor]:
        outputs: list[tf.Tensor] = []
        inputs = given[0]
        for part, seen, count in parts:

            def step(inputs: tf.Tensor, part=part, seen=seen) -> list[tf.Tensor]:
                return part([inputs, *(given[place] for place in seen)], training=True)

            # The gradient begins with the last part, whose values are still there.
            step = step if part is parts[-1][0] else tf.recompute_grad(step)
            computed = keras.tree.flatten(step(inputs))  # of a list of one, recompute_grad returns the tensor
            outputs += computed[:count]
            inputs = computed[-1]
        return outputs

    return compute
