"""Servers to test: our own in a subprocess on free ports, or a real one that is named in the environment.

The contract tests run against a real TensorFlow Serving as well:

    python -m tests.serving.server DIR
    docker run --rm -p 8500:8500 -p 8501:8501 -v DIR:/models tensorflow/serving:2.20.0 \
        --model_config_file=/models/models.config --file_system_poll_wait_seconds=1 --max_num_load_retries=0 \
        --rest_api_timeout_in_ms=3000
    TFS_GRPC=127.0.0.1:8500 TFS_REST=http://127.0.0.1:8501 TFS_MODELS=DIR python -m pytest tests/serving
"""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import requests
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from tests.serving import toy

ROOT = pathlib.Path(__file__).parents[2]
START_SECONDS = 90
REST_TIMEOUT_MS = 3000


@dataclass
class Server:
    """A server under test and the folder of its models."""

    grpc: str
    rest: str
    models: pathlib.Path

    def __post_init__(self):
        self.channel = grpc.insecure_channel(self.grpc, [("grpc.max_receive_message_length", -1)])
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model_service = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.session = requests.Session()

    def get(self, path: str) -> requests.Response:
        return self.session.get(f"{self.rest}{path}", timeout=60)

    def post(self, path: str, content=None, data: bytes | None = None) -> requests.Response:
        return self.session.post(f"{self.rest}{path}", json=content, data=data, timeout=60)

    def predict(self, model: str, content) -> requests.Response:
        return self.post(f"/v1/models/{model}:predict", content)

    def states(self, model: str) -> dict[int, str]:
        status = self.get(f"/v1/models/{model}").json()
        return {int(one["version"]): one["state"] for one in status.get("model_version_status", [])}

    def wait(self, model: str, version: int, state: str = "AVAILABLE", seconds: float = START_SECONDS) -> None:
        """Waits until a version is in a state."""
        deadline, states = time.monotonic() + seconds, {}
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.ConnectionError):
                states = self.states(model)
                if states.get(version) == state:
                    return
            time.sleep(0.1)
        raise AssertionError(f"{model} {version} is not {state}: {states}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def local_server(models: pathlib.Path, *options: str) -> Iterator[Server]:
    """Runs our server for the models in a folder; it is told to stop at the end."""
    grpc_port, rest_port = free_port(), free_port()
    command = [
        sys.executable, "-m", "serving.local_server", f"--port={grpc_port}", f"--rest_api_port={rest_port}",
        "--file_system_poll_wait_seconds=0.2", "--max_num_load_retries=0",
        f"--rest_api_timeout_in_ms={REST_TIMEOUT_MS}", *options,
    ]  # fmt: skip
    log = models / f"server{rest_port}.log"
    with open(log, "w") as file:
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
        process = subprocess.Popen(command, cwd=ROOT, stderr=file, stdout=file, env=environment)
        try:
            server = Server(f"127.0.0.1:{grpc_port}", f"http://127.0.0.1:{rest_port}", models)
            server.process, server.log = process, log
            yield server
            server.channel.close()
            server.session.close()
        finally:
            process.terminate()
            process.wait(30)


def write_models(folder: pathlib.Path, segmenter: pathlib.Path) -> None:
    """Writes the models of the contract tests.

    Args:
      folder: gets them.
      segmenter: an exported version.
    """
    for number in (1, 2):
        toy.write(folder / "toy", number)
    toy.write(folder / "hot", 1)
    toy.write(folder / "cold", 1, warmup="bad")
    shutil.copytree(segmenter, folder / "segmenter" / "1")


def main(folder: pathlib.Path) -> None:
    """Writes the models and the config file, with the container's paths, for tests against a real server."""
    from tests import trained

    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        exported, _ = trained.export(trained.write_run(pathlib.Path(work)), pathlib.Path(work))
        write_models(folder, exported)
    (folder / "models.config").write_text(toy.CONFIG.format(base="/models"))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
