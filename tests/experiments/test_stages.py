"""Experiments of any number of stages: their runs, weights and labels, scores and report."""

import os
import pathlib

import numpy as np
import pytest

from fada_tf import experiment_file
from fada_tf.data import conversion
from fada_tf.data.datasets.base import DataSet, Pair
from fada_tf.errors import InputError
from fada_tf.experiments import jobs, stages
from fada_tf.experiments.pipeline import PipelineJobs
from fada_tf.experiments.study import Study, StudyJobs
from tests.data import makers
from tests.processes import run

# Every stage trains with source_only; what counts is what they build upon.
FILE = """
from fada_tf.config import Config
from fada_tf.stages import Stage

STAGES = ({stages},)

def get_config(stage):
    config = Config(name=stage)
    config.seed = 4
    config.data.source.records = "" if stage in {without_source} else "records/source"
    for domain in (config.data.source, config.data.target):
        domain.height, domain.width = 24, 32
    config.data.target.records = f"records/{{stage}}"
    config.data.evaluation.records, config.data.evaluation.height, config.data.evaluation.width = "records/val", 24, 32
    config.training.iterations = 3
    return config
"""
ONE = 'Stage("supervised", title="on photos")'
FOUR = ", ".join(
    (
        'Stage("source")',
        'Stage("warm_up", start="source/best")',
        'Stage("round_1", start="warm_up", pseudo_labels="source", unlabelled="records/photos")',
        'Stage("round_2", start="warm_up", pseudo_labels="round_1/best", title="second round")',
    )
)


def write(folder: pathlib.Path, stages: str, without_source: tuple[str, ...] = ()) -> str:
    (folder / "toy.py").write_text(FILE.format(stages=stages, without_source=without_source))
    return str(folder / "toy.py")


def option(job: jobs.Job, name: str) -> str | None:
    """Returns the value of a job's option."""
    return next((text.partition("=")[2] for text in job.options if text.startswith(f"--{name}=")), None)


def test_a_pipeline_of_one_stage_trains_scores_and_reports_it(tmp_path):
    todo = PipelineJobs(write(tmp_path, ONE, ("supervised",)))
    assert [job.name for job in todo.jobs] == ["supervised/train", "supervised/evaluate", "report"]
    assert option(todo.jobs[0], "run_dir") == "runs/toy/supervised"
    assert option(todo.jobs[-1], "run") == "on photos=runs/toy/supervised"
    assert "supervised/ccd" in [job.name for job in PipelineJobs(write(tmp_path, ONE)).jobs]


def test_a_pipeline_without_labelled_records_trains_all_stages_and_scores_none(tmp_path):
    path, unlabelled = write(tmp_path, FOUR), {"data.evaluation.records": ""}
    scored, trained = PipelineJobs(path), PipelineJobs(path, overrides=unlabelled)
    made = ("train", "make_pseudo_labels")
    assert [job.name for job in trained.jobs] == [job.name for job in scored.jobs if job.program in made]
    assert trained.report == "" and PipelineJobs(path, records="others", overrides=unlabelled).report
    for shown in ({"report": "page.html"}, {"title": "page"}):
        with pytest.raises(InputError, match=r"toy\.py has no evaluation records to report on: give --records, or no"):
            PipelineJobs(path, overrides=unlabelled, **shown)


def test_records_without_labels_are_refused_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "check_files", lambda *_: None)
    makers.save(tmp_path / "images/a.png", makers.texture(24, 32))
    for name, labels in (("plain", None), ("labelled", makers.THREE)):
        dataset = DataSet((Pair("a.png", str(tmp_path / "images/a.png"), labels and _label(tmp_path)),), labels)
        conversion.convert(dataset, str(tmp_path / name))
    todo = [PipelineJobs(write(tmp_path, ONE), records=str(tmp_path / name)) for name in ("labelled", "plain")]
    todo[0].check_files()
    with pytest.raises(InputError, match="plain has no labels to score on: convert it with labels, or give --records"):
        todo[1].check_files()


def _label(folder: pathlib.Path) -> str:
    return makers.save(folder / "labels/a.png", np.zeros((24, 32), np.uint8))


@pytest.mark.parametrize("dry", [True, False])
def test_a_pipeline_says_what_is_missing_and_where_predictions_are_seen(tmp_path, dry):
    write(tmp_path, ONE)
    options = ["--config=toy.py", "--config.data.evaluation.records=", *(["--dry_run"] if dry else [])]
    first = "from fada_tf.experiments import jobs, stages\njobs.run = lambda *_: None\n"
    result = run(
        tmp_path, "run_pipeline", *options, first=first + ("" if dry else "stages.check_files = lambda *_: None")
    )
    assert result.returncode == 0, result.stderr
    if dry:
        assert result.stdout.startswith("fada-tf train --config=toy.py:supervised ")
        missing = result.stderr.splitlines()[-1]
        assert missing.startswith("missing: records/source/manifest.json, records/supervised/manifest.json: ")
        assert missing.endswith(f"paths are relative to {tmp_path}")
    else:
        assert "nothing is scored" in result.stdout and "--checkpoint=runs/toy/supervised --images" in result.stdout


def test_a_pipeline_of_four_stages_builds_each_upon_those_that_it_names(tmp_path):
    todo = PipelineJobs(write(tmp_path, FOUR)).jobs
    found = {job.name: job for job in todo}
    trained = {name.removesuffix("/train"): job for name, job in found.items() if name.endswith("/train")}
    assert list(trained) == ["source", "warm_up", "round_1", "round_2"]
    # As the file itself says, so that nothing is to be changed on the command line.
    assert {option(job, "config.model.initial_weights") for job in trained.values()} == {None}
    path = str(tmp_path / "toy.py")
    weights = [experiment_file.get_config(path, stage).model.initial_weights for stage in trained]
    assert weights == ["", "runs/toy/source/best", "runs/toy/warm_up", "runs/toy/warm_up"]
    first, second = found["round_1/pseudo_labels"], found["round_2/pseudo_labels"]
    assert first.options == (
        "--checkpoint=runs/toy/source", "--output=records/round_1", "--records=records/photos"
    )  # fmt: skip
    assert second.options == ("--checkpoint=runs/toy/round_1/best", "--output=records/round_2")
    assert set(trained["round_2"].after) == {"warm_up/train", "round_1/train", "round_2/pseudo_labels"}
    runs = [text for text in found["report"].options if text.startswith("--run=")]
    assert runs[0] == "--run=source=runs/toy/source" and runs[3] == "--run=second round=runs/toy/round_2"
    assert len(runs) == 4 and {option(job, "config.seed") for job in trained.values()} == {None}
    order = [job.name for job in todo]
    assert all(order.index(before) < order.index(job.name) for job in todo for before in job.after)


def test_a_setting_for_all_stages_concerns_those_that_have_records_of_the_domain(tmp_path):
    path = write(tmp_path, 'Stage("one"), Stage("two", start="one")', without_source=("two",))
    found = {job.name: job for job in PipelineJobs(path, overrides={"data.source.flip": "True"}).jobs}
    assert option(found["one/train"], "config.data.source.flip") == "True"
    assert option(found["two/train"], "config.data.source.flip") is None


def test_a_study_has_a_row_for_every_stage_with_the_runs_of_its_own_seed(tmp_path):
    todo = StudyJobs(Study("toy", write(tmp_path, FOUR), "records/test", seeds=(1, 2)), "out")
    found = {job.name: job for job in todo.jobs}
    assert [row.title for row in todo.rows] == ["source", "warm_up", "round_1", "second round"]
    last, labels = found["seed2/round_2/train"], found["seed2/round_2/pseudo_labels"]
    assert option(last, "config.model.initial_weights") == "out/seed2/warm_up"
    assert option(labels, "checkpoint") == "out/seed2/round_1/best"
    assert option(labels, "output") == option(last, "config.data.target.records")
    assert option(found["seed1/warm_up/train"], "config.model.initial_weights") == "out/seed1/source/best"
    assert todo.experiment.total_iterations("round_2") == 9  # its own, the warm-up's and the first stage's
    single = StudyJobs(Study("toy", write(tmp_path, ONE), "records/test", seeds=(1,)), "out")
    assert [job.name for job in single.jobs if job.program == "train"] == ["seed1/supervised/train"]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ('Stage("a"), Stage("a")', "toy.py has a stage 'a': give each a name of its own"),
        ('Stage("a/b")', "toy.py has a stage 'a/b': give each a name of its own"),
        ('Stage("a", start="b")', "start of stage 'a' is 'b', and no stage before it is: choose from none"),
        ('Stage("a"), Stage("b", pseudo_labels="c")', "pseudo_labels of stage 'b' is 'c', .* choose from a"),
        ('Stage("a"), Stage("b", start="a/newest")', "start of stage 'b' is 'a/newest': give a/best"),
        ('Stage("a", unlabelled="records")', "unlabelled of stage 'a' needs pseudo_labels"),
        ('"a", "b"', r"STAGES of \S+toy.py is \('a', 'b'\): it should list a fada_tf.stages.Stage for each"),
    ],
)
def test_stages_that_cannot_be_are_named(tmp_path, stages, message):
    with pytest.raises(InputError, match=message):
        PipelineJobs(write(tmp_path, stages))


def test_two_places_of_initial_weights_are_one_too_many(tmp_path):
    path = write(tmp_path, 'Stage("a"), Stage("b", start="a")')
    text = pathlib.Path(path).read_text()
    given = "    config.model.initial_weights = {!r} if stage == 'b' else ''\n    return config"
    pathlib.Path(path).write_text(text.replace("    return config", given.format("elsewhere/a")))
    with pytest.raises(InputError, match=r"'b' starts from 'a', which lies in runs/toy/a, and .* 'elsewhere/a': leave"):
        experiment_file.get_config(path, "b")
    pathlib.Path(path).write_text("RUNS = 'elsewhere'\n" + pathlib.Path(path).read_text())
    assert experiment_file.get_config(path, "b").model.initial_weights == "elsewhere/a"
    assert PipelineJobs(path).runs == "elsewhere"


# As files were written before they could declare their stages.
UNDECLARED = """
from fada_tf.config import Config, method_settings

def get_config(stage="source"):
    methods = {{"source": "source_only", "adversarial": "fada", "self_distillation": "self_distillation"}}
    config = Config(name=stage, method=method_settings(methods[stage]))
    config.data.source.records = "records/source"
    config.data.source.height, config.data.source.width = 24, 32
    config.data.target.records = f"records/{{stage}}"
    config.data.target.height, config.data.target.width = 24, 32
    config.data.evaluation.records, config.data.evaluation.height, config.data.evaluation.width = "records/val", 24, 32
    config.model.initial_weights = {{
        "source": "imagenet", "adversarial": "{runs}source{inside}", "self_distillation": "{start}",
    }}[stage]
    return config
"""


@pytest.mark.parametrize("inside", ["", "/best", "/best/ckpt-40", "/checkpoints/ckpt-300"])
@pytest.mark.parametrize(("start", "moved"), [("imagenet", None), ("runs/x/adversarial", "out/seed0/fada_soft")])
def test_a_file_that_declares_no_stages_has_the_papers(tmp_path, inside, start, moved):
    (tmp_path / "old.py").write_text(UNDECLARED.format(runs="runs/x/", inside=inside, start=start))
    path = str(tmp_path / "old.py")
    todo = PipelineJobs(path)
    assert todo.runs == "runs/x"
    found = {job.name: job for job in todo.jobs}
    assert option(found["adversarial/train"], "config.model.initial_weights") is None
    assert option(found["self_distillation/pseudo_labels"], "checkpoint") == "runs/x/adversarial"
    assert "--run=FADA + self-distillation=runs/x/self_distillation" in found["report"].options
    study = {job.name: job for job in StudyJobs(Study("x", path, "records/test", seeds=(0,)), "out").jobs}
    adversarial, distilled = (study[f"seed0/{name}/train"] for name in ("fada_soft", "self_distillation"))
    assert option(adversarial, "config.model.initial_weights") == f"out/seed0/source{inside}"
    assert option(distilled, "config.model.initial_weights") == moved


def test_runs_of_a_file_whose_stages_start_from_none_lie_where_its_name_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("old.py").write_text(UNDECLARED.format(runs="", inside=".npz", start="imagenet"))
    assert PipelineJobs("old.py").runs == os.path.join("runs", "old")
    pathlib.Path("old.py").write_text(UNDECLARED.format(runs="", inside="", start="adversarial"))
    assert PipelineJobs("old.py").runs == "."
