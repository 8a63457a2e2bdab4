"""Stopping on request, also by a terminal that is closed."""

import os
import pty
import select
import signal
import sys
import time

import pytest
import tensorflow as tf

from fada_tf.config_fields import to_json
from fada_tf.errors import Stopped
from fada_tf.training import run as run_lib
from fada_tf.training.actions import WarnOfLosses
from fada_tf.training.signals import StopRequest
from tests.processes import PATIENCE, command
from tests.small_runs import metrics, small_config, tensors
from tests.training.test_workers import EXPERIMENT


def seen(stop: StopRequest, seconds: float = 10) -> bool:
    """Waits for the thread that reads signals."""
    end = time.monotonic() + seconds
    while not stop.flag.numpy() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(stop.flag.numpy())


@pytest.fixture
def hangup_handler():
    """Restores what SIGHUP does."""
    earlier = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, earlier)


def test_a_closed_terminal_stops_a_run_however_often_it_says_so(hangup_handler):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert seen(stop)
        os.kill(os.getpid(), signal.SIGHUP)  # the shell and the kernel may both send one
        time.sleep(0.1)
        with pytest.raises(Stopped, match="stopped by SIGHUP"):
            stop.check()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_a_run_that_was_told_to_ignore_hangups_goes_on(hangup_handler):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not seen(stop, 0.2)
        stop.check()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.slow
def test_lines_that_nobody_can_read_stop_no_run(records, tmp_path, monkeypatch):
    class Gone:
        def write(self, text):
            raise OSError(5, "Input/output error")

        flush = write

    config = small_config(records, "source_only")
    config.data.evaluation.records = str(records / "target")
    config.data.evaluation.height, config.data.evaluation.width = 24, 32
    config.training.iterations = 2
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Gone())
        run_lib.train(config, str(tmp_path / "run"))
    assert [line["kind"] for line in metrics(tmp_path / "run")] == ["train", "train", "evaluation"]


def test_a_signal_stops_a_run_whose_loops_have_one_iteration(records, tmp_path, monkeypatch):
    config = small_config(records, "source_only")
    config.training.iterations = config.schedule.horizon = config.training.checkpoint_interval = 3000
    monkeypatch.setattr(WarnOfLosses, "__call__", lambda self, output: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(os, "_exit", lambda status: None)  # of further signals
    with pytest.raises(Stopped, match=r"stopped by SIGTERM at iteration \d+, with a checkpoint"):
        run_lib.train(config, str(tmp_path / "run"))


@pytest.mark.slow
def test_a_run_whose_terminal_is_closed_leaves_a_checkpoint(records, tmp_path):
    config = small_config(records, "source_only")
    config.schedule.horizon = 100_000
    config.training.iterations = config.training.checkpoint_interval = 50_000
    (tmp_path / "experiment.json").write_text(to_json(config))
    (tmp_path / "experiment.py").write_text(EXPERIMENT)
    process, terminal = pty.fork()
    if not process:
        os.chdir(tmp_path)
        os.execv(sys.executable, command("train", "--config=experiment.py", "--run_dir=run"))
    log, end = tmp_path / "run/metrics.jsonl", time.monotonic() + PATIENCE
    while not (log.exists() and log.read_text().count("\n") >= 3) and time.monotonic() < end:
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 4096)
    os.close(terminal)
    while os.waitpid(process, os.WNOHANG) == (0, 0):
        assert time.monotonic() < end, os.kill(process, signal.SIGKILL)
        time.sleep(0.05)
    saved = tf.train.latest_checkpoint(str(tmp_path / "run/checkpoints"))
    assert 3 <= tensors(saved)["step/.ATTRIBUTES/VARIABLE_VALUE"] < 50_000
