"""A network's optimizer from its section of the config."""

from collections.abc import Sequence

from fada_tf.config import NetworkOptimizerConfig, ScheduleConfig
from fada_tf.optimizers.groups import ParameterGroup
from fada_tf.optimizers.schedules import build_schedule
from fada_tf.optimizers.torch_optimizers import TorchAdam, TorchAdamW, TorchOptimizer, TorchSGD

_CLASSES = {"sgd": TorchSGD, "adam": TorchAdam, "adamw": TorchAdamW}
_OWN_SETTINGS = {"sgd": ("momentum",), "adam": ("beta_1", "beta_2", "epsilon")}
_OWN_SETTINGS["adamw"] = _OWN_SETTINGS["adam"]
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
    settings = {field: getattr(spec, field) for field in (*_OWN_SETTINGS[spec.name], *_SETTINGS)}

    def schedule_of(multiplier):
        return build_schedule(schedule, spec.learning_rate * multiplier)

    return _CLASSES[spec.name](groups, schedule_of, **settings, name=name)
