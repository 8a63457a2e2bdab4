"""The client as it is installed alone: what its wheel holds, and that this works without the checkout."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("client")
    shutil.copytree(ROOT / "serving", folder / "serving", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    command = [sys.executable, "-W", "ignore", "-c", BUILD, str(folder)]
    result = subprocess.run(command, cwd=folder / "serving", capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return folder / result.stdout.splitlines()[-1]


def test_the_wheel_holds_the_client_and_the_licence_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [pathlib.PurePath(name) for name in archive.namelist()]
        modules = {str(name) for name in names if not name.parts[0].endswith(".dist-info")}
        assert modules == {f"fada_tf_client/{name}.py" for name in ("__init__", "client", "protocol")}
        (licence,) = [name for name in names if name.name == "LICENSE"]
        assert archive.read(str(licence)) == (ROOT / "LICENSE").read_bytes()


def test_it_runs_without_the_checkout(wheel, tmp_path):
    probe = (
        "import sys, fada_tf_client.client as c\n"
        "c.Client('http://127.0.0.1:1'); c.Client('grpc://127.0.0.1:1')\n"
        "print([n for n in sys.modules if n.partition('.')[0] in ('serving', 'fada_tf', 'tensorflow')])\n"
        "c.main(['--help'])"
    )
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    result = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "[]"
    assert "usage: fada_tf_client" in result.stdout


def test_what_builds_leave_is_not_added_to_the_repository():
    for path in ("build/lib/x.py", "serving/build/lib/x.py", "serving/fada_tf_client.egg-info/PKG-INFO"):
        result = subprocess.run(["git", "check-ignore", "--no-index", path], cwd=ROOT, capture_output=True)
        if result.returncode == 128:
            pytest.skip("this is no git checkout")
        assert result.returncode == 0, path
