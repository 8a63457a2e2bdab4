"""Experiments, studies and class files are found by name, in any folder."""

import pathlib

import pytest

from fada_tf import experiment_file, shipped
from fada_tf.config import Config
from fada_tf.data import labels
from fada_tf.errors import InputError
from fada_tf.experiments.study import load_study
from fada_tf.runs import provenance

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> pathlib.Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["demo", "demo.py", "configs/demo.py", str(CONFIGS / "demo.py")])
def test_an_experiment_has_a_name_everywhere(folder, name):
    assert experiment_file.get_config(name, "adversarial").name == "demo adversarial"


@pytest.mark.parametrize("name", ["camvid_day_dusk", "studies/camvid_day_dusk", "configs/studies/camvid_day_dusk.py"])
def test_a_study_does_not_take_its_experiment_for_itself(folder, name):
    assert load_study(name).name == "camvid_day_dusk"


def test_files_of_the_working_folder_come_first(folder):
    (folder / "configs").mkdir()
    (folder / "demo").mkdir()  # as in the checkout: a folder is no experiment
    for path, name in (("configs/demo.py", "in configs"), ("demo.py", "beside")):
        (folder / path).write_text(CONFIGS.joinpath("demo.py").read_text().replace('f"demo {stage}"', repr(name)))
        assert experiment_file.get_config(path).name == name
    assert experiment_file.get_config("demo").name == "in configs"
    assert experiment_file.get_config("gta5_r101").name.startswith("gta5")


@pytest.mark.parametrize("name", ["camvid11", "camvid11.json", "configs/classes/camvid11.json"])
def test_a_class_file_has_a_name_everywhere(folder, name):
    assert labels.label_space(name).num_classes == labels.ClassFile.load(name).label_space.num_classes == 11
    config = Config()
    config.data.label_space = name
    assert provenance.input_checksums(config).keys() == {"config.data.label_space"}


def test_the_nearest_name_is_named(folder):
    with pytest.raises(InputError, match=r"^gta5_r11 does not exist \(nearest: gta5_r101\): give the path of a file"):
        experiment_file.get_config("gta5_r11")
    with pytest.raises(InputError, match=r"'camvid': use cityscapes19, .*, camvid11 or the path") as error:
        labels.label_space("camvid")
    assert "crosscity13" in str(error.value)


def test_all_names_are_listed(folder):
    for kind in (shipped.EXPERIMENTS, shipped.STUDIES, shipped.CLASSES):
        found = {shipped.find(name, kind) for name in shipped.names(kind)}
        assert found == {str(path) for path in (CONFIGS / kind).iterdir() if path.is_file()}
