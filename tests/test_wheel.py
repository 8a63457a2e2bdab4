"""The library as a wheel: what it holds, and that it works in an empty folder, away from the checkout."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests import scenes
from tests.processes import ROOT
from tests.serving import toy
from tests.serving.server import Server, free_port

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
# What is taken from where in the checkout.
FOLDERS = {"fada_tf": "fada_tf", "fada_tf/configs": "configs", "fada_tf/serving": "serving"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """The wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in FOLDERS.values():
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, str(folder)],
        cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(folder / result.stdout.splitlines()[-1]) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_it_holds_the_library_experiments_and_server_and_nothing_else(wheel):
    found = {str(path.relative_to(wheel)) for path in wheel.rglob("*") if path.is_file()}
    assert {path.partition("/")[0].partition("-")[0] for path in found} == {"fada_tf"}
    wanted = {
        f"{place}/{path.relative_to(ROOT / folder)}"
        for place, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if (path.suffix in (".py", ".json", ".html", ".css", ".js", ".typed") and "build" not in path.parts)
        or path.parent.name == "weights"
    }
    assert {path for path in found if ".dist-info/" not in path} == wanted
    (entry_points,) = wheel.glob("*.dist-info/entry_points.txt")
    assert entry_points.read_text().split() == ["[console_scripts]", "fada-tf", "=", "fada_tf.command:main"]


@pytest.mark.slow
def test_the_server_of_the_wheel_serves(wheel, tmp_path):
    toy.write(tmp_path / "toy", 1)
    ports = free_port(), free_port()
    options = [f"--port={ports[0]}", f"--rest_api_port={ports[1]}", "--model_name=toy", "--model_base_path=toy"]
    process = subprocess.Popen(command(wheel, "serve", *options), cwd=tmp_path, env=environment(wheel))
    try:
        server = Server(f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", tmp_path)
        server.wait("toy", 1)
        assert "<html" in server.get("/").text  # the page is a file of the package
        server.channel.close()
        server.session.close()
    finally:
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.slow
def test_an_experiment_of_the_wheel_trains_in_an_empty_folder(wheel, tmp_path):
    records = tmp_path / "demo_output/records"
    for name, dusk in (("source", False), ("target_val", True)):
        scenes.write_folder(tmp_path / name, 4, dusk=dusk)
        options = [f"--images={name}/images", f"--labels={name}/labels", "--classes=camvid11", "--workers=1"]
        succeed(wheel, tmp_path, "make_tfrecords", *options, f"--output={records / name}")
    options = [f"--config.training.{name}=2" for name in ("iterations", "steps_per_loop", "evaluation_interval")]
    succeed(wheel, tmp_path, "train", "--config=demo:source", "--run_dir=run", *options)
    assert json.loads((tmp_path / "run/label_space.json").read_text())["name"] == "camvid11"
    jobs = succeed(wheel, tmp_path, "run_study", "--config=camvid_day_dusk", "--dry_run").splitlines()
    assert jobs[0].startswith("fada-tf train --config=configs/camvid_day_dusk.py:source ")


def command(wheel: pathlib.Path, program: str, *options: str) -> list[str]:
    """Returns the command line of a program of the wheel, started as `fada-tf` starts it."""
    start = f"from fada_tf import command; assert command.__file__.startswith({str(wheel)!r}); command.main()"
    return [sys.executable, "-c", start, program, *options]


def environment(wheel: pathlib.Path) -> dict[str, str]:
    """Returns the environment in which the wheel is installed, and nothing of the checkout."""
    return os.environ | {"PYTHONPATH": str(wheel)}


def succeed(wheel: pathlib.Path, folder: pathlib.Path, program: str, *options: str) -> str:
    """Runs a program of the wheel in a folder; returns what it printed."""
    result = subprocess.run(
        command(wheel, program, *options),
        cwd=folder, env=environment(wheel), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
