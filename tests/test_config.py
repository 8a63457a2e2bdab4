"""The schema: experiment files, validation, JSON."""

import dataclasses
import importlib.util
import inspect
import json
import pathlib

import pytest

from fada_tf import config as config_lib
from fada_tf import config_fields, paper, registry, schema
from fada_tf.config import Config
from fada_tf.data import sampling
from fada_tf.errors import InputError
from fada_tf.experiment_file import ExperimentFile
from fada_tf.training import datasets
from fada_tf.validation import validate

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
EXPERIMENTS = sorted(path.stem for path in CONFIGS.glob("*.py"))


def experiment(name: str, stage: str) -> Config:
    """Returns what an experiment file gives for a stage."""
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(stage)


def valid() -> Config:
    return experiment("camvid_day_dusk", "adversarial")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_are_valid_and_survive_json(name):
    for stage in ExperimentFile(str(CONFIGS / f"{name}.py")).stages:
        config = experiment(name, stage.name)
        validate(config)
        assert config_fields.from_json(config_fields.to_json(config)) == config


def test_there_is_an_experiment_for_each_pair_and_backbone_of_the_paper():
    assert {"gta5_r101", "gta5_vgg16", "synthia_r101", "synthia_vgg16"} <= set(EXPERIMENTS)


@pytest.mark.parametrize("name", ["gta5_dinov2b_source", "gta5_dinov2b_mic", "synthia_dinov2b_mic"])
def test_images_of_dinov2_are_of_whole_patches_and_its_head_learns_at_the_peers_rate(name):
    config = experiment(name, "source" if name.endswith("source") else "self_training")
    for images in (config.data.source, config.data.target, config.data.evaluation):
        assert (images.height % 14, images.width % 14) == (0, 0)
    optimizer = config.optimizer
    assert optimizer.learning_rate * optimizer.head_multiplier == pytest.approx(1.41421356e-4)
    assert optimizer.learning_rate == pytest.approx(1.41421356e-6 if name.endswith("source") else 1.41421356e-5)


@pytest.mark.parametrize("name", ["gta5_r101", "gta5_vgg16", "synthia_r101", "synthia_vgg16"])
def test_schedules_are_the_papers(name):
    source, adversarial, distillation = (experiment(name, stage.name) for stage in paper.STAGES)
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
        ("training.iterations", 2_001, "beyond config.schedule.horizon"),
        ("data.source.height", 0, "config.data.source.height and width are 0 and 160"),
        ("data.source.scale_max", 2.0, "config.data.source.crop False has no use for: set it to 1.0, or crop to True"),
        ("data.evaluation.width", 0, "config.data.evaluation.height and width are 0"),
        ("data.evaluation.window", "512", "config.data.evaluation.window is '512': give HEIGHTxWIDTH in pixels"),
        ("data.evaluation.stride", "64x64", "config.data.evaluation.stride is '64x64' without a window"),
        (
            "data.evaluation.average",
            "median",
            "config.data.evaluation.average is 'median': choose from logits, softmax",
        ),
        ("data.fourier_beta", 0.5, "config.data.fourier_beta is 0.5: it takes less than 0.5"),
    ],
)
def test_validation_names_field_value_and_fix(field, value, message):
    config = valid()
    holder, name = schema._place(config, field)
    setattr(holder, name, value)
    with pytest.raises(InputError) as error:
        validate(config)
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
        validate(config)
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
        validate(config)


def test_paths_may_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    config = valid()
    config.data.source.records, config.model.initial_weights, config.name = "~/records", "~", "~/name"
    config_fields.expand_home(config)
    assert config.data.source.records == "/home/someone/records"
    assert (config.model.initial_weights, config.name) == ("/home/someone", "~/name")


def test_without_records_there_is_nothing_to_train_on():
    with pytest.raises(InputError, match=r"config\.data\.source\.records is empty"):
        validate(Config())


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
        config_fields.from_json(text, "run/config.json")


# What format 1 said of FADA with all that is not the default, and of source only with settings that it did not have.
FIRST_ADVERSARIAL = {
    "name": "old",
    "data": {"source": {"sampling": "class_balanced", "sub_epoch": 7}},
    "method": {"name": "fada", "temperature": 2.0, "class_knowledge": "soft", "confidence_clip": 0.8},
    "optimizer": {
        "learning_rate": 0.5,
        "classifier_multiplier": 2.0,
        "horizon": 70_000,
        "power": 0.8,
        "discriminator_learning_rate": 0.25,
        "discriminator_beta_1": 0.5,
        "discriminator_beta_2": 0.75,
        "discriminator_epsilon": 1e-3,
    },
}
FIRST_SUPERVISED = {
    "data": {"source": {"sub_epoch": 7, "full_height": 9, "scale_max": 2.0}},
    "model": {"backbone": "vgg16", "batch_norm": "synchronized"},
    "method": {
        "name": "source_only",
        "class_knowledge": "hard",
        "confidence_threshold": 0.5,
        "adversarial_weight": 3.0,
    },
    "optimizer": {"discriminator_learning_rate": 0.25},
}


def test_the_first_format_is_read():
    config = config_fields.from_json(json.dumps(FIRST_ADVERSARIAL))
    expected = Config(name="old", method=config_lib.method_settings("fada", temperature=2.0, confidence_clip=0.8))
    expected.data.source.sampling, expected.data.source.sub_epoch = "class_balanced", 7
    expected.optimizer.learning_rate, expected.optimizer.head_multiplier = 0.5, 2.0
    expected.schedule.horizon, expected.schedule.power = 70_000, 0.8
    discriminator = expected.method.discriminator
    discriminator.learning_rate, discriminator.beta_1, discriminator.beta_2, discriminator.epsilon = (
        0.25,
        0.5,
        0.75,
        1e-3,
    )
    assert config == expected
    assert json.loads(config_fields.to_json(config))["format"] == 2


def test_settings_that_the_first_format_took_and_ignored_are_dropped():
    config = config_fields.from_json(json.dumps(FIRST_SUPERVISED))
    assert config == Config(model=config_lib.ModelConfig(backbone="vgg16"))
    hard = FIRST_ADVERSARIAL | {"method": FIRST_ADVERSARIAL["method"] | {"class_knowledge": "hard"}}
    assert config_fields.from_json(json.dumps(hard)).method == config_lib.method_settings(
        "fada", class_knowledge="hard", discriminator=config_fields.from_json(json.dumps(hard)).method.discriminator
    )
    now = json.loads(config_fields.to_json(valid())) | {"optimizer": {"horizon": 3}}
    with pytest.raises(InputError, match="unknown fields horizon"):
        config_fields.from_json(json.dumps(now))


@pytest.mark.parametrize("number", [3, 0, "2", None, True])
def test_a_format_that_is_not_known_is_one_line(number):
    with pytest.raises(InputError) as error:
        config_fields.from_json(json.dumps({"format": number, "field": 1}), "run/config.json")
    assert str(error.value) == (
        f"run/config.json has format {number!r}, and this fada_tf reads up to 2: install a newer one"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"optimizer.beta_1": 0.5},
            "config.optimizer.beta_1 is 0.5, which config.optimizer.name 'sgd' has no use for: ",
        ),
        (
            {"method.discriminator.momentum": 0.5},
            "config.method.discriminator.momentum is 0.5, which config.method.discriminator.name 'adam' has no use for"
            ": set it to 0.9, or name to 'sgd'",
        ),
        (
            {"data.target.sub_epoch": 7},
            "config.data.target.sub_epoch is 7, which config.data.target.sampling 'shuffled'",
        ),
        ({"data.source.rare_class_temperature": 0.1}, "sampling to 'rare_class'"),
        ({"data.source.rare_class_min_pixels": 1}, "sampling to 'rare_class'"),
        ({"data.source.rare_class_crop_ratio": 0.5}, "sampling to 'rare_class'"),
        (
            {"data.source.sampling": "rare_class", "data.source.rare_class_crop_ratio": 0.5},
            "config.data.source.rare_class_crop_ratio is 0.5, and config.data.source.crop is False: set it to 0, or ",
        ),
        ({"method.confidence_threshold": 0.5}, "set it to 0.9, or class_knowledge to 'hard'"),
        ({"method.class_knowledge": "hard", "method.confidence_clip": 0.5}, "class_knowledge to 'soft'"),
        ({"data.target.full_height": 9}, "set it to 0, or crop to True"),
        (
            {"method.name": "source_only", "data.target.records": "", "data.target.flip": True},
            "config.data.target.flip is True, and config.data.target.records is empty: set it to False, or config.data."
            "target.records to the folder that fada-tf make_tfrecords wrote",
        ),
        ({"schedule.warmup_start": 0.5}, "config.schedule.warmup_start is 0.5, and there is no warm-up: set it to 0"),
        ({"data.target.crop": True, "data.target.scale_min": 2.0}, "scale_min 2.0 is above scale_max 1.0"),
        (
            {"data.fourier_beta": 0.01, "data.target.height": 100},
            "fourier_beta is 0.01, and config.data.source is 120 x 160 pixels, config.data.target 100 x 160",
        ),
    ],
)
def test_settings_without_effect_are_refused(fields, message):
    config = valid()
    config_fields.set_fields(config, fields)
    with pytest.raises(InputError) as error:
        validate(config)
    assert message in str(error.value)


def test_a_domain_without_records_takes_its_other_settings_along():
    config = valid()
    config_fields.set_fields(config, {"method.name": "source_only", "data.target.records": ""})
    validate(config)
    assert config.data.target.flip is False and config.data.source.flip is True


def test_a_size_alone_may_be_of_a_domain_without_records():
    config = valid()
    config.data.target = config_lib.DomainConfig(height=24, width=32)
    validate(config)
    config.data.target.margin_left = 1
    with pytest.raises(
        InputError, match=r"config\.data\.target\.margin_left is 1, and config\.data\.target\.records is"
    ):
        validate(config)
    config_fields.drop_untrained(config)
    validate(config)
    assert config.data.target == config_lib.DomainConfig(height=24, width=32) and config.data.source.flip


def test_a_section_has_defaults_of_its_own_that_count_as_unset():
    config = valid()
    config_fields.set_fields(config, {"method.discriminator.name": "sgd"})
    assert config.method.discriminator.beta_2 != config_lib.NetworkOptimizerConfig().beta_2
    schema.check(config)
    config.method.discriminator.beta_2 = config_lib.NetworkOptimizerConfig().beta_2
    with pytest.raises(InputError, match=r"discriminator\.beta_2 is 0\.999, .* set it to 0\.99, or name to 'adam' or"):
        schema.check(config)


def test_overrides_choose_the_method_first_and_keep_what_both_have():
    config = valid()
    config.method.confidence_clip = 0.5
    kept = config.method.discriminator.learning_rate
    assert config_fields.has_field(config, "method.confidence_clip")
    config_fields.set_fields(
        config, {"method.discriminator.beta_1": "0.5", "training.xla": "True", "method.name": "binary_adversarial"}
    )
    assert (config.method.name, config.method.adversarial_weight, config.training.xla) == (
        "binary_adversarial", 0.01, True,
    )  # fmt: skip
    assert (config.method.discriminator.learning_rate, config.method.discriminator.beta_1) == (kept, 0.5)
    assert not config_fields.has_field(config, "method.confidence_clip") and not config_fields.has_field(
        config, "method"
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("method.name", "fda", "config.method.name is 'fda': choose from binary_adversarial, dacs, fada, mic"),
        ("method.adverserial_weight", 1.0, "config.method.adverserial_weight (nearest: config.method.adversarial_wei"),
        ("optimizer.horizon", 3, "config.optimizer.horizon (now: config.schedule.horizon)"),
        ("optimizer.discriminator_beta_1", 0.5, "(now: config.method.discriminator.beta_1)"),
        ("training.iterations", "many", "config.training.iterations is 'many': it takes a value of type int"),
        ("training.iterations", "1.5", "config.training.iterations is '1.5': it takes a value of type int"),
        ("training.xla", "maybe", "config.training.xla is 'maybe': it takes a value of type bool"),
        ("method.discriminator", "sgd", "method.discriminator is a section of the config: name one of its fields"),
    ],
)
def test_wrong_overrides_are_one_line(field, value, message):
    with pytest.raises(InputError) as error:
        config_fields.set_fields(valid(), {field: value})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_setting_that_a_method_does_not_have_is_refused():
    with pytest.raises(InputError, match=r"method source_only has no setting temperature \(nearest: segmentation_temp"):
        config_lib.method_settings("source_only", temperature=2.0)
    config = valid()
    config.method = config_lib.method_settings("self_distillation")
    config.method.class_knowledge = "hard"
    with pytest.raises(InputError, match=r"no such field: config.method.class_knowledge \(nearest: "):
        validate(config)


def test_settings_of_a_sampling_reach_it_and_have_its_defaults():
    domain = config_lib.DomainConfig(sampling="rare_class", rare_class_temperature=0.5, rare_class_min_pixels=7)
    assert datasets.sampling_options(domain) == {"temperature": 0.5, "min_pixels": 7}
    for strategy in ("class_balanced", "rare_class"):
        parameters = inspect.signature(sampling.STRATEGIES[strategy]).parameters
        options = datasets.sampling_options(config_lib.DomainConfig(sampling=strategy, sub_epoch=5))
        for name, value in options.items():
            assert value == parameters[name].default or (name, value) == ("sub_epoch", 5)


def test_differences_are_listed_by_field():
    one, other = Config(), Config()
    other.optimizer.learning_rate = 1.0
    assert config_fields.differences(one, other) == ["optimizer.learning_rate: 0.00025, 1.0"]


def test_free_fields_exist_and_are_those_that_messages_advise():
    assert set(config_fields.FREE_FIELDS) <= set(config_fields.flatten(Config()))
    one, other = Config(), Config(name="other")
    other.data.source.max_bad_records = other.data.target.max_bad_records = 3
    other.data.evaluation.batch_size = 8
    assert config_fields.differences(one, other, but=config_fields.FREE_FIELDS) == []
    other.method = config_lib.method_settings("fada")  # the last part of method.name is a free field's name
    assert config_fields.differences(one, other, but=config_fields.FREE_FIELDS) == [
        "method.name: 'source_only', 'fada'"
    ]


def test_every_field_is_documented():
    def fields(section):
        for field in dataclasses.fields(section):
            if dataclasses.is_dataclass(field.type):
                yield from fields(getattr(section, field.name))
            else:
                yield field

    for method in registry.names("fada_tf.methods"):
        assert all(field.metadata["doc"] for field in fields(Config(method=config_lib.method_settings(method))))
