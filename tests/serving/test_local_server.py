"""The local server as a program: what it says of itself and of options that cannot work."""

import pathlib
import subprocess
import sys
import types

import pytest
import tensorflow as tf

from serving.local import configs

ROOT = pathlib.Path(__file__).parents[2]


def run(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "serving.local_server", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_help_says_what_it_is_and_does_not_start_tensorflow():
    probe = (
        "import runpy, sys\nsys.argv = ['x', '--help']\n"
        "try:\n    runpy.run_module('serving.local_server', run_name='__main__', alter_sys=True)\n"
        "except SystemExit:\n    sys.exit(3 if 'tensorflow' in sys.modules else 0)"
    )
    result = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0
    assert "COMPATIBLE with TensorFlow Serving; it is not it" in result.stdout
    for flag in ("port", "rest_api_port", "model_config_file", "model_base_path", "model_name", "enable_batching"):
        assert f"--{flag}" in result.stdout.replace("--[no]", "--")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rest_port=1"], "rest_port"), (["serve"], "'serve'"), ([], "either --model_config_file or"),
        (["--model_base_path=x", "--port=-1"], "--port"), (["--model_base_path=x", "--grpc_max_threads=-1"], "threads"),
        (["--model_base_path=x", "--file_system_poll_wait_seconds=0"], "poll_wait"),
        (["--model_base_path=x", "--batching_parameters_file=x"], "needs --enable_batching"),
        pytest.param(["--model_config_file=nowhere"], "nowhere: No such file", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_options_that_cannot_work_get_one_line(options, words):
    result = run(*options)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode == 2, result.stderr
    assert len(errors) == 1
    assert words in errors[0]


@pytest.mark.parametrize("package", ["aiohttp", "grpc", "prometheus_client", "tensorflow_serving"])
def test_without_the_extra_there_is_one_line(package):
    probe = (
        f"import runpy, sys\nsys.modules['{package}'] = None\nsys.argv = ['x', '--model_base_path=x']\n"
        "runpy.run_module('serving.local_server', run_name='__main__', alter_sys=True)"
    )
    result = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2, result.stderr
    expected = f"error: the local server needs the package {package}: pip install -e '.[serving]'\n"
    assert result.stderr == expected


def test_a_config_that_failed_is_tried_again(tmp_path, monkeypatch):
    from serving import local_server

    class Manager:
        """Its versions are there from the second try on."""

        waits, tries = 0, 0

        def wait(self, seconds):
            self.waits += 1
            return self.waits > 4

        def apply(self, config):
            self.tries += 1
            if self.tries < 2:
                raise tf.errors.FailedPreconditionError(None, None, "label stable of segmenter is for version 2")

    models = tmp_path / "models.config"
    models.write_text('model_config_list { config { name: "segmenter" base_path: "/models/segmenter" } }')
    monkeypatch.setattr(local_server, "_MODEL_CONFIG_FILE", types.SimpleNamespace(value=str(models)))
    monkeypatch.setattr(local_server, "_CONFIG_POLL", types.SimpleNamespace(value=1))
    manager, config = Manager(), configs.read_models(str(models))
    local_server._poll_config(manager, config, local_server._apply(manager, config))
    assert manager.tries == 2


@pytest.mark.slow
def test_a_port_that_is_taken(server):
    taken = server.rest.rpartition(":")[2]
    result = run(f"--model_base_path={server.models}/toy", "--port=0", f"--rest_api_port={taken}")
    assert result.returncode == 2
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr
