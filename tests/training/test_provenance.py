"""What a run says about where it comes from, and repeating it."""

import json
import platform
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.errors import InputError
from fada_tf.runs import provenance
from fada_tf.training import replay
from fada_tf.training import run as run_lib
from tests.small_runs import small_config

VERSION = platform.python_version()


@pytest.fixture(scope="module")
def run(records, tmp_path_factory):
    """The folder of a run of a few iterations and its data; not to be changed."""
    folder = tmp_path_factory.mktemp("provenance")
    shutil.copytree(records, folder / "data")
    config = small_config(folder / "data", "source_only")
    config.training.iterations = 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_lib, "make_strategy", lambda **options: tf.distribute.get_strategy())
        run_lib.train(config, str(folder / "run"))
    return folder


def test_a_run_records_command_versions_and_inputs(run):
    (start,) = provenance.read(str(run / "run"))
    assert start["environment"]["packages"]["tensorflow"] == tf.__version__
    assert start["environment"]["python"] == platform.python_version()
    assert set(start["environment"]["git"]) == {"commit", "uncommitted"}
    assert set(start["inputs"]) == {
        "config.data.source.records", "config.data.target.records", "config.data.label_space",
    }  # fmt: skip
    assert isinstance(start["command"], list)


def test_a_replay_is_the_run_bit_for_bit_and_says_so(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(provenance.platform, "python_version", lambda: "3.0")
    assert replay.replay(str(run / "run"), str(tmp_path / "again")) == []
    assert f"warning: python: '{VERSION}' then, '3.0' now\n" in capsys.readouterr().err


def test_a_replay_that_is_another_lists_all_that_differs(run, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(run / "run", again)
    first, last = (again / "metrics.jsonl").read_text().splitlines()
    last = json.loads(last) | {"loss/segmentation": 9.0, "gradient_norm/classifier": 3.0, "speed/seconds_per_step": 1}
    (again / "metrics.jsonl").write_text(f"{first}\n{json.dumps(last)}\n")
    path = tf.train.latest_checkpoint(str(again / "checkpoints"))
    reader = tf.train.load_checkpoint(path)
    values = {name: reader.get_tensor(name) for name in sorted(reader.get_variable_to_dtype_map())}
    changed, gone = [name for name in values if np.ndim(values[name])][:2]
    values[changed].flat[1] += 1
    values["a new one"] = values.pop(gone)
    names = list(values)
    tf.raw_ops.SaveV2(prefix=path, tensor_names=names, shape_and_slices=[""] * len(names), tensors=[*values.values()])
    loss, norm, *tensors = replay.compare(str(run / "run"), str(again))
    assert loss.startswith("loss/segmentation: 1 of 2 values, first at iteration 2, ") and loss.endswith("and 9.0 here")
    assert norm.startswith("gradient_norm/classifier: 1 of 2 values, first at iteration 2, ")
    added, edited, removed = tensors
    assert (added, removed) == ("a new one: only here", f"{gone}: only there")
    assert edited.startswith(f"{changed}: 1 of {values[changed].size} values, by up to 1")


def test_changed_data_are_refused(run, tmp_path):
    shutil.copytree(run / "run", tmp_path / "run")
    manifest = run / "data" / "source" / "manifest.json"
    original = manifest.read_text()
    config = small_config(run / "data", "source_only")
    try:
        manifest.write_text(original.replace('"job":"', '"job":"0'))
        for begin in (
            lambda: run_lib.train(config, str(tmp_path / "run")),
            lambda: replay.replay(str(run / "run"), str(tmp_path / "again")),
        ):
            with pytest.raises(InputError, match=r"^config.data.source.records is not what .*run was begun with"):
                begin()
    finally:
        manifest.write_text(original)
    assert not (tmp_path / "again").exists()


@pytest.mark.slow
def test_a_run_goes_on_where_its_data_have_moved_to_and_says_so(run, tmp_path, capsys):
    shutil.copytree(run / "run", tmp_path / "run")
    shutil.copytree(run / "data", tmp_path / "moved")
    config = small_config(tmp_path / "moved", "source_only")
    config.training.iterations = 3
    run_lib.train(config, str(tmp_path / "run"))
    lines = capsys.readouterr().err.splitlines()
    moved = ["label_space", "source.records", "target.records"]
    assert [line.partition(":")[0] for line in lines] == [f"config.data.{field}" for field in moved]
    assert f"{str(run / 'data/source')!r}, {str(tmp_path / 'moved/source')!r}: the same content" in lines[1]
    assert json.loads((tmp_path / "run/config.json").read_text())["data"]["source"]["records"].startswith(str(tmp_path))
    assert (tmp_path / "run/checkpoints/ckpt-3.index").exists()
    run_lib.train(config, str(tmp_path / "run"))
    assert capsys.readouterr().err == ""
    config.data.source.records = str(tmp_path / "moved/target")
    with pytest.raises(InputError, match=r"holds another run \(data.source.records: "):
        run_lib.train(config, str(tmp_path / "run"))


@pytest.mark.parametrize("text", [None, "", "[]x", "[3]", '[{"inputs": 3}]'])
def test_a_provenance_that_is_none_is_an_error(tmp_path, text):
    if text is not None:
        (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(InputError, match=r"provenance\.json cannot be read .*name a run directory"):
        provenance.read(str(tmp_path))


def test_a_package_without_a_name_is_left_out(monkeypatch):
    found = [types.SimpleNamespace(name=name, version="1") for name in ("b", None, "a")]
    monkeypatch.setattr(provenance.importlib.metadata, "distributions", lambda: found)
    assert provenance.environment()["packages"] == {"a": "1", "b": "1"}
