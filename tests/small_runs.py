"""Runs small enough for tests, and what is compared of them."""

import json
import pathlib

import numpy as np
import tensorflow as tf

from fada_tf.config import Config, method_settings
from tests import trained

# What methods with a teacher need for images of this size and few iterations.
SETTINGS = {
    "dacs": {"confidence_threshold": 0.4},
    "mic": {"confidence_threshold": 0.4, "mask_block": 8, "adversarial": True},
    "source_free": {"confidence_threshold": 0.4, "mask_block": 8},
}


def small_config(records: pathlib.Path, method: str) -> Config:
    """Returns a small run of any method on the records of the fixture `records`."""
    mixes = method in ("dacs", "mic")  # images of one size
    config = Config(name=method)
    config.data.label_space = str(records / "classes.json")
    config.model.backbone, config.model.batch_norm = "tiny", "synchronized"
    config.method = method_settings(method, **SETTINGS.get(method, {}))
    if method == "source_free":
        start = records / "start"
        config.model.initial_weights = str(start / "run") if start.exists() else _written(start)
    config.optimizer.learning_rate, config.schedule.horizon = 1e-2, 20
    config.training.iterations, config.training.batch_size, config.training.steps_per_loop = 4, 2, 1
    config.training.checkpoint_interval, config.training.picture_interval = 2, 0
    for name in ("source", "target"):
        domain = getattr(config.data, name)
        domain.records, domain.height, domain.width = str(records / name), 24, 32 if name == "source" or mixes else 40
        domain.color_jitter = domain.flip = True
    return config


def _written(start: pathlib.Path) -> str:
    start.mkdir()
    return trained.write_run(start)


def tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns every tensor of a checkpoint, but the number of times that the process has saved."""
    found = {name: tf.train.load_variable(str(path), name) for name, _ in tf.train.list_variables(str(path))}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, np.ndarray | np.generic) and "save_counter" not in name
    }


def metrics(run_dir: pathlib.Path) -> list[dict]:
    """Returns the lines of metrics.jsonl without what differs from run to run."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in lines]


def assert_same(one: pathlib.Path, other: pathlib.Path, iteration: int) -> None:
    """Fails unless two run directories agree in every bit of weights, optimizer slots, metrics and best checkpoint."""
    steps = [[line for line in metrics(run) if line["step"] <= iteration] for run in (one, other)]
    assert steps[0] == steps[1]
    checkpoints = [f"checkpoints/ckpt-{iteration}"]
    best = {path.stem for path in (one / "best").glob("*.index")}
    assert best == {path.stem for path in (other / "best").glob("*.index")}
    for name in [*checkpoints, *(f"best/{stem}" for stem in best)]:
        first, second = tensors(one / name), tensors(other / name)
        assert first.keys() == second.keys()
        assert {key.partition("/")[0] for key in first} >= {"segmenter", "step", "segmenter_optimizer"}
        for key in first:
            np.testing.assert_array_equal(first[key], second[key], err_msg=f"{name}: {key}")
