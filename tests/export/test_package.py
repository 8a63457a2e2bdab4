"""Packages: what is in them, that they are the run for whoever loads them, and that they appear whole or not at all."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import yaml

import fada_tf
from fada_tf import config_fields
from fada_tf.data import files
from fada_tf.errors import InputError
from fada_tf.evaluation.confusion import Scores
from fada_tf.evaluation.score_files import write_scores
from fada_tf.export import package
from fada_tf.models.moving_average import copy_of
from fada_tf.runs import checkpoint
from tests import scenes, trained

FILES = {
    "README.md", "config.json", "label_space.json", "scores.json", "checkpoints/checkpoint",
    f"checkpoints/ckpt-{trained.ITERATION}.data-00000-of-00001", f"checkpoints/ckpt-{trained.ITERATION}.index",
}  # fmt: skip


@pytest.fixture
def run(trained_run, tmp_path) -> pathlib.Path:
    """A copy of the run, with paths of this machine in its config."""
    run = tmp_path / "my run"
    shutil.copytree(trained_run, run)
    edit(run, {"data.source.records": "/home/me/renders,/home/me/more/", "model.initial_weights": "/home/me/lite0.npz"})
    return run


def edit(run: pathlib.Path, values: dict) -> None:
    config = config_fields.from_json((run / "config.json").read_bytes())
    config_fields.set_fields(config, values)
    (run / "config.json").write_text(config_fields.to_json(config))


def add_scores(run: pathlib.Path, name: str, confusion: np.ndarray, boundary=None, **more) -> None:
    origin = {
        "checkpoint": str(run), "weights_sha256": checkpoint.weights_digest(str(run)), "iteration": trained.ITERATION,
        "network": "student", "records": f"/home/me/{name}", "images": 4, "records_sha256": "0", "height": 24,
        "width": 32, "scales": [1.0], "flip": False,
    }  # fmt: skip
    folder = run / "scores" / name / "32x24" / str(trained.ITERATION)
    write_scores(Scores(tuple(scenes.CLASSES), confusion, boundary=boundary), origin | more, str(folder))


def metadata(folder: pathlib.Path) -> dict:
    _, header, _ = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(header)


def test_a_package_is_its_run_for_whoever_loads_it_and_names_no_folder(run, tmp_path):
    add_scores(run, "val | 1", np.diag([6, 4, 0]) + np.eye(3, k=1, dtype=int))
    half = Scores(tuple(scenes.CLASSES), np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0]]))
    add_scores(run, "scaled", np.diag([1, 1, 1]), half, scales=[0.7, 1.0], flip=True)
    add_scores(run, "of_other_weights", np.diag([1, 1, 1]), weights_sha256="another")
    add_scores(run, "of_the_teacher", np.diag([1, 1, 1]), network="teacher")
    output = tmp_path / "streets"
    assert set(package.write_package(str(run), str(output), license="apache-2.0")) == FILES
    assert set(files.walk(str(output))) == FILES
    for path in output.rglob("*"):
        assert path.is_dir() or b"/home/me" not in path.read_bytes(), path
    assert json.loads((output / "config.json").read_text())["data"]["source"]["records"] == "renders,more"

    card, values = (output / "README.md").read_text(), metadata(output)
    assert values["license"] == "apache-2.0" and values["pipeline_tag"] == "image-segmentation"
    results = {each["dataset"]["name"]: each["metrics"][0]["value"] for each in values["model-index"][0]["results"]}
    assert values["model-index"][0]["name"] == "streets"
    assert results == {"val | 1": pytest.approx((6 / 7 + 4 / 6 + 0) / 3), "scaled": 1.0}
    assert "| val \\| 1 | 4 | 32 x 24 | 50.8 | 83.3 | - | - |" in card
    assert "| scaled | 4 | 32 x 24; scales 0.7, 1; mirrored too | 100.0 | 100.0 | 25.0 | - |" in card
    assert "| 1 | road | 128, 64, 128 |" in card and "| initial weights | lite0.npz |" in card
    assert {each["records"] for each in json.loads((output / "scores.json").read_text())} == {"val | 1", "scaled"}

    picture = scenes.scene(1, dusk=False)[0]
    packed, original = (fada_tf.load(path).segment(picture) for path in (output, run))
    np.testing.assert_array_equal(packed.ids, original.ids)
    assert packed.classes == original.classes and checkpoint.iteration(checkpoint.checkpoint_path(str(output))) == 7


def test_a_run_without_scores_says_so(run, tmp_path):
    package.write_package(str(run), str(tmp_path / "p"), name='Mine: "new" #1')
    card = (tmp_path / "p/README.md").read_text()
    assert '# Mine: "new" #1\n' in card and "In training, its own evaluation found a mean IoU of 25.0 %." in card
    assert "license" not in metadata(tmp_path / "p") and "model-index" not in metadata(tmp_path / "p")
    assert "Its owner has not said under which licence it may be used." in card
    assert json.loads((tmp_path / "p/scores.json").read_text()) == []


def test_the_packed_network_is_the_one_that_is_asked_for(run, tmp_path):
    config = config_fields.from_json((run / "config.json").read_bytes())
    config_fields.set_fields(config, {"method.name": "mic", "method.inference": "better"})
    (run / "config.json").write_text(config_fields.to_json(config))
    student = checkpoint.load_segmenter(str(run))
    teacher = copy_of(student)
    for variable in teacher.variables:
        variable.assign(variable + 1)
    saved = tf.train.Checkpoint(segmenter=student, teacher=teacher)
    manager = tf.train.CheckpointManager(saved, str(run / "checkpoints"), 1)
    manager.save(checkpoint_number=trained.ITERATION)
    for network, expected in (("teacher", teacher), (None, student)):
        output = str(tmp_path / f"package of {network}")
        package.write_package(str(run), output, network=network)
        assert checkpoint.network(output) == (network or "student")
        loaded = checkpoint.load_segmenter(output)
        for one, other in zip(loaded.variables, expected.variables, strict=True):
            np.testing.assert_array_equal(one, other)


def test_it_appears_whole_or_not_at_all(run, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").touch()
    with pytest.raises(InputError, match=r"full exists: choose another --output"):
        package.write_package(str(run), str(tmp_path / "full"))
    with pytest.raises(InputError, match=r"classes.json holds no checkpoint|holds no checkpoint"):
        package.write_package(str(tmp_path), str(tmp_path / "p"))

    def full_disk(path, data, written=files.write_atomically):
        if path.endswith(package.CARD):
            raise OSError(28, "No space left on device")
        written(path, data)

    monkeypatch.setattr(files, "write_atomically", full_disk)
    before = set(os.listdir(tmp_path))
    with pytest.raises(InputError, match=r"p cannot be written \(No space left on device\): choose another --output"):
        package.write_package(str(run), str(tmp_path / "p"))
    assert set(os.listdir(tmp_path)) == before
