"""Fifty kills of real processes at random moments: every run ends as one that was never killed, bit for bit."""

import hashlib
import pathlib
import random
import shlex
import signal
import subprocess
import sys

import pytest

from fada_tf.data import conversion
from fada_tf.data.datasets import folder as folder_dataset
from tests import scenes
from tests.processes import command, interrupt, run
from tests.small_runs import assert_same

pytestmark = pytest.mark.slow

KILLS = 5  # a chain
ITERATIONS = 60
CONFIG = """
from fada_tf.config import Config, method_settings

def get_config():
    config = Config(name="kills")
    config.data.label_space = "classes.json"
    config.data.evaluation.records = "records/target"
    config.data.evaluation.height, config.data.evaluation.width = 24, 32
    config.model.backbone, config.model.batch_norm = "tiny", "synchronized"
    config.method = method_settings("fada")
    config.optimizer.learning_rate, config.optimizer.head_multiplier = 1e-2, 1.0
    config.schedule.horizon = 100
    config.training.iterations, config.training.batch_size, config.training.steps_per_loop = 60, 2, 3
    config.training.checkpoint_interval, config.training.evaluation_interval = 3, 6
    config.training.picture_interval = 0
    for domain in (config.data.source, config.data.target):
        domain.records, domain.height, domain.width = "records/source", 24, 32
        domain.color_jitter = domain.flip = domain.crop = True
        domain.scale_min, domain.scale_max = 0.7, 1.4
    config.data.source.sampling = "class_balanced"
    config.data.target.records = "records/target"
    return config
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A user's folder with records, a whole run and its pseudo labels."""
    folder = tmp_path_factory.mktemp("kills")
    scenes.write_class_file(folder / "classes.json")
    (folder / "kills.py").write_text(CONFIG)
    for name, dusk, count in (("source", False, 8), ("target", True, 40)):
        raw = folder / "raw" / name
        scenes.write_folder(raw, count, dusk=dusk)
        dataset = folder_dataset.find(str(raw / "images"), str(raw / "labels"), str(folder / "classes.json"))
        conversion.convert(dataset, str(folder / "records" / name), num_shards=len(dataset.pairs) // 4)
    assert run(folder, "train", *train_options("whole")).returncode == 0
    assert run(folder, "make_pseudo_labels", *label_options("whole")).returncode == 0
    return folder


def train_options(name: str) -> list[str]:
    return ["--config=kills.py", f"--run_dir=runs/{name}"]


def label_options(name: str) -> list[str]:
    return ["--checkpoint=runs/whole", f"--output=labels/{name}"]


def moment(draw: random.Random, kind: str, run_dir: pathlib.Path):
    """Returns a condition that holds at some moment of a kind in a run's further course, and the delay after it."""
    checkpoints = run_dir / "checkpoints"
    done = max((int(path.stem[5:]) for path in checkpoints.glob("ckpt-*.index")), default=0)
    later = min(done + 3 * draw.randint(1, 4), ITERATIONS)
    if kind == "start":
        seen = {path.name for path in (run_dir / "events" / "train").glob("*")}
        return lambda: {path.name for path in (run_dir / "events" / "train").glob("*")} > seen, draw.uniform(0, 20)
    if kind == "iterations":
        return (checkpoints / f"ckpt-{later}.index").exists, draw.uniform(0, 0.3)
    if kind == "writing":
        return lambda: any(checkpoints.glob(f"ckpt-{later}_temp")), draw.uniform(0, 0.01)
    if kind == "best":  # which may not come again
        end = checkpoints / f"ckpt-{ITERATIONS - 3}.index"
        return lambda: any((run_dir / "best").glob("ckpt-*_temp")) or end.exists(), draw.uniform(0, 0.01)
    later = min(later + later % 6, ITERATIONS)
    return (checkpoints / f"ckpt-{later}.index").exists, draw.uniform(0, 0.05)


@pytest.mark.parametrize("chain", range(10))
def test_training(folder, chain):
    draw, name = random.Random(chain), f"chain{chain}"
    kills = 0
    for kind in draw.choices(["start", "iterations", "writing", "best", "evaluation"], k=KILLS):
        when, delay = moment(draw, kind, folder / "runs" / name)
        code, errors = interrupt(folder, "train", *train_options(name), when=when, delay=delay)
        assert code in (0, -signal.SIGKILL), errors
        print(f"seed {chain}: {kind} + {delay:.3f} s: {code}")
        kills += code == -signal.SIGKILL
    result = run(folder, "train", *train_options(name))
    assert result.returncode == 0, result.stderr
    assert_same(folder / "runs/whole", folder / "runs" / name, ITERATIONS)
    print(f"seed {chain}: {kills} kills")
    assert kills


@pytest.mark.parametrize("chain", range(2))
def test_pseudo_labels(folder, chain):
    draw, output = random.Random(chain), folder / "labels" / f"chain{chain}"
    for kill in range(KILLS):
        shards = 2 * kill
        code, errors = interrupt(
            folder,
            "make_pseudo_labels",
            *label_options(output.name),
            when=lambda shards=shards: len(list(output.glob("*.tfrecord*"))) > shards,
            delay=draw.uniform(0, 0.05),
        )
        assert code == -signal.SIGKILL, errors
        assert not (output / "manifest.json").exists()
    result = run(folder, "make_pseudo_labels", *label_options(output.name))
    assert result.returncode == 0, result.stderr
    assert digests(output) == digests(folder / "labels/whole")


def test_a_full_disk_stops_with_one_line_and_a_whole_checkpoint(folder):
    mount = "mkdir -p runs/full && mount -t tmpfs -o size=30m tmpfs runs/full"

    def alone(script: str) -> subprocess.CompletedProcess:
        shell = ["unshare", "-rm", "sh", "-c", script]
        return subprocess.run(shell, cwd=folder, capture_output=True, text=True, check=False)

    if alone(mount).returncode:
        pytest.skip("this machine lets no one mount a small disk")
    train = shlex.join(command("train", *train_options("full")))
    script = f"{mount} && {{ {train}; code=$?; cp -r runs/full runs/continued; exit $code; }}"
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    assert "runs/full or the data cannot be written or read any more (No space left on device)" in errors[0]
    assert list((folder / "runs/continued/checkpoints").glob("ckpt-*.index"))
    assert run(folder, "train", *train_options("continued")).returncode == 0
    assert_same(folder / "runs/whole", folder / "runs/continued", ITERATIONS)


def test_a_second_signal_ends_the_process_at_once():
    program = (
        "import os, signal, time\n"
        "from fada_tf.training.signals import StopRequest\n"
        "with StopRequest():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(1)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert result.returncode == 128 + signal.SIGINT
    assert result.stderr.endswith("SIGTERM: stopping; once more ends the process at once\n")


def digests(folder: pathlib.Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
