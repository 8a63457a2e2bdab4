"""Which weights of a network learn at which rate, and which of them decay."""

import dataclasses
import re
from collections.abc import Callable, Sequence

import keras

from fada_tf.errors import InputError
from fada_tf.models.segmenter import Segmenter, find_backbone


@dataclasses.dataclass(frozen=True)
class ParameterGroup:
    """Weights of a network that are reported by one name.

    Attributes:
      name: for learning rates and gradient norms.
      variables: the weights, in the order of their gradients.
      multiplier: of the network's learning rate.
      weight_decay: of these weights; None: the network's.
      multiplier_of: a second multiplier for every single weight, such as `layer_decay`; None: 1 for all.
    """

    name: str
    variables: Sequence[keras.Variable]
    multiplier: float = 1.0
    weight_decay: float | None = None
    multiplier_of: Callable[[keras.Variable], float] | None = None

    def multipliers(self) -> list[float]:
        """Returns what the network's learning rate is multiplied by for each weight."""
        if self.multiplier_of is None:
            return [self.multiplier] * len(self.variables)
        return [self.multiplier * self.multiplier_of(variable) for variable in self.variables]


def segmenter_groups(
    segmenter: Segmenter, *, head_multiplier: float, layer_decay: float = 1.0
) -> tuple[ParameterGroup, ...]:
    """Returns "feature_extractor", unless nothing of it is trained, and "classifier"; see `OptimizerConfig`.

    Raises:
      InputError: layer decay of a backbone that names no blocks.
    """
    backbone = segmenter.feature_extractor
    multiplier_of = None
    if layer_decay != 1:
        block_ends = find_backbone(segmenter.backbone).block_ends
        if not block_ends:
            raise InputError(
                f"config.optimizer.layer_decay is {layer_decay}, and backbone {segmenter.backbone!r} names no "
                "block_ends: set it to 1"
            )
        multiplier_of = layer_multipliers(backbone, block_ends, layer_decay)
    groups = (
        ParameterGroup("feature_extractor", backbone.trainable_variables, multiplier_of=multiplier_of),
        ParameterGroup("classifier", segmenter.classifier.trainable_variables, multiplier=head_multiplier),
    )
    return tuple(group for group in groups if group.variables)


def layer_multipliers(model: keras.Model, block_ends: str, layer_decay: float) -> Callable[[keras.Variable], float]:
    """Returns a function from a weight to 1 in the last block, and `layer_decay` times the next block's in the others.

    Args:
      model: functional; what comes before its first block end counts as a block, what comes after the last belongs to
        the last.
      block_ends: see `Backbone`.
      layer_decay: above 0.
    """
    blocks, block = {}, 0
    for layer in model.layers:
        blocks |= dict.fromkeys((variable.path for variable in layer.variables), block)
        block += bool(re.fullmatch(block_ends, layer.name))
    last = block - 1
    return lambda variable: layer_decay ** max(last - blocks[variable.path], 0)


def is_norm_or_position(variable: keras.Variable) -> bool:
    """Tells, by its path, whether a weight belongs to a normalization or is a position embedding."""
    *_, name = parts = variable.path.split("/")
    return name in ("gamma", "beta") or any("position" in part for part in parts)
