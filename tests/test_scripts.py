"""The shell scripts' environments, with interpreters that only look like Python: nothing is installed."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))
# Answers what environment.sh asks of a Python, and makes environments whose pip writes down what it was to install.
INTERPRETER = """#!/bin/bash
case "$*" in
  *os.path.realpath*) echo "$(cat "$(dirname "$0")/base" 2>/dev/null || echo "$0") VERSION" ;;
  *version_info*) echo VERSION ;;
  "-c import ensurepip, venv") exit STATUS ;;
  "-m venv --clear "*)
    rm -rf "${@: -1}"
    mkdir -p "${@: -1}/bin"
    cp "$0" "${@: -1}/bin/python"
    echo "$0" >"${@: -1}/bin/base"
    printf '#!/bin/bash\\necho "pip 1 from %s/lib/pip (python VERSION)"\\n' "$PWD/${@: -1}" >"${@: -1}/bin/pip"
    chmod +x "${@: -1}/bin/pip"
    ;;
  "-m pip list") echo "tensorflow 9" ;;
  "-c import fada_tf"*) echo "${PYTHONDONTWRITEBYTECODE-yes}" >"$(dirname "$0")/writes_bytecode" ;;
  "-m pip "*)
    echo "$*" >>"$(dirname "$0")/asked"
    [ "${5:-}" != --constraint ] || cat "$6" >>"$(dirname "$0")/asked"
    ;;
esac
"""


@pytest.fixture
def project(tmp_path) -> pathlib.Path:
    """A checkout, with a blank in its path, of what environment.sh reads."""
    folder = tmp_path / "a b"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "environment.sh", folder / "scripts")
    for name in ("setup.cfg", "setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


def interpreter(path: pathlib.Path, version: str, has_venv: bool = True) -> str:
    """Writes a program that looks like this version of Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(INTERPRETER.replace("VERSION", version).replace("STATUS", "0" if has_venv else "1"))
    path.chmod(0o755)
    return str(path)


def source(project: pathlib.Path, **variables: str) -> subprocess.CompletedProcess:
    """Sources environment.sh and prints which Python is then first on PATH."""
    command = "set -euo pipefail; source scripts/environment.sh; command -v python"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "VERSIONS")} | variables
    return subprocess.run(
        ["bash", "-c", command], cwd=project, env=environment, capture_output=True, text=True, timeout=60
    )


def python_of(project: pathlib.Path, **variables: str) -> str:
    """Returns the Python that environment.sh chose, relative to the project."""
    done = source(project, **variables)
    assert done.returncode == 0, done.stderr
    return str(pathlib.Path(done.stdout.splitlines()[-1]).relative_to(project))


def asked(project: pathlib.Path, environment: str) -> list[str]:
    """Returns what pip was asked for in an environment since it was made."""
    return (project / environment / "bin" / "asked").read_text().splitlines()


def test_every_interpreter_has_environments_of_its_own(project, tmp_path):
    newer, older = (interpreter(tmp_path / "some where" / f"python{v}", v) for v in ("3.13", "3.10"))
    on_path = str(pathlib.Path(interpreter(tmp_path / "path" / "python3.12", "3.12")).parent)
    path = f"{on_path}:{os.environ['PATH']}"

    assert python_of(project, PYTHON=newer) == ".venv-3.13/bin/python"
    assert python_of(project, PYTHON=older) == ".venv-3.10/bin/python"
    assert python_of(project, PATH=path) == ".venv/bin/python"
    assert python_of(project, PYTHON=newer, VERSIONS="lowest") == ".venv-lowest-3.13/bin/python"
    assert {"numpy==1.26", "tensorflow==2.20"} <= {*asked(project, ".venv-lowest-3.13")}

    before = asked(project, ".venv-3.13")
    assert any("--editable .[docs,test]" in line for line in before)
    assert python_of(project, PYTHON=newer) == ".venv-3.13/bin/python"
    assert asked(project, ".venv-3.13") == before, "a second call installs nothing"


def test_what_programs_import_is_compiled_once_whatever_python_is_told(project, tmp_path):
    python = interpreter(tmp_path / "python", "3.11")
    source(project, PYTHON=python, PYTHONDONTWRITEBYTECODE="1")
    assert (project / ".venv-3.11" / "bin" / "writes_bytecode").read_text() == "yes\n"


def test_another_interpreter_of_the_same_version_makes_the_environment_anew(project, tmp_path):
    one, other = (interpreter(tmp_path / folder / "python3.12", "3.12") for folder in ("one", "other"))
    python_of(project, PYTHON=one)
    assert python_of(project, PYTHON=other) == ".venv-3.12/bin/python"
    assert (project / ".venv-3.12" / "bin" / "base").read_text().strip() == other


def test_an_environment_that_was_moved_or_whose_wishes_changed_is_mended(project, tmp_path):
    python = interpreter(tmp_path / "python3.12", "3.12")
    python_of(project, PYTHON=python)
    with (project / "setup.cfg").open("a") as file:
        file.write("# another wish\n")
    python_of(project, PYTHON=python)
    assert sum("--editable" in line for line in asked(project, ".venv-3.12")) == 2

    moved = project.rename(tmp_path / "c d")
    source(moved, PYTHON=python)
    assert sum("--editable" in line for line in asked(moved, ".venv-3.12")) == 1, "it was made anew"


@pytest.mark.parametrize(
    ("version", "has_venv", "message"),
    [
        ("", True, "is no Python 3.10 to 3.13 that runs"),
        ("3.12", False, "apt-get install python3-venv"),
    ],
)
def test_an_interpreter_that_cannot_serve_is_named_in_one_line(project, tmp_path, version, has_venv, message):
    python = interpreter(tmp_path / "python", version, has_venv)
    done = source(project, PYTHON=python)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert python in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(project.glob(".venv*"))


def test_the_newest_versions_are_tried_without_bounds_and_anew_every_day(project, tmp_path):
    python = interpreter(tmp_path / "python3.12", "3.12")
    assert python_of(project, PYTHON=python, VERSIONS="next") == ".venv-next-3.12/bin/python"
    lines = asked(project, ".venv-next-3.12")
    assert any("--upgrade tensorflow " in line for line in lines)
    assert lines[-1].endswith("--pre keras-nightly")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "date").write_text("#!/bin/bash\necho 2100-01-01\n")
    (tmp_path / "bin" / "date").chmod(0o755)
    source(project, PYTHON=python, VERSIONS="next", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert len(asked(project, ".venv-next-3.12")) == 2 * len(lines)


def test_versions_that_do_not_exist_are_refused(project):
    done = source(project, VERSIONS="oldest")
    assert (done.returncode, done.stderr) == (2, "error: VERSIONS=oldest: choose newest, lowest or next\n")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_runs_in_the_bash_of_macos(script):
    # In bash 3.2 an array without elements is an unset variable, which `set -u` refuses.
    assert not re.findall(r"(?<!\+)\"?\$\{\w+\[[@*]\]\}", script.read_text())
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True, timeout=60).returncode == 0


def test_pre_commit_runs_what_continuous_integration_runs():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["entry"] for hook in repository["hooks"]}
    lines = (ROOT / "scripts" / "test.sh").read_text().splitlines()
    checks = [line.removesuffix(" .") for line in lines if line.startswith(("ruff", "mypy"))]
    assert hooks == {*checks, "bash scripts/test.sh"} and len(checks) == 3
    assert "bash scripts/test.sh" in (ROOT / ".ci" / "run").read_text()
