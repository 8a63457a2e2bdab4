"""Which checkpoint and which network of a run are meant: the student, its teacher, or the better of them."""

import json
import pathlib
import shutil

import pytest

from fada_tf import config_fields
from fada_tf.config import Config, method_settings
from fada_tf.errors import InputError
from fada_tf.runs import checkpoint
from tests import trained


@pytest.fixture
def run(trained_run, tmp_path) -> pathlib.Path:
    return shutil.copytree(trained_run, tmp_path / "run")


def write(run: pathlib.Path, inference: str, *evaluations: tuple[int, float | None, float | None]) -> None:
    config = Config(method=method_settings("masked_teacher", inference=inference))
    (run / "config.json").write_text(config_fields.to_json(config))
    (run / "metrics.jsonl").write_text(
        "".join(
            json.dumps({"kind": "evaluation", "step": step, "student/mean_iou": student, "teacher/mean_iou": teacher})
            + "\n"
            for step, student, teacher in evaluations
        )
    )


@pytest.mark.usefixtures("methods_of_the_tests")
@pytest.mark.parametrize(
    ("evaluations", "better"),
    [
        ([], "student"),
        ([(trained.ITERATION, 0.2, 0.3)], "teacher"),
        ([(trained.ITERATION - 2, 0.2, 0.3), (trained.ITERATION, 0.3, 0.2)], "student"),
        ([(trained.ITERATION - 2, 0.2, 0.3), (trained.ITERATION + 1, 0.3, 0.2)], "teacher"),  # the last one before it
        ([(trained.ITERATION, 0.3, 0.3)], "student"),
        ([(trained.ITERATION, None, 0.1)], "teacher"),
        ([(trained.ITERATION, None, None)], "student"),
    ],
)
def test_the_better_network_is_that_of_the_checkpoints_own_evaluation(run, evaluations, better):
    write(run, "better", *evaluations)
    assert checkpoint.network(str(run)) == better
    assert checkpoint.network(str(run), "teacher") == "teacher"
    write(run, "student", *evaluations)
    assert checkpoint.network(str(run)) == "student"


def test_a_checkpoint_without_a_teacher_says_so(trained_run):
    checkpoint.load_segmenter(trained_run, "student")
    with pytest.raises(InputError, match=r"ckpt-7 holds no teacher, since it is of a run of source_only: choose the s"):
        checkpoint.load_segmenter(trained_run, "teacher")


@pytest.mark.parametrize("place", ["source", "runs/source"])
def test_a_folder_of_runs_says_which_runs_are_in_it(run, tmp_path, place):
    pathlib.Path(tmp_path, "task", place).parent.mkdir(parents=True)
    run.rename(tmp_path / "task" / place)
    with pytest.raises(InputError, match=f"task holds no checkpoint: name one of the runs in it, .*task/{place}$"):
        checkpoint.checkpoint_path(f"{tmp_path}/task")
    assert checkpoint.checkpoint_path(f"{tmp_path}/task/{place}").endswith(f"-{trained.ITERATION}")
