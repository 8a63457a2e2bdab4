"""Small runs: records of made-up scenes, one device."""

import pathlib

import pytest
import tensorflow as tf

from fada_tf.data import conversion
from fada_tf.data.datasets import folder as folder_dataset
from fada_tf.training import run as run_lib
from tests import scenes


@pytest.fixture(scope="session")
def records(tmp_path_factory) -> pathlib.Path:
    """Records of two looks, and the class file."""
    folder = tmp_path_factory.mktemp("records")
    scenes.write_class_file(folder / "classes.json")
    for name, dusk in (("source", False), ("target", True)):
        scenes.write_folder(folder / "raw" / name, 5, dusk=dusk)
        raw = folder / "raw" / name
        dataset = folder_dataset.find(str(raw / "images"), str(raw / "labels"), str(folder / "classes.json"))
        conversion.convert(dataset, str(folder / name))
    return folder


@pytest.fixture(autouse=True)
def one_device(monkeypatch) -> None:
    """Trains on one device: a second MirroredStrategy in a process would mix its collectives up with the first's."""
    monkeypatch.setattr(run_lib, "make_strategy", lambda **options: tf.distribute.get_strategy())
