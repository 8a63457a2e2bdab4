"""What goes wrong during a run: interruptions anywhere, damaged and vanished files, full disks, divergence."""

import fcntl
import json
import os
import pathlib
import shutil
import signal
import threading
import time

import pytest
import tensorflow as tf

from fada_tf.config import Config
from fada_tf.errors import DivergenceError, InputError, Stopped
from fada_tf.evaluation.evaluator import Evaluator
from fada_tf.losses import segmentation
from fada_tf.methods import source_only
from fada_tf.runs.metrics import MetricsFile
from fada_tf.training import actions, checkpoints, datasets
from fada_tf.training import run as run_lib
from tests.small_runs import assert_same, small_config, tensors

ITERATIONS = 8


def config_of(records: pathlib.Path) -> Config:
    """Returns a run whose loops, checkpoints and evaluations end at different iterations."""
    config = small_config(records, "source_only")
    config.data.evaluation.records = str(records / "target")
    config.data.evaluation.height, config.data.evaluation.width = 24, 32
    training = config.training
    training.iterations, training.steps_per_loop, training.checkpoint_interval = ITERATIONS, 3, 2
    training.evaluation_interval = 4
    return config


@pytest.fixture(scope="module")
def whole(records, tmp_path_factory) -> pathlib.Path:
    """The run directory of a run that was never interrupted; not to be changed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_lib, "make_strategy", lambda **options: tf.distribute.get_strategy())
        run_lib.train(config_of(records), str(folder))
    assert (folder / "best" / f"ckpt-{ITERATIONS}.index").exists()  # or no kill would come when the best one is saved
    return folder


class Killed(BaseException):
    """Nothing in the program catches it: what is on disk is what kill -9 leaves."""


def killing(function, call: int, after: bool = False):
    """Returns the function, but a certain call of it ends in `Killed`, with its work undone or done."""
    calls = []

    def wrapped(*args, **kwargs):
        calls.append(args)
        if len(calls) == call and not after:
            raise Killed
        result = function(*args, **kwargs)
        if len(calls) == call:
            raise Killed
        return result

    return wrapped


# By case: where a run is killed, at which call, whether after it.
KILLS = {
    "before the second line of the log": (actions.LogTraining, "__call__", 2, False),
    "between the log and the checkpoint": (actions.LogTraining, "__call__", 3, True),
    "after the checkpoint, before the evaluation": (Evaluator, "evaluate", 1, False),
    "between the evaluation and its scores": (Evaluator, "evaluate", 1, True),
    "between the best checkpoint and its scores": (MetricsFile, "write", 6, False),
    "right after the scores of the best checkpoint": (MetricsFile, "write", 6, True),
    "after the first scores": (actions.LogEvaluation, "__call__", 1, True),
    "after the last scores": (actions.LogEvaluation, "__call__", 2, True),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[] if "after the scores of the best" in case else pytest.mark.slow) for case in KILLS],
)
def test_a_run_killed_anywhere_ends_as_one_that_was_not(records, whole, tmp_path, monkeypatch, case):
    owner, name, call, after = KILLS[case]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killing(getattr(owner, name), call, after))
        with pytest.raises(Killed):
            run_lib.train(config_of(records), str(tmp_path / "run"))
    run_lib.train(config_of(records), str(tmp_path / "run"))
    assert_same(whole, tmp_path / "run", ITERATIONS)


@pytest.mark.slow
def test_a_signal_stops_between_two_iterations_with_a_checkpoint(records, tmp_path, monkeypatch, capsys):
    config = small_config(records, "source_only")
    config.schedule.horizon = 10_000
    config.training.iterations = config.training.steps_per_loop = config.training.checkpoint_interval = 400
    trainers = []

    class Trainer(run_lib.Trainer):
        def __init__(self, *args):
            super().__init__(*args)
            trainers.append(self)

    def interrupt():
        while not trainers or int(trainers[0].step.numpy()) < 5:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with monkeypatch.context() as patch:
        patch.setattr(run_lib, "Trainer", Trainer)
        thread.start()
        with pytest.raises(Stopped, match=r"^stopped by SIGTERM at iteration \d+, with a checkpoint: the same command"):
            run_lib.train(config, str(tmp_path / "parts"))
    thread.join()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert signal.set_wakeup_fd(-1) == -1
    stopped_at = int(trainers[0].step.numpy())
    assert 5 <= stopped_at < 400
    config.training.iterations = stopped_at + 2
    config.training.checkpoint_interval = 400
    for name in ("parts", "whole"):
        run_lib.train(config, str(tmp_path / name))
    assert_same(tmp_path / "whole", tmp_path / "parts", stopped_at + 2)


def test_a_second_owner_is_refused_and_a_dead_one_is_no_obstacle(records, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with open(run / "lock", "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=rf"/run is being trained by process {os.getpid()} on "):
            run_lib.train(config_of(records), str(run))
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    (run / "lock").write_text("999999999 on elsewhere\n")  # of a process that ended without tidying up
    run_lib.train(config_of(records), str(run))
    assert (run / "lock").read_text().startswith(f"{os.getpid()} on ")


def damage(path: pathlib.Path, position: float) -> None:
    """Flips a bit at a relative position of a file."""
    content = bytearray(path.read_bytes())
    content[int(position * (len(content) - 1))] ^= 4
    path.write_bytes(content)


def test_of_a_damaged_checkpoint_the_one_before_is_used(records, whole, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    damage(run / "checkpoints" / f"ckpt-{ITERATIONS}.data-00000-of-00001", 0.5)
    (run / "checkpoints" / "checkpoint").write_bytes(b"\x00no list")
    (run / "checkpoints" / "ckpt-9_temp").mkdir()
    run_lib.train(config_of(records), str(run))
    captured = capsys.readouterr()
    assert captured.err.startswith(f"warning: {run}/checkpoints/ckpt-8 is damaged (")
    assert captured.err.endswith(f"): continuing from {run}/checkpoints/ckpt-6\n")
    assert "8/8" in captured.out
    assert_same(whole, run, ITERATIONS)
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert {name for name in names if name.endswith(".index")} == {"ckpt-4.index", "ckpt-6.index", "ckpt-8.index"}
    assert "ckpt-9_temp" not in names


def test_if_no_checkpoint_is_whole_nothing_is_begun_anew(records, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for path in (run / "checkpoints").glob("*.data-*"):
        damage(path, 0.3)
    before = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    with pytest.raises(InputError, match=r"ckpt-8 cannot be restored \(.*\), nor any before it: copy a whole one back"):
        run_lib.train(config_of(records), str(run))
    assert {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()} == before


@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001"])
def test_no_damage_to_a_checkpoint_is_overlooked(tmp_path, suffix, capsys):
    variables = [tf.Variable(tf.random.stateless_normal([7, 5], [0, seed])) for seed in range(4)]
    checkpoint = tf.train.Checkpoint(variables=variables)
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=2)
    for _ in range(2):
        variables[0].assign_add(tf.ones_like(variables[0]))
        manager.save()
    first = tensors(tmp_path / "ckpt-1")
    path = tmp_path / f"ckpt-2.{suffix}"
    content = path.read_bytes()
    flips = [content[:i] + bytes([content[i] ^ 16]) + content[i + 1 :] for i in range(0, len(content), 5)]
    for damaged in flips + [content[:end] for end in range(0, len(content), 50)]:
        path.write_bytes(damaged)
        restored = checkpoints.restore_newest(checkpoint, str(tmp_path))
        if restored.endswith("ckpt-2"):  # a byte that nothing depends on
            expected = first["variables/0/.ATTRIBUTES/VARIABLE_VALUE"] + 1
        else:
            expected = first["variables/0/.ATTRIBUTES/VARIABLE_VALUE"]
            assert "ckpt-2 is damaged" in capsys.readouterr().err
            os.replace(tmp_path / "ckpt-2.index.damaged", tmp_path / "ckpt-2.index")
        assert (variables[0].numpy() == expected).all()


def test_a_shard_that_vanishes_stops_the_run_with_one_line(records, tmp_path, monkeypatch):
    shutil.copytree(records / "source", tmp_path / "source")
    config = small_config(records, "source_only")
    config.data.source.records = str(tmp_path / "source")
    config.training.iterations, config.schedule.horizon = 2000, 10_000

    def vanish(self, output):
        for shard in (tmp_path / "source").glob("*.tfrecord"):
            shard.unlink()

    monkeypatch.setattr(actions.WarnOfLosses, "__call__", vanish)
    with pytest.raises(InputError, match=r"shard \S+, record \d \(00\d.png\) at byte \d+ is gone: no such file"):
        run_lib.train(config, str(tmp_path / "run"))
    assert checkpoints.restore_newest(tf.train.Checkpoint(step=tf.Variable(0, dtype=tf.int64)), str(tmp_path)) is None


@pytest.mark.slow
def test_a_full_disk_stops_the_run_with_one_line(records, tmp_path, monkeypatch):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl.partial").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"run or the data cannot .* \(No space left on device\): mend that"):
        run_lib.train(small_config(records, "source_only"), str(run))


def test_a_directory_that_cannot_be_written_is_named(records):
    # A character device is no folder on any system, whoever runs the test.
    with pytest.raises(InputError, match="/dev/null/run cannot be written "):
        run_lib.train(small_config(records, "source_only"), "/dev/null/run")


@pytest.fixture
def poisoned(monkeypatch):
    """L_seg becomes NaN where a batch has much road: at some iteration, not the first."""

    def cross_entropy(logits, labels, count):
        loss = segmentation.cross_entropy(logits, labels, count)
        road = tf.reduce_sum(tf.cast(labels == 1, tf.float32))
        return loss + 0.0 * tf.math.log(tf.where(road > limit, 0.0, 1.0))

    limit = 730.0
    monkeypatch.setattr(source_only, "cross_entropy", cross_entropy)


def test_values_that_are_not_finite_stop_the_run_with_what_a_replay_needs(records, tmp_path, poisoned):
    config = small_config(records, "source_only")
    config.training.iterations, config.training.steps_per_loop = 20, 20
    with pytest.raises(DivergenceError) as error:
        run_lib.train(config, str(tmp_path / "run"))
    assert "\n" not in str(error.value)
    saved = json.loads((tmp_path / "run" / "divergence.json").read_text())
    assert f"iteration {saved['step']} has losses or gradients that are not finite" in str(error.value)
    assert 1 < saved["step"] < 20
    assert saved["measures"]["loss/segmentation"] == "nan"
    assert set(saved["learning_rates"]) == {"feature_extractor", "classifier"}
    # The names are those of the images that the iteration saw.
    space = run_lib.labels.label_space(config.data.label_space)
    segmenter = run_lib.build_segmenter("tiny", space.num_classes, "synchronized", 0)
    method = source_only.build(config, segmenter)
    batch = next(iter(datasets.train_dataset(config, method, space, saved["step"] - 1)))[0]
    assert tf.reduce_sum(tf.cast(batch["label"] == 1, tf.float32)) > 730
    assert len(saved["images"]["source"]) == config.training.batch_size


ANOMALY = r"in output 0 of the op Log, shape \(\), made by \S+ in fada_tf/methods/source_only.py:\d+$"


@pytest.mark.slow
def test_detect_anomaly_names_the_first_bad_tensor(records, tmp_path, poisoned):
    config = small_config(records, "source_only")
    config.training.iterations = 20
    try:
        with pytest.raises(DivergenceError, match=ANOMALY) as error:
            run_lib.train(config, str(tmp_path / "run"), detect_anomaly=True)
    finally:
        tf.debugging.disable_check_numerics()
    assert "\n" not in str(error.value)
