"""How many images programs look at at a time, unless told otherwise."""

import pathlib

import pytest
import tensorflow as tf

from fada_tf import devices
from fada_tf.data import conversion
from fada_tf.data.datasets import folder as folder_dataset
from tests import scenes
from tests.processes import run

# Devices of their own number, and an end where the batch size is known.
TWO_REPLICAS = """
import sys
import tensorflow as tf
from fada_tf.data import pipeline
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
pipeline.evaluation_dataset = lambda *records, batch_size, **options: sys.exit(f"at a time: {batch_size}")
"""
FASTEST_ARE_FOUR = """
import sys
from fada_tf import devices
from fada_tf.evaluation import features, prediction
devices.inference_batch_size = lambda: 4
def end(*others, batch_size=None, **options):
    sys.exit(f"at a time: {batch_size or others[-1]}")
prediction.Predictor = prediction.SavedPredictor = features.analyze = end
"""
PROGRAMS = {
    "predict": ["--images=raw/images", "--output=x"],
    "make_pseudo_labels": ["--records=records", "--output=x"],
    "analyze_features": ["--source=records", "--target=records"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A folder with pictures and their records."""
    folder = tmp_path_factory.mktemp("batches")
    scenes.write_class_file(folder / "classes.json")
    scenes.write_folder(folder / "raw", 2, dusk=False)
    dataset = folder_dataset.find(str(folder / "raw/images"), str(folder / "raw/labels"), str(folder / "classes.json"))
    conversion.convert(dataset, str(folder / "records"))
    return folder


def at_a_time(folder: pathlib.Path, program: str, first: str, *options: str) -> int:
    """Returns the batch size that a program ends with."""
    result = run(folder, program, *options, first=first)
    lines = [line for line in result.stderr.splitlines() if line.startswith("at a time: ")]
    assert lines, result.stderr
    return int(lines[0].removeprefix("at a time: "))


@pytest.mark.parametrize(("options", "images"), [([], 2), (["--batch_size=6"], 6)])
def test_evaluation_looks_at_one_image_a_replica(folder, trained_run, options, images):
    options = [f"--checkpoint={trained_run}", "--records=records", *options]
    assert at_a_time(folder, "evaluate", TWO_REPLICAS, *options) == images


@pytest.mark.parametrize(("options", "images"), [([], 4), (["--batch_size=6"], 6)])
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_look_at_as_many_images_as_are_fastest(folder, trained_run, program, options, images):
    options = [f"--checkpoint={trained_run}", *PROGRAMS[program], *options]
    assert at_a_time(folder, program, FASTEST_ARE_FOUR, *options) == images


def test_on_a_gpu_four_are_faster_than_one(monkeypatch):
    assert devices.inference_batch_size() == 1
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [f"{kind}:0"])
    assert devices.inference_batch_size() == 4
