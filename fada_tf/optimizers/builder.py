"""A network's optimizer from its section of the config."""

import dataclasses
from collections.abc import Sequence

from fada_tf.config import NetworkOptimizerConfig, ScheduleConfig
from fada_tf.optimizers.groups import ParameterGroup
from fada_tf.optimizers.schedules import build_schedule
from fada_tf.optimizers.torch_optimizers import TorchAdam, TorchAdamW, TorchOptimizer, TorchSGD

_BETAS = ("beta_1", "beta_2", "epsilon")
# By name: the class, and the settings that it alone has.
_OPTIMIZERS = {"sgd": (TorchSGD, ("momentum",)), "adam": (TorchAdam, _BETAS), "adamw": (TorchAdamW, _BETAS)}
_SETTINGS = ("weight_decay", "decay_all", "clip_norm")


def build_optimizer(
    spec: NetworkOptimizerConfig, schedule: ScheduleConfig, groups: Sequence[ParameterGroup], name: str = "optimizer"
) -> TorchOptimizer:
    """Returns the one optimizer of a network, in the scope of the strategy.

    Args:
      spec: what updates the weights, and by which settings.
      schedule: the shape of the learning rates; each is schedule(spec.learning_rate * multiplier) of a weight.
      groups: all trained weights of the network.
      name: of the optimizer's variables.
    """
    optimizer, its_settings = _OPTIMIZERS[spec.name]
    settings = {field: getattr(spec, field) for field in (*its_settings, *_SETTINGS)}

    def schedule_of(multiplier):
        return build_schedule(spec.learning_rate * multiplier, **dataclasses.asdict(schedule))

    return optimizer(groups, schedule_of, **settings, name=name)
