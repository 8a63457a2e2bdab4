"""Experiment files that are wrong: one line that says what, and where."""

import pathlib

import pytest

from fada_tf import experiment_file
from fada_tf.errors import InputError

UNDECLARED = """
from fada_tf.config import Config
def get_config(stage="source"):
    return {"source": Config(), "adversarial": Config()}[stage]
"""
CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_a_wrong_stage_is_named_with_the_right_ones(path, tmp_path):
    with pytest.raises(InputError) as error:
        experiment_file.get_config(str(path), "sourec")
    names = [stage.name for stage in experiment_file.ExperimentFile(str(path)).stages]
    assert str(error.value) == f"{path} has no stage 'sourec': choose from {', '.join(names)}"
    (tmp_path / "old.py").write_text(UNDECLARED)
    with pytest.raises(InputError, match=r"old.py has no stage 'sourec': choose from source, adversarial$"):
        experiment_file.get_config(str(tmp_path / "old.py"), "sourec")
    methods = {"source": "source_only", "self_training": path.stem.rpartition("_")[2]}
    assert experiment_file.get_config(str(path)).method.name == methods[names[0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_that_name", r"x.py, line 1 cannot be run \(ModuleNotFoundError: No module named"),
        ("def get_config(stage):\n  return (", r"x.py, line 2 cannot be run \(SyntaxError: "),
        (
            "def get_config(stage):\n\n  return 1 / 0",
            r"x.py, line 3 cannot be run \(ZeroDivisionError: ",
        ),
        ("def get_config(stage):\n  return {'a': 1}['b']", r"x.py, line 2 cannot be run \(KeyError: 'b'\): mend it"),
        ("def get_config(stage):\n  raise ValueError('a\\nb')", r"line 2 cannot be run \(ValueError: a\\nb\): mend it"),
        (
            "def get_config(stage): pass",
            r"get_config of \S+x.py returns None: it should return",
        ),
        ("def get_confg(stage): pass", r"x.py has no function get_config: begin with a copy of a file in configs/"),
    ],
)
def test_a_file_that_cannot_be_run_says_where(tmp_path, text, message):
    path = tmp_path / "x.py"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        experiment_file.get_config(str(path), "source")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config.method.name = 'fada'", "write config.method = method_settings('fada')"),
        ("config.method = method_settings('fada', adverserial_weight=1)", "(nearest: adversarial_weight)"),
        ("config.training.iterations = config.optimizer.horizon", "nearest is config.schedule.horizon"),
        ("config.training.iterations = config.training.batchsize", "nearest is batch_size"),
    ],
)
def test_a_line_of_earlier_form_or_misspelt_names_the_field_of_today(tmp_path, line, message):
    path = tmp_path / "x.py"
    text = "from fada_tf.config import Config, method_settings\ndef get_config(stage):\n  config = Config()\n  "
    path.write_text(f"{text}{line}\n  return config")
    with pytest.raises(InputError) as error:
        experiment_file.get_config(str(path), "source")
    assert str(error.value).startswith(f"{path}, line 4") and message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    for path, message in (
        ("", "the empty path does not exist"),
        (str(tmp_path), "does not exist"),
        (str(tmp_path / "x.json"), "no Python"),
    ):
        with pytest.raises(InputError, match=message):
            experiment_file.get_config(path)


def test_settings_of_the_command_line_are_read_as_what_fields_take():
    place = f"{CONFIGS / 'demo.py'}:adversarial"
    settings = ["name=2024", "training.xla=True", "training.iterations=9", "training.iterations=7"]
    config = experiment_file.read_config(place, [*settings, "optimizer.learning_rate=1", "training.iterations=9"])
    assert (config.name, config.training.xla, config.training.iterations) == ("2024", True, 9)
    assert config.model.initial_weights == "demo_output/runs/source"
    with pytest.raises(InputError, match=r"no such field: config.training.iteration \(nearest: config.training.itera"):
        experiment_file.read_config(place, ["training.iteration=9"])
    with pytest.raises(InputError, match=r"config\.training\.batch_size is 0"):
        experiment_file.read_config(place, ["training.batch_size=0"])
