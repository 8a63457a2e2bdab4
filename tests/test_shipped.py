"""Experiments, studies and class files are found by name, in any folder."""

import pathlib

import numpy as np
import pytest

from fada_tf import experiment_file, shipped
from fada_tf.config import Config
from fada_tf.data import labels
from fada_tf.errors import InputError
from fada_tf.experiments.study import load_study
from fada_tf.models.segmenter import build_segmenter
from fada_tf.models.weights import load_initial_weights
from fada_tf.runs import checkpoint, provenance

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


@pytest.mark.parametrize(
    "name", ["efficientnet_lite0", "efficientnet_lite0.npz", "configs/weights/efficientnet_lite0.npz"]
)
def test_weights_have_a_name_everywhere(folder, name):
    account = load_initial_weights(build_segmenter("efficientnet_lite0_os32", 3, head="segformer"), name)
    assert account.startswith("efficientnet_lite0_os32: 240 of ") and "weights/efficientnet_lite0.npz" in account
    config = Config()
    config.model.initial_weights = name
    assert provenance.input_checksums(config).keys() == {"config.model.initial_weights"}


def test_weights_are_those_of_the_source(folder):
    original = CONFIGS.parents[1] / "shared" / "weights" / "efficientnet_lite0.npz"
    if not original.exists():
        pytest.skip("no ../shared/weights/efficientnet_lite0.npz")
    ours, theirs = np.load(CONFIGS / "weights" / "efficientnet_lite0.npz"), np.load(original)
    assert sorted(ours) == sorted(name for name in theirs if not name.startswith(("_fc.", "_conv_head.", "_bn1.")))
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_a_folder_of_the_user_comes_before_weights_of_its_name(folder, trained_run):
    (folder / "efficientnet_lite0").symlink_to(trained_run)
    config = Config()
    config.model.initial_weights = "efficientnet_lite0"
    digest = provenance.input_checksums(config)["config.model.initial_weights"]
    assert digest == checkpoint.fingerprint(trained_run)


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
