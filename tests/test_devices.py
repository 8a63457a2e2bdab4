"""No program touches TensorFlow's devices before they are set up, as only a machine with GPUs would show."""

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest
import tensorflow as tf
from absl import logging

from fada_tf import devices, machine
from fada_tf.data import conversion
from fada_tf.data.datasets import folder as folder_dataset
from tests import scenes
from tests.first_devices import UNTOUCHED
from tests.processes import ROOT, command

EXPERIMENT = """
from fada_tf.config import Config
def get_config():
    config = Config()
    config.data.label_space, config.model.backbone = "classes.json", "tiny"
    source = config.data.source
    source.records, source.height, source.width = "records", 24, 32
    return config
"""
RUN = "--checkpoint=run"
RECORDS = "--records=records"
PLAIN = "--convolutions=plain"  # of every program that runs a model itself
# By case: the command line, and what is set when it first touches a device.
GROWTH, HIDDEN = "memory growth", "hidden GPUs"
CASES = {
    "train": (["train", "--config=experiment.py", "--run_dir=new"], GROWTH),
    "evaluate": (["evaluate", RUN, RECORDS, PLAIN], GROWTH),
    "evaluate_all": (["evaluate", RUN, RECORDS, "--all"], GROWTH),
    "predict": (["predict", RUN, PLAIN, "--images=raw/images", "--output=predictions"], GROWTH),
    "make_pseudo_labels": (["make_pseudo_labels", RUN, PLAIN, RECORDS, "--output=pseudo"], GROWTH),
    "analyze_features": (["analyze_features", RUN, PLAIN, "--source=records", "--target=records"], GROWTH),
    "report": (["report", "run", RECORDS, PLAIN, "--output=report.html"], GROWTH),
    "export_model": (["export_model", RUN, "--images=raw/images"], GROWTH),
    "package": (["package", "run", "--output=packed"], GROWTH),
    "check_machine": (["check_machine", PLAIN], GROWTH),
    "convert_weights": (["convert_weights", "--input=run", "--output=run.pth"], GROWTH),
    "benchmark_train": (["benchmark_train", "--config=experiment.py"], GROWTH),
    "benchmark_inference": (["benchmark_inference", PLAIN, "--backbone=tiny", "--height=24", "--width=32"], GROWTH),
    "benchmark_input": (["benchmark_input", "--photos=raw/images", "--count=1"], HIDDEN),
    "make_tfrecords": (["make_tfrecords", "--images=nowhere", "--output=again"], HIDDEN),
    "run_pipeline": (["run_pipeline", "--config=configs/demo.py", "--dry_run"], UNTOUCHED),
    "run_study": (["run_study", "--config=configs/studies/camvid_day_dusk.py", "--dry_run"], UNTOUCHED),
    "train_workers": (["train", "--config=experiment.py", "--run_dir=new"], f"{GROWTH} and workers"),
    "evaluate_workers": (["evaluate", RUN, RECORDS], f"{GROWTH} and workers"),
}
NOT_HERE = ("benchmark_torch_loader", "serve")  # the first has no TensorFlow, the second tests of its own


@pytest.fixture(scope="module")
def first_touches(trained_run, tmp_path_factory) -> dict[str, str]:
    """What each of the cases had set when it first touched a device."""
    folder = tmp_path_factory.mktemp("devices")
    shutil.copytree(trained_run, folder / "run")
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / "experiment.py").write_text(EXPERIMENT)
    scenes.write_class_file(folder / "classes.json")
    scenes.write_folder(folder / "raw", 2, dusk=False)
    dataset = folder_dataset.find(str(folder / "raw/images"), str(folder / "raw/labels"), str(folder / "classes.json"))
    conversion.convert(dataset, str(folder / "records"))
    # The report needs scores; here a worker of a cluster, which has devices of its own kind, makes them.
    subprocess.run(command("evaluate", RUN, RECORDS), cwd=folder, env=os.environ | worker(), check=True)
    cases = {
        name: {"command": line, "environment": worker() if name.endswith("_workers") else {}}
        for name, (line, _) in CASES.items()
    }
    (folder / "cases.json").write_text(json.dumps(cases))
    result = subprocess.run(
        [sys.executable, "-m", "tests.first_devices", "cases.json"],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(result.stdout)


def worker() -> dict[str, str]:
    """Returns the environment of the only worker of a cluster."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": [address]}, "task": {"type": "worker", "index": 0}})}


@pytest.mark.parametrize("case", CASES)
def test_devices_are_set_up_before_a_program_touches_them(first_touches, case):
    assert first_touches[case] == CASES[case][1]


def test_every_program_is_among_the_cases():
    programs = {path.stem for path in (ROOT / "fada_tf/programs").glob("[a-z]*.py")}
    assert programs == {line[0] for line, _ in CASES.values()} | set(NOT_HERE)


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    """What is warned of."""
    lines: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: lines.append(text % values))
    return lines


@pytest.mark.parametrize(("driver", "hidden", "warned"), [(True, "", False), (True, None, True), (False, None, False)])
def test_gpus_that_tensorflow_cannot_use_are_told_of(monkeypatch, tmp_path, warnings, driver, hidden, warned):
    monkeypatch.setattr(machine, "_NVIDIA_DRIVER", (str(tmp_path if driver else tmp_path / "none"),))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    devices.set_up_devices()
    assert len(warnings) == warned
    assert not warned or "pip install -e '.[gpu]'" in warnings[0]


def test_devices_that_run_already_stay_as_they_are(monkeypatch, warnings):
    def too_late(gpu, growth):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", too_late)
    devices.set_up_devices()
    assert "keep the memory settings" in warnings[0]


def test_devices_have_names(monkeypatch, two_replicas):
    assert devices.device_names(tf.distribute.get_strategy()) == "CPU"
    assert devices.device_names(two_replicas) == "2 x CPU"
    models = {"a": "NVIDIA H100", "b": "NVIDIA A2", "c": "NVIDIA H100"}
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: list(models))
    details = lambda gpu: {"device_name": models[gpu]}  # noqa: E731
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details)
    assert devices.device_names(tf.distribute.get_strategy()) == "2 x NVIDIA H100, NVIDIA A2"
