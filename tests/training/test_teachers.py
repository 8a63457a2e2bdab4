"""Runs with a teacher: one killed between its score and its student's, one that learns nothing and then breaks."""

import json
import pathlib

import pytest
import tensorflow as tf

from fada_tf.config import Config
from fada_tf.errors import DivergenceError
from fada_tf.evaluation.evaluator import Evaluator
from fada_tf.methods.base_teacher import TeacherMethod
from fada_tf.models import moving_average
from fada_tf.training import run as run_lib
from tests.small_runs import assert_same, small_config
from tests.training.test_faults import Killed, killing


def config_of(records: pathlib.Path) -> Config:
    """Returns a run whose student and teacher are both scored."""
    config = small_config(records, "dacs")
    config.method.inference = "better"
    evaluation, training = config.data.evaluation, config.training
    evaluation.records, evaluation.height, evaluation.width = str(records / "target"), 24, 32
    training.steps_per_loop, training.checkpoint_interval, training.evaluation_interval = 2, 2, 4
    return config


@pytest.mark.slow
def test_a_run_killed_between_the_scores_of_student_and_teacher_ends_as_one_that_was_not(
    records, tmp_path, monkeypatch
):
    run_lib.train(config_of(records), str(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "evaluate", killing(Evaluator.evaluate, 1, after=True))
        with pytest.raises(Killed):
            run_lib.train(config_of(records), str(tmp_path / "killed"))
    assert (tmp_path / "killed/checkpoints/ckpt-4.index").exists()
    run_lib.train(config_of(records), str(tmp_path / "killed"))
    assert_same(tmp_path / "whole", tmp_path / "killed", 4)
    scores = json.loads((tmp_path / "killed/metrics.jsonl").read_text().splitlines()[-1])
    assert {"mean_iou", "student/mean_iou", "teacher/mean_iou"} <= scores.keys()


@pytest.mark.slow
def test_a_teacher_that_is_sure_of_nothing_is_one_warning_and_one_that_breaks_stops_the_run(
    records, tmp_path, monkeypatch, capsys
):
    config, move = small_config(records, "dacs"), moving_average.update
    config.method.confidence_threshold, config.optimizer.learning_rate = 1.0, 1e-5

    def breaking(method, iteration, measures):
        move(method.teacher, method.segmenter, tf.where(iteration < 3, 0.5, float("nan")))

    monkeypatch.setattr(TeacherMethod, "after_update", breaking)
    with pytest.raises(DivergenceError, match="iteration 4 has losses or gradients that are not finite") as error:
        run_lib.train(config, str(tmp_path / "run"))
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "run").rglob("ckpt-4.*"))
    warning = "warning: iteration 1: the teacher is confident of no pixel of the target"
    assert [line.startswith(warning) for line in capsys.readouterr().out.splitlines() if "warning" in line] == [True]
