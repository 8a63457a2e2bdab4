"""Scores of every checkpoint of a run, in one file."""

import csv
import json
import pathlib

import numpy as np
import pytest

from fada_tf.errors import InputError
from fada_tf.evaluation.confusion import Scores
from fada_tf.evaluation.score_files import write_checkpoint_scores, write_scores
from fada_tf.runs.checkpoint import all_checkpoints


def test_the_best_checkpoint_is_named_and_marked(tmp_path):
    matrices = {"ckpt-10": [[1, 1], [1, 1]], "ckpt-20": [[3, 1], [0, 0]], "ckpt-30": [[2, 2], [1, 1]]}
    scores = {name: Scores(("a", "b"), np.array(matrix)) for name, matrix in matrices.items()}
    path = tmp_path / "new" / "checkpoints.csv"
    assert write_checkpoint_scores(scores, str(path)) == "ckpt-20"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["checkpoint"] for row in rows] == list(matrices)
    assert [row["best"] for row in rows] == ["", "best", ""]
    assert float(rows[0]["mean_iou"]) == pytest.approx(1 / 3, abs=1e-6)
    assert float(rows[1]["a"]) == 0.75 and float(rows[1]["b"]) == 0.0


def test_scores_that_do_not_exist_are_null(tmp_path):
    write_scores(Scores(("a", "b"), np.zeros((2, 2), np.int64)), {"iteration": 3}, str(tmp_path))
    values = json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)
    assert values["mean_iou"] is values["pixel_accuracy"] is values["class_iou"]["a"] is None
    assert values["iteration"] == 3
    assert (tmp_path / "scores.csv").read_text().splitlines()[-1] == "mean,,0,0"


def test_scores_by_condition_have_a_table(tmp_path):
    fog = Scores(("a", "b"), np.array([[3, 1], [0, 0]]), images=2)
    night = Scores(("a", "b"), np.array([[4, 0], [0, 4]]), images=1)
    parts = {"weather": {"fog": fog}, "time_of_day": {"night": night}}
    write_scores(Scores(("a", "b"), fog.confusion + night.confusion, by_condition=parts), {"images": 3}, str(tmp_path))
    rows = list(csv.DictReader((tmp_path / "conditions.csv").read_text().splitlines()))
    assert [(row["condition"], row["value"], row["images"]) for row in rows] == [
        ("weather", "fog", "2"), ("time_of_day", "night", "1")
    ]  # fmt: skip
    assert float(rows[0]["mean_iou"]) == 0.375 and float(rows[1]["b"]) == 1
    values = json.loads((tmp_path / "scores.json").read_text())
    assert values["images"] == 3 and values["by_condition"]["weather"]["fog"]["class_iou"]["a"] == 0.75
    write_scores(night, {}, str(tmp_path / "whole"))
    assert not (tmp_path / "whole" / "conditions.csv").exists()


def test_every_iteration_is_found_once_in_order(tmp_path):
    for name in ("checkpoints/ckpt-100", "checkpoints/ckpt-20", "best/ckpt-100", "best/ckpt-60"):
        pathlib.Path(tmp_path, name).parent.mkdir(exist_ok=True)
        pathlib.Path(tmp_path, f"{name}.index").touch()
    found = [path.removeprefix(f"{tmp_path}/") for path in all_checkpoints(str(tmp_path))]
    assert found == ["checkpoints/ckpt-20", "best/ckpt-60", "checkpoints/ckpt-100"]
    with pytest.raises(InputError, match="holds no checkpoint"):
        all_checkpoints(str(tmp_path / "nothing"))
