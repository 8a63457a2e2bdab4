"""Several processes, as several machines: they train as one process does, and go on after one has died."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import numpy as np
import pytest

from fada_tf.config import Config
from fada_tf.config_fields import to_json
from tests.processes import PATIENCE, command
from tests.small_runs import metrics, small_config, tensors

EXPERIMENT = """
import pathlib
from fada_tf.config_fields import from_json
def get_config():
    return from_json(pathlib.Path(__file__).with_suffix(".json").read_text())
"""


def config_of(records: pathlib.Path) -> Config:
    config = small_config(records, "fada")
    config.data.evaluation.records = str(records / "target")
    config.data.evaluation.height, config.data.evaluation.width = 24, 32
    config.training.iterations, config.training.evaluation_interval = 4, 2
    config.optimizer.learning_rate = 1e-3
    return config


def start(folder: pathlib.Path, config: Config, run: str, count: int) -> list[subprocess.Popen]:
    """Starts `count` workers on loopback; one needs no cluster."""
    (folder / "experiment.json").write_text(to_json(config))
    (folder / "experiment.py").write_text(EXPERIMENT)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in sockets]
    for listener in sockets:
        listener.close()
    processes = []
    for index in range(count):
        cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = os.environ | ({"TF_CONFIG": json.dumps(cluster)} if count > 1 else {})
        line = command("train", "--config=experiment.py", f"--run_dir={run}")
        with (folder / f"{run}.{index}.log").open("a") as log:
            processes.append(subprocess.Popen(line, cwd=folder, env=environment, stdout=log, stderr=log))
    return processes


def finish(folder: pathlib.Path, processes: list[subprocess.Popen], run: str) -> None:
    statuses = [process.wait(PATIENCE) for process in processes]
    for index, status in enumerate(statuses):
        assert status == 0, (folder / f"{run}.{index}.log").read_text()[-3000:]


def assert_alike(folder: pathlib.Path, one: str, other: str) -> None:
    first, second = (tensors(folder / run / "checkpoints" / "ckpt-4") for run in (one, other))
    assert first.keys() == second.keys()
    for name in first:
        # Sums over workers round otherwise than sums over one batch, and next to a ReLU's kink single values jump.
        assert np.linalg.norm(first[name] - second[name]) <= 1e-3 * np.linalg.norm(second[name]), name
    for line, expected in zip(metrics(folder / other), metrics(folder / one), strict=True):
        assert line.keys() == expected.keys()
        for name in ("step", "mean_iou", "loss/segmentation", "loss/adversarial"):
            if name in expected:
                np.testing.assert_allclose(line[name], expected[name], rtol=2e-2, atol=1e-3, err_msg=name)


@pytest.mark.slow
def test_two_workers_train_as_one_process_with_twice_their_batch(records, tmp_path):
    config = config_of(records)
    finish(tmp_path, start(tmp_path, config, "one", 1), "one")
    finish(tmp_path, start(tmp_path, config, "two", 2), "two")
    assert_alike(tmp_path, "one", "two")
    assert "evaluation" in (tmp_path / "two.0.log").read_text()
    assert "evaluation" not in (tmp_path / "two.1.log").read_text()  # one worker speaks for all


@pytest.mark.slow
def test_workers_go_on_from_the_last_checkpoint_after_one_died(records, tmp_path):
    config = config_of(records)
    finish(tmp_path, start(tmp_path, config, "one", 1), "one")
    first, second = start(tmp_path, config, "two", 2)
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "two/checkpoints/ckpt-2.index").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    second.send_signal(signal.SIGKILL)
    second.wait(PATIENCE)
    first.wait(PATIENCE)  # it misses the other and ends too, or had nothing left to do with it
    finish(tmp_path, start(tmp_path, config, "two", 2), "two")
    assert_alike(tmp_path, "one", "two")
