"""The schema: experiment files, validation, JSON."""

import dataclasses
import importlib.util
import pathlib

import pytest

from fada_tf import config as config_lib
from fada_tf import paper, registry, schema
from fada_tf.config import Config
from fada_tf.errors import InputError

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
EXPERIMENTS = sorted(path.stem for path in CONFIGS.glob("*.py"))


def experiment(name: str, stage: str) -> Config:
    """Returns what an experiment file gives for a stage."""
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(stage)


def valid() -> Config:
    return experiment("demo", "adversarial")


@pytest.mark.parametrize("stage", paper.STAGES)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_are_valid_and_survive_json(name, stage):
    config = experiment(name, stage)
    config_lib.validate(config)
    assert config_lib.from_json(config_lib.to_json(config)) == config


def test_there_is_an_experiment_for_each_pair_and_backbone_of_the_paper():
    assert {"gta5_r101", "gta5_vgg16", "synthia_r101", "synthia_vgg16"} <= set(EXPERIMENTS)


@pytest.mark.parametrize("name", ["gta5_r101", "gta5_vgg16", "synthia_r101", "synthia_vgg16"])
def test_schedules_are_the_papers(name):
    source, adversarial, distillation = (experiment(name, stage) for stage in paper.STAGES)
    for config in (source, distillation):
        assert config.training.iterations == 20_000
        assert config.schedule.horizon == 31_250
        assert config.training.batch_size == 8
        assert config.optimizer.learning_rate == 5e-4
    assert adversarial.training.iterations == 40_000
    assert adversarial.schedule.horizon == 62_500
    assert adversarial.training.batch_size == 4
    assert adversarial.method.segmentation_temperature == 1.8
    assert adversarial.data.source.color_jitter
    assert not source.data.source.color_jitter


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("method", "fada", "config.method is 'fada': set it to method_settings(NAME)"),
        ("method.temperature", 0.0, "config.method.temperature is 0.0: it takes more than 0"),
        ("method.class_knowledge", "firm", "config.method.class_knowledge is 'firm': choose from soft, hard"),
        ("optimizer.momentum", -1.0, "config.optimizer.momentum is -1.0: it takes 0 or more"),
        ("training.batch_size", "4", "config.training.batch_size is '4': it takes a value of type int"),
        ("training.precision", "fp8", "config.training.precision is 'fp8': choose from float32"),
        ("training.accumulation_steps", 3, "does not divide into config.training.accumulation_steps 3 equal parts"),
        ("training.iterations", 2_000, "beyond config.schedule.horizon"),
        ("data.source.height", 0, "config.data.source.height and width are 0 and 160"),
        ("data.source.scale_max", 2.0, "config.data.source.crop False has no use for: set it to 1.0, or crop to True"),
        ("data.evaluation.width", 0, "config.data.evaluation.height and width are 0"),
    ],
)
def test_validation_names_field_value_and_fix(field, value, message):
    config = valid()
    holder, name = schema._place(config, field)
    setattr(holder, name, value)
    with pytest.raises(InputError) as error:
        config_lib.validate(config)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_fields_that_do_not_exist_are_named_with_the_nearest():
    config = valid()
    config.optimizer.lr = 0.5
    config.data.target.colour_jitter = True
    config.training.batchsize = 64
    config.training.learning_rate = 1.0
    config.modle = "vgg16"
    with pytest.raises(InputError) as error:
        config_lib.validate(config)
    assert str(error.value) == (
        "no such field: config.modle (nearest: config.model), "
        "config.data.target.colour_jitter (nearest: config.data.target.color_jitter), "
        "config.optimizer.lr (nearest: config.optimizer.learning_rate), "
        "config.training.batchsize (nearest: config.training.batch_size), "
        "config.training.learning_rate (nearest: config.optimizer.learning_rate)"
    )


@pytest.mark.parametrize("section", ["model", "data.source"])
def test_a_section_is_no_value(section):
    config = valid()
    schema.set_field(config, section, "vgg16")
    with pytest.raises(InputError, match=rf"config\.{section} is 'vgg16': it is a section, set its fields one by one"):
        config_lib.validate(config)


def test_paths_may_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    config = valid()
    config.data.source.records, config.model.initial_weights, config.name = "~/records", "~", "~/name"
    config_lib.expand_home(config)
    assert config.data.source.records == "/home/someone/records"
    assert (config.model.initial_weights, config.name) == ("/home/someone", "~/name")


def test_without_records_there_is_nothing_to_train_on():
    with pytest.raises(InputError, match=r"config\.data\.source\.records is empty"):
        config_lib.validate(Config())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ('{"nmae": "x"}', "unknown fields nmae: choose from name, seed"),
        ('{"training": {"iterations": "many"}}', "training.iterations is 'many': it takes a value of type int"),
        ('{"training": 3}', "training is 3: it should hold the fields of TrainingConfig"),
    ],
)
def test_bad_json_is_refused_with_the_place(text, message):
    with pytest.raises(InputError, match=message):
        config_lib.from_json(text, "run/config.json")


def test_differences_are_listed_by_field():
    one, other = Config(), Config()
    other.optimizer.learning_rate = 1.0
    assert config_lib.differences(one, other) == ["optimizer.learning_rate: 0.00025, 1.0"]


def test_free_fields_exist_and_are_those_that_messages_advise():
    assert set(config_lib.FREE_FIELDS) <= set(config_lib.flatten(Config()))
    one, other = Config(), Config(name="other")
    other.data.source.max_bad_records = other.data.target.max_bad_records = 3
    other.data.evaluation.batch_size = 8
    assert config_lib.differences(one, other, but=config_lib.FREE_FIELDS) == []
    other.method = config_lib.method_settings("fada")  # the last part of method.name is a free field's name
    assert config_lib.differences(one, other, but=config_lib.FREE_FIELDS) == ["method.name: 'source_only', 'fada'"]


def test_every_field_is_documented():
    def fields(section):
        for field in dataclasses.fields(section):
            if dataclasses.is_dataclass(field.type):
                yield from fields(getattr(section, field.name))
            else:
                yield field

    for method in registry.names("fada_tf.methods"):
        assert all(field.metadata["doc"] for field in fields(Config(method=config_lib.method_settings(method))))
