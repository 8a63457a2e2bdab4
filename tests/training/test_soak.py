"""Thousands of iterations leave memory, files and open handles as they were."""

import os
import pathlib

import pytest

from fada_tf.training import actions
from fada_tf.training import run as run_lib
from tests.small_runs import small_config

ITERATIONS = 5000


def resident_megabytes() -> float:
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="this system has no /proc to read memory from")
def test_five_thousand_iterations_take_no_more_room_than_one_thousand(records, tmp_path, monkeypatch):
    config = small_config(records, "source_only")
    config.data.evaluation.records = str(records / "target")
    config.data.evaluation.height, config.data.evaluation.width = 24, 32
    training = config.training
    training.iterations, config.schedule.horizon = ITERATIONS, 2 * ITERATIONS
    training.steps_per_loop, training.checkpoint_interval = 25, 50
    training.evaluation_interval = training.picture_interval = 250
    seen = {}

    def look(self, output):
        files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
        seen[int(self.step.numpy())] = (resident_megabytes(), len(os.listdir("/proc/self/fd")), len(files))

    monkeypatch.setattr(actions.WarnOfLosses, "__call__", look)
    run_lib.train(config, str(tmp_path / "run"))
    memory, handles, files = zip(*(seen[step] for step in (1000, 2000, 3000, 4000, ITERATIONS)), strict=True)
    print(f"MB {[round(value) for value in memory]}, handles {handles}, files {files}")
    assert max(handles) <= handles[0] + 2
    assert max(files) <= files[0] + 2  # a checkpoint more while one is written
    assert memory[-1] - memory[0] < 0.02 * memory[0]
