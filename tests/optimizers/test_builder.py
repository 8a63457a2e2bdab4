"""Every setting of an optimizer's section reaches the optimizer."""

import keras
import pytest

from fada_tf.config import Config, NetworkOptimizerConfig, OptimizerConfig, ScheduleConfig
from fada_tf.methods import source_only
from fada_tf.models.segmenter import build_segmenter
from fada_tf.optimizers.builder import build_optimizer
from fada_tf.optimizers.groups import ParameterGroup
from fada_tf.optimizers.torch_optimizers import TorchAdam, TorchAdamW, TorchSGD

CLASSES = {"sgd": TorchSGD, "adam": TorchAdam, "adamw": TorchAdamW}


@pytest.mark.parametrize("name", CLASSES)
def test_settings_reach_the_optimizer(name):
    own = {"momentum": 0.5} if name == "sgd" else {"beta_1": 0.6, "beta_2": 0.7, "epsilon": 1e-3}
    spec = NetworkOptimizerConfig(name, 0.25, weight_decay=0.1, clip_norm=3.0, **own)
    schedule = ScheduleConfig("linear", horizon=8, warmup_iterations=4, warmup_start=0.5)
    groups = [ParameterGroup("one", [keras.Variable([1.0])]), ParameterGroup("two", [keras.Variable([1.0])], 2.0, 0.0)]
    optimizer = build_optimizer(spec, schedule, groups)
    assert type(optimizer) is CLASSES[name]
    assert {setting: getattr(optimizer, setting) for setting in own} == own
    assert (optimizer.weight_decays, optimizer.clip_norm) == ((0.1, 0.0), 3.0)
    assert optimizer.learning_rates() == {"one": 0.125, "two": 0.25}
    optimizer.iterations.assign(6)
    assert optimizer.learning_rates() == {"one": 0.0625, "two": 0.125}


def test_the_segmenters_optimizer_is_what_its_section_says():
    config = Config(optimizer=OptimizerConfig("adamw", 1.0, decay_all=False, head_multiplier=4.0, layer_decay=0.5))
    optimizer = source_only.build(config, build_segmenter("tiny", 3, "synchronized")).optimizers["segmenter"]
    assert isinstance(optimizer, TorchAdamW)
    assert optimizer.learning_rates() == {"feature_extractor": 1.0, "classifier": 4.0}
    assert optimizer.groups[0].multipliers()[0] == 0.5**6
    names = [variable.name for group in optimizer.groups for variable in group.variables]
    decays = dict(zip(names, optimizer.weight_decays, strict=True))
    assert decays == {"kernel": 5e-4, "bias": 5e-4, "gamma": 0, "beta": 0}
