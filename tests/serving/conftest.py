import os
import pathlib
import shutil

import pytest

from tests.serving import toy
from tests.serving.server import Server, local_server, write_models

BATCHING = """
max_batch_size {{ value: 4 }} batch_timeout_micros {{ value: {micros} }} max_enqueued_batches {{ value: 2 }}
num_batch_threads {{ value: 2 }} allowed_batch_sizes: 1 allowed_batch_sizes: 2 allowed_batch_sizes: 4
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory, exported) -> pathlib.Path:
    """The folder of the models of the contract tests, as `write_models` leaves it."""
    folder = tmp_path_factory.mktemp("served")
    write_models(folder, exported[0])
    return folder


@pytest.fixture(scope="session")
def batching_server(models, tmp_path_factory):
    """Our server, with batching."""
    folder = tmp_path_factory.mktemp("batching")
    for name in ("toy", "segmenter"):
        shutil.copytree(models / name, folder / name)
    (folder / "models.config").write_text(
        f'model_config_list {{ config {{ name: "toy" base_path: "{folder}/toy" }}\n'
        f'config {{ name: "segmenter" base_path: "{folder}/segmenter" }} }}'
    )
    (folder / "batching.config").write_text(BATCHING.format(micros=150_000))
    options = [
        f"--model_config_file={folder}/models.config", "--enable_batching",
        f"--batching_parameters_file={folder}/batching.config", "--rest_api_max_request_bytes=2000000",
    ]  # fmt: skip
    with local_server(folder, *options) as server:
        server.wait("segmenter", 1)
        yield server


@pytest.fixture(scope="session")
def server(request, tmp_path_factory):
    """The server of the contract tests: ours, or the real one that TFS_GRPC, TFS_REST and TFS_MODELS name."""
    if "TFS_REST" in os.environ:
        yield Server(os.environ["TFS_GRPC"], os.environ["TFS_REST"], pathlib.Path(os.environ["TFS_MODELS"]))
        return
    models = request.getfixturevalue("models")
    (models / "models.config").write_text(toy.CONFIG.format(base=models))
    with local_server(models, f"--model_config_file={models}/models.config") as server:
        server.wait("segmenter", 1)
        server.wait("toy", 2)
        yield server
