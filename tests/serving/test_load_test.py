"""The load test's figures, on short runs."""

import json
import pathlib

import pytest
from PIL import Image

from serving import load_test
from tests import trained


@pytest.fixture
def options(tmp_path, server) -> list[str]:
    for index, picture in enumerate(trained.pictures(2)):
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
    metrics = f"{server.rest}/monitoring/prometheus/metrics"
    return [f"--images={tmp_path}", f"--output={tmp_path}/figures.json", f"--metrics={metrics}"]


def figures(options: list[str]) -> dict:
    assert load_test.main(options) == 0
    return json.loads(pathlib.Path(options[1].removeprefix("--output=")).read_text())


def test_closed_loop_with_mixed_sizes_and_memory(server, options):
    address = f"--server=grpc://{server.grpc}"
    seen = figures([*options, address, "--concurrency=2", "--seconds=4.5", "--sizes", "48x64", "39x64"])
    assert seen["answered"] > 20
    assert seen["per_second"] == pytest.approx(seen["answered"] / 4.5, rel=0.2)
    assert 0 < seen["p50_ms"] <= seen["p95_ms"] <= seen["p99_ms"]
    assert seen["errors"] == {}
    assert 100 < seen["memory_mb"][0] < 8000


def test_open_loop_counts_from_when_a_request_was_due(server, options):
    seen = figures([*options, f"--server={server.rest}", "--rate=10", "--seconds=2"])
    assert 5 < seen["answered"] < 50


def test_errors_are_counted_by_status(server, options, capsys):
    assert load_test.main([*options, f"--server=grpc://{server.grpc}", "--model=nobody"]) == 2
    assert "NOT_FOUND" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--max_images=0", "--batch=-1", "--rate=-1", "--seconds=0", "--sizes=0x4"])
def test_numbers_that_cannot_work(option, capsys):
    with pytest.raises(SystemExit) as caught:
        load_test.main(["--images=x", option])
    assert caught.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_the_ratio_to_no_server_at_all(server, options):
    addresses = [f"--direct={server.models}/segmenter/1", f"--server=grpc://{server.grpc}"]
    seen = figures([*options, *addresses, "--seconds=1", "--rounds=2", "--batch=2", "--concurrency=2"])
    assert [one["ratio"] > 0 for one in seen["rounds"]] == [True, True]
    assert seen["ratio"] == pytest.approx(sum(one["ratio"] for one in seen["rounds"]) / 2)
