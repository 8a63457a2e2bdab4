import json
import os

import numpy as np
import pytest

from fada_tf.data import beam, conversion, relabelling
from fada_tf.errors import InputError
from tests.data import makers


def ones(records):
    for record in records:
        yield np.ones((record.height, record.width), np.uint8)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def workers(tmp_path):
    pytest.importorskip("apache_beam", reason="Apache Beam (the extra `beam`) is not installed")
    return beam.runner(["--runner=DirectRunner"], str(tmp_path / "scratch"))


@pytest.mark.filterwarnings("ignore")  # Beam's own
def test_a_beam_pipeline_writes_the_same_bytes_as_this_process(tmp_path, workers):
    dataset = makers.labelled_dataset(tmp_path, count=5)
    conversion.convert(dataset, str(tmp_path / "here"), num_shards=2)
    conversion.convert(dataset, str(tmp_path / "beam"), num_shards=2, workers=workers)
    assert contents(tmp_path / "beam") == contents(tmp_path / "here")
    assert os.listdir(tmp_path / "scratch") == []
    relabelling.relabel(str(tmp_path / "here"), str(tmp_path / "a"), makers.THREE_CLASSES, ones, labeller_id="1")
    relabelling.relabel(
        str(tmp_path / "here"), str(tmp_path / "b"), makers.THREE_CLASSES, ones, labeller_id="1", workers=workers
    )
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.filterwarnings("ignore")  # Beam's own
def test_a_beam_pipeline_reports_bad_pairs(tmp_path, workers):
    dataset = makers.labelled_dataset(tmp_path, count=3)
    os.remove(dataset.pairs[1].image)
    with pytest.raises(InputError, match=r"1 bad pair, nothing was written.*\n.*001\.png: cannot be read"):
        conversion.convert(dataset, str(tmp_path / "beam"), workers=workers)


def test_results_are_json_that_nothing_unpickles(tmp_path):
    beam._work_on_chunk((str(tmp_path / "results.json"), [1, 2]), function=lambda task: ["", str(task)])
    assert json.loads((tmp_path / "results.json").read_text()) == [["", "1"], ["", "2"]]


def test_without_beam_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "apache_beam", None)
    with pytest.raises(InputError, match=r"pip install 'fada_tf\[beam\]'"):
        beam.runner([], "scratch")
