"""The jobs of studies: right weights, labels and lengths; and their table."""

import json
import os
import pathlib
import re

import pytest

from fada_tf import experiment_file, paper
from fada_tf.errors import InputError
from fada_tf.experiment_file import parse_settings
from fada_tf.experiments import jobs, study_tables
from fada_tf.experiments.pipeline import PipelineJobs
from fada_tf.experiments.stages import BY_A_JOB, Experiment, Training
from fada_tf.experiments.study import Row, Study, StudyJobs, load_study
from fada_tf.runs import results
from tests.reporting.parsing import Page

ROOT = pathlib.Path(__file__).parents[2]
STUDIES = sorted((ROOT / "configs/studies").glob("*.py"))


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def option(job, name: str) -> str | None:
    found = [text.partition("=")[2] for text in job.options if text.startswith(f"--{name}=")]
    return found[0] if found else None


def by_name(study: Study, output: str = "out") -> dict:
    return {job.name: job for job in StudyJobs(study, output).jobs}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_studies_that_ship_have_one_target(path):
    study = load_study(str(path))
    experiment = Experiment(study.experiment, study.trainings, study.overrides)
    targets = {experiment.trained(name).data.target.records for name in experiment.trainings}
    assert len(targets - {"", BY_A_JOB}) == 1


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_studies_that_ship_are_whole(path):
    study = load_study(str(path))
    todo = StudyJobs(study, "out")
    found = todo.jobs
    names = [job.name for job in found]
    assert len(set(names)) == len(names)
    assert all(set(job.after) <= set(names[:index]) for index, job in enumerate(found))
    trained = [job for job in found if job.program == "train"]
    assert len(trained) == len(todo.experiment.trainings) * len(study.seeds)
    assert sum(job.program == "evaluate" for job in found) == len(todo.rows) * len(study.seeds)


def task(**fields) -> Study:
    defaults = {
        "name": "dusk",
        "experiment": "configs/camvid_day_dusk.py",
        "test_records": "records/test",
        "seeds": (0, 7),
    }
    return Study(**defaults | fields)


def changed_task(folder: pathlib.Path, text: str, other: str) -> None:
    """Writes the experiment file with another text in one place."""
    before = (ROOT / "configs/camvid_day_dusk.py").read_text()
    assert text in before
    (folder / "task.py").write_text(before.replace(text, other))


def test_stages_start_from_the_runs_of_their_own_seed():
    found = by_name(task())
    for name in ("binary", "fada_hard", "fada_soft"):
        job = found[f"seed7/{name}/train"]
        assert option(job, "config.model.initial_weights") == "out/seed7/source"
        assert option(job, "config.seed") == "7"
        assert "seed7/source/train" in job.after
    assert option(found["seed7/binary/train"], "config.method.name") == "binary_adversarial"
    assert option(found["seed7/fada_hard/train"], "config.method.class_knowledge") == "hard"
    labels, distilled = found["seed7/self_distillation/pseudo_labels"], found["seed7/self_distillation/train"]
    assert option(labels, "checkpoint") == option(distilled, "config.model.initial_weights") == "out/seed7/fada_soft"
    assert option(labels, "output") == option(distilled, "config.data.target.records")
    assert option(found["seed0/source/train"], "config.model.initial_weights") is None


def test_self_distillation_of_the_paper_starts_from_imagenet_again():
    study = Study("gta5", "configs/gta5_r101.py", "data/records/cityscapes_val", seeds=(0,))
    found = by_name(study)
    assert option(found["seed0/self_distillation/train"], "config.model.initial_weights") is None
    assert option(found["seed0/fada_soft/train"], "config.model.initial_weights") == "out/seed0/source"


def test_weights_of_an_earlier_stage_are_those_of_the_same_rows_earlier_training(tmp_path):
    changed_task(tmp_path, 'start="adversarial", pseudo', 'start="source/best", pseudo')
    found = by_name(Study("x", str(tmp_path / "task.py"), "records/test", seeds=(0,)))
    distilled = found["seed0/self_distillation/train"]
    assert option(distilled, "config.model.initial_weights") == "out/seed0/source/best"
    assert option(found["seed0/self_distillation/pseudo_labels"], "checkpoint") == "out/seed0/fada_soft"
    trainings = [Training("lonely", "self_distillation", start="x"), Training("x", "source")][::-1]
    with pytest.raises(InputError, match=r"lonely starts from 'x', and its stage from stage 'adversarial' in"):
        StudyJobs(task(trainings=trainings, rows=[]), "out")


@pytest.mark.parametrize("weights", ["best", "best/ckpt-40", "checkpoints/ckpt-300", ""])
def test_a_stage_may_start_from_the_best_checkpoint_of_the_one_before(tmp_path, weights):
    changed_task(tmp_path, 'start="source"', f'start="{os.path.join("source", weights).rstrip("/")}"')
    pipeline = PipelineJobs(str(tmp_path / "task.py"))
    assert pipeline.runs == "runs/task"
    outputs = {job.name: job.output for job in pipeline.jobs if job.program == "train"}
    assert outputs["source/train"] == "runs/task/source"
    found = by_name(Study("x", str(tmp_path / "task.py"), "records/test", seeds=(0,)))
    initial = option(found["seed0/fada_soft/train"], "config.model.initial_weights")
    assert initial == os.path.join("out/seed0/source", weights).rstrip("/")
    assert found["seed0/fada_soft/train"].output == "out/seed0/fada_soft"


def test_controls_continue_source_only_to_the_adapted_rows_iterations():
    total = StudyJobs(task(), "out").experiment
    settings = experiment_file.load("configs/camvid_day_dusk.py").ITERATIONS
    assert total.iterations("control") == settings["source"] + settings["adversarial"]
    assert total.iterations("control_long") == sum(settings.values())
    assert total.total_iterations("control_long") == total.total_iterations("self_distillation")
    found = by_name(task())
    control = found["seed0/control/train"]
    assert control.copies == "out/seed0/source"
    assert option(control, "config.training.iterations") == str(settings["source"] + settings["adversarial"])
    assert found["seed0/control_long/train"].copies == "out/seed0/control"


def test_a_training_that_goes_on_counts_the_iterations_before_once():
    study = load_study("configs/studies/synthstreet_camvid_paper.py")
    experiment = StudyJobs(study, "out").experiment
    totals = {name: experiment.total_iterations(name) for name in experiment.trainings}
    assert totals == {
        "source": 400, "adversarial": 800, "adversarial_long": 1200, "adversarial_loss": 1200,
        "adversarial_rate": 1200, "source_balanced": 400, "adversarial_balanced": 1200,
        "control_balanced": 1200, "control": 1200,
        "adversarial_after": 2000, "control_after": 2000, "self_distillation": 1200,
    }  # fmt: skip
    assert by_name(study)["seed0/adversarial_long/train"].copies == "out/seed0/adversarial"


@pytest.mark.parametrize("stage", [stage.name for stage in paper.STAGES])
def test_the_small_task_with_the_papers_constants_has_them(stage):
    small = experiment_file.load("configs/synthstreet_camvid_paper.py").get_config(stage)
    own = experiment_file.load("configs/gta5_vgg16.py").get_config(stage)
    assert small.optimizer == own.optimizer
    assert small.method == own.method


def test_a_control_beyond_the_schedule_is_trained_anew_on_a_longer_one():
    found = by_name(Study("gta5", "configs/gta5_r101.py", "data/records/cityscapes_val", seeds=(0,)))
    control = found["seed0/control/train"]
    assert option(control, "config.training.iterations") == "60000"
    assert option(control, "config.schedule.horizon") == str(60_000 * 31_250 // 20_000)
    assert not control.copies and not control.after


@pytest.mark.parametrize(("horizon", "longer"), [(200_000, None), (50_000, 60_000 * 50_000 // 30_000)])
def test_a_control_has_the_schedule_of_the_rows_it_controls(horizon, longer):
    overrides = {"schedule.horizon": horizon, "training.iterations": 30_000}
    found = by_name(Study("gta5", "configs/gta5_r101.py", "data", seeds=(0,), overrides=overrides))
    control = found["seed0/control/train"]
    assert option(control, "config.training.iterations") == "60000"
    assert option(found["seed0/fada_soft/train"], "config.schedule.horizon") == str(horizon)
    assert option(control, "config.schedule.horizon") == str(longer or horizon)
    assert bool(control.copies) == bool(control.after) == (longer is None)


def test_settings_that_change_no_weight_change_no_job():
    found = [
        jobs._keys(StudyJobs(task(overrides=overrides), "out").jobs)
        for overrides in (
            {},
            {"training.keep_checkpoints": 1, "training.picture_interval": 0},
            {"training.iterations": 9},
        )
    ]
    assert found[0] == found[1]
    assert all(found[0][name] != key for name, key in found[2].items())


def test_a_changed_setting_of_the_experiment_changes_the_job(tmp_path):
    text = (ROOT / "configs/camvid_day_dusk.py").read_text()
    keys = []
    for rate in ("1e-2", "2e-2"):
        (tmp_path / "task.py").write_text(re.sub(r"learning_rate = 1e-2", f"learning_rate = {rate}", text))
        todo = StudyJobs(Study("x", str(tmp_path / "task.py"), "records/test", seeds=(0,)), "out").jobs
        keys.append(jobs._keys(todo))
    assert "optimizer.learning_rate: 0.00025, 0.02" in todo[0].settings and "momentum" not in todo[0].settings
    assert all(keys[0][name] != keys[1][name] for name in ("seed0/source/train", "seed0/fada_soft/evaluate"))


def test_settings_of_the_command_line_reach_every_stage_of_a_task():
    settings = ["training.precision=mixed_bfloat16", "optimizer.weight_decay=1e-4", "model.recompute=False", "seed=5"]
    settings += ["data.evaluation.height=24"]
    todo = PipelineJobs("configs/camvid_day_dusk.py", overrides=parse_settings(settings)).jobs
    trained = [job for job in todo if job.program == "train"]
    assert len(trained) == 3
    for job in trained:
        assert option(job, "config.training.precision") == "mixed_bfloat16"
        assert option(job, "config.optimizer.weight_decay") == "0.0001"
        assert option(job, "config.model.recompute") is None  # as the experiment has it
        assert option(job, "config.seed") == "5"
    assert {option(job, "height") for job in todo if job.program == "analyze_features"} == {"24"}


def test_a_setting_reaches_the_stages_that_have_it():
    weight, smoothing = "method.adversarial_weight", "method.segmentation_temperature"
    todo = PipelineJobs("configs/camvid_day_dusk.py", overrides={weight: "0.5", smoothing: "3"}).jobs
    trained = {job.name: job for job in todo if job.program == "train"}
    found = [(option(job, f"config.{weight}"), option(job, f"config.{smoothing}")) for job in trained.values()]
    assert found == [(None, "3.0"), ("0.5", "3.0"), (None, "3.0")]
    rows = by_name(task(overrides={weight: 0.5}))
    assert option(rows["seed0/binary/train"], f"config.{weight}") == "0.5"
    assert option(rows["seed0/control/train"], f"config.{weight}") is None
    everywhere = PipelineJobs("configs/camvid_day_dusk.py", overrides={weight: "0.5", "method.name": "fada"}).jobs
    assert {option(job, f"config.{weight}") for job in everywhere if job.program == "train"} == {"0.5"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.precision", "'training.precision' is no setting: give FIELD=VALUE"),
        ("=3", "'=3' is no setting"),
        ("training.batches=3", "no such field: config.training.batches (nearest: config.training.batch_size)"),
        ("method.adversarial_wait=3", "no such field: config.method.adversarial_wait"),
        ("training=3", "training is a section"),
        ("training.iterations=many", "config.training.iterations is 'many': it takes a value of type int"),
        ("training.xla=yes", "config.training.xla is 'yes': it takes a value of type bool"),
        ("training.precision=float8", "config.training.precision is 'float8': choose from"),
    ],
)
def test_a_setting_of_the_command_line_that_cannot_work_says_why(setting, message):
    with pytest.raises(InputError, match=re.escape(message)):
        PipelineJobs("configs/camvid_day_dusk.py", overrides=parse_settings([setting]))


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"rows": [Row("a", "b")]}, "row 'a' has the training 'b'"),
        ({"rows": [Row("a", "source", control="c")]}, "row 'a' has the control 'c'"),
        ({"trainings": [Training("a", "adversarial", start="b")]}, "a starts from 'b'"),
        (
            {"trainings": [Training("source", "x")], "rows": []},
            "camvid_day_dusk.py has no stage 'x': choose from source, adversarial, self_distillation",
        ),
        ({"overrides": {"training.iteration": 3}}, r"training.iteration \(nearest: config.training.iterations\)"),
        ({"test_records": ""}, "test_records of study 'dusk' is empty"),
        ({"overrides": {"training.batch_size": 0}}, "config.training.batch_size is 0"),
    ],
)
def test_a_study_that_cannot_work_says_why(study, message):
    with pytest.raises(InputError, match=message):
        StudyJobs(task(**study), "out")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("study.seed = (1,)", r"a study has no field seed \(nearest: seeds\): \S+study.py sets it"),
        ("Row('a', 'b', multiscale=True)", r"study.py, line 4 .*'multiscale', nearest is multi_scale\): mend it"),
        ("Training('a', 'b', begin='c')", r"line 4 cannot be run \(TypeError: .* argument 'begin', nearest is"),
        ("study.name = ''", r"the study of \S+study.py has an empty name"),
        ("return None", r"get_study of \S+study.py returns None: it should return a \S+Study"),
        ("1 / 0", r"study.py, line 4 cannot be run \(ZeroDivisionError: division by zero\): mend it"),
    ],
)
def test_a_study_file_that_is_wrong_says_where(tmp_path, line, message):
    path = tmp_path / "study.py"
    path.write_text(
        "from fada_tf.experiments.study import Row, Study, Training\n"
        "def get_study():\n"
        "    study = Study('a', '~/task.py', '~')\n"
        f"    {line}\n"
        "    return study\n"
    )
    with pytest.raises(InputError, match=message):
        load_study(str(path))
    path.write_text(path.read_text().replace(line, "pass"))
    assert load_study(str(path)).experiment == os.path.expanduser("~/task.py")


def test_all_missing_files_are_named_at_once(monkeypatch, tmp_path):
    todo = StudyJobs(task(), "out")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        todo.check_files()
    for name in ("camvid_train_day", "camvid_train_dusk", "camvid_test_dusk"):
        assert f"data/records/{name}/manifest.json" in str(error.value)
    assert "records/test/manifest.json" in str(error.value)
    assert "pseudo" not in str(error.value) and "seed" not in str(error.value)
    with pytest.raises(InputError, match=r"nowhere\.py does not exist"):
        Experiment("nowhere.py", ())


def write_scores(output: pathlib.Path, run: str, mean_iou: float | None, ccd: float | None) -> None:
    iteration = {"source": 600, "fada_soft": 400}[run.rpartition("/")[2]]
    records, source = (str(output / "records" / name) for name in ("test", "source"))
    values = {"mean_iou": mean_iou, "subset_mean_iou": {"13": mean_iou + 0.1}, "pixel_accuracy": 0.9}
    values["class_iou"] = {"sky": mean_iou, "a|b": None}
    if run.endswith("fada_soft"):  # the other one's were written before there were these
        values |= {"boundary_iou": mean_iou / 2, "expected_calibration_error": 0.0625}
        values["by_condition"] = {"weather": {"fog": {"mean_iou": mean_iou / 2}, "snow": {"mean_iou": None}}}
    found = [(results.Scoring(records, 120, 160), values)]
    if ccd is not None:
        found.append((results.Analysis(source, records, 120, 160), {"mean_ccd": ccd}))
    for how, numbers in found:
        path = pathlib.Path(results.path(how, str(output / run), iteration))
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(numbers | how.key() | {"iteration": iteration}))


def test_the_table_has_mean_and_spread_and_compares_seed_by_seed(tmp_path):
    rows = [Row("source only", "source"), Row("FADA", "fada_soft", control="source only")]
    for name in ("test", "source"):
        (tmp_path / "records" / name).mkdir(parents=True)
        (tmp_path / "records" / name / "manifest.json").write_text(name)
    trainings = [Training("source", "source"), Training("fada_soft", "adversarial", start="source")]
    study = task(rows=rows, trainings=trainings, overrides={"data.source.records": str(tmp_path / "records/source")})
    study.test_records = str(tmp_path / "records/test")
    todo = StudyJobs(study, str(tmp_path))
    write_scores(tmp_path, "seed0/source", 0.20, 3.0)
    write_scores(tmp_path, "seed7/source", 0.30, 4.0)
    write_scores(tmp_path, "seed0/fada_soft", 0.25, 2.0)
    todo.write_table()
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[4] == "| source only | 600 | 2 | 25.0 ± 7.1 | 35.0 ± 7.1 |  |  | 90.0 ± 0.0 |  | 3.50 ± 0.71 |  |  |"
    assert lines[5] == "| FADA | 1,000 | 1 | 25.0 | 35.0 | +5.0 | 12.5 | 90.0 | 6.2 | 2.00 |  |  |"
    assert lines[11:14] == ["| mean IoU | source only | FADA |", "| --- | --- | --- |", "| weather fog |  | 12.5 |"]
    tables = Page((tmp_path / "table.html").read_text()).tables
    assert tables["rows"][2] == ["FADA", "1,000", "1", "25.0", "35.0", "+5.0", "12.5", "90.0", "6.2", "2.00", "", ""]
    assert (tables["classes"][1], tables["conditions"][1]) == (
        ["sky", "25.0 ± 7.1", "25.0"],
        ["weather fog", "", "12.5"],
    )
    write_scores(tmp_path, "seed7/fada_soft", 0.40, None)
    todo.write_table()
    table = json.loads((tmp_path / "table.json").read_text())
    fada = table["rows"][1]
    assert fada["summary"]["mean_iou"]["mean"] == pytest.approx(0.325)
    assert fada["summary"]["mean_iou_above_control"]["mean"] == pytest.approx(0.075)
    assert fada["summary"]["mean_iou_above_control"]["standard_deviation"] == pytest.approx(0.05 / 2**0.5)
    assert fada["seeds"]["7"]["mean_iou_13"] == pytest.approx(0.5)
    rows = (tmp_path / "table.csv").read_text().splitlines()
    assert rows[0] == (
        "row,seed,iterations,mean_iou,mean_iou_13,pixel_accuracy,ccd,iou/sky,boundary_iou,expected_calibration_error,"
        "condition/weather fog"
    )
    assert rows[-1] == "FADA,7,1000,0.400000,0.500000,0.900000,,0.400000,0.200000,0.062500,0.200000"
    again = study_tables.from_json((tmp_path / "table.json").read_text())
    assert again == todo.results() and study_tables.tables(again) == study_tables.tables(todo.results())


def test_a_row_costs_its_training_and_those_that_it_starts_from(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records/manifest.json").write_text("test")
    study = task(rows=[Row("FADA", "fada_soft")], test_records=str(tmp_path / "records"))
    todo = StudyJobs(study, str(tmp_path))
    for seed in study.seeds:
        path = results.path(results.Scoring(study.test_records, 120, 160), str(tmp_path / f"seed{seed}/fada_soft"), 400)
        scores = {"mean_iou": 0.5, "subset_mean_iou": {}, "pixel_accuracy": 0.5, "class_iou": {}}
        how = results.Scoring(study.test_records, 120, 160).key() | {"iteration": 400}
        pathlib.Path(path).parent.mkdir(parents=True)
        pathlib.Path(path).write_text(json.dumps(scores | how))
        (tmp_path / f"seed{seed}/source").mkdir()
    (tmp_path / "jobs").mkdir()

    def done(name: str, seconds: float, peak_bytes: int) -> None:
        state = {"key": jobs._keys(todo.jobs)[name], "seconds": 1.0}
        state["cost"] = {"seconds": seconds, "peak_bytes": peak_bytes}
        (tmp_path / "jobs" / f"{name.replace('/', '.')}.json").write_text(json.dumps(state))

    done("seed0/source/train", 600, 4_000_000_000)
    done("seed0/fada_soft/train", 330, 3_100_000_000)
    done("seed7/source/train", 600, 4_000_000_000)
    (fada,) = todo.results()
    assert (fada.of("minutes"), fada.of("gigabytes")) == ([15.5], [4.0])  # seed 7 is not known whole
    todo.write_table()
    assert (tmp_path / "table.md").read_text().splitlines()[4].endswith("| 15.5 | 4.0 |")
    done("seed7/fada_soft/train", 360, 0)
    (fada,) = todo.results()
    assert (fada.of("minutes"), fada.of("gigabytes")) == ([15.5, 16.0], [4.0])


def test_what_is_trained_anew_costs_nothing_before_it():
    lineage = StudyJobs(task(), "out").experiment.lineage
    assert lineage("control_long") == ["control_long", "control", "source"]
    assert lineage("self_distillation") == ["self_distillation", "fada_soft", "source"]
    overrides = {"schedule.horizon": 50_000, "training.iterations": 30_000}  # which controls go beyond
    study = Study("gta5", "configs/gta5_r101.py", "data", seeds=(0,), overrides=overrides)
    assert StudyJobs(study, "out").experiment.lineage("control") == ["control"]


def test_a_training_cannot_continue_nothing():
    with pytest.raises(InputError, match="longer starts from '': give that training before it"):
        Experiment("configs/camvid_day_dusk.py", [Training("longer", "source", continues=True)])


def test_what_decides_a_run_is_told_in_the_words_of_the_first_format():
    """Studies that were begun when they were the only ones go on: their keys are digests of these words."""
    changed = {"schedule.horizon": 5000, "method.class_knowledge": "hard", "method.confidence_threshold": 0.8}
    trainings = (
        Training("source", "source"),
        Training("hard", "adversarial", start="source", overrides=changed | {"optimizer.weight_decay": 1e-4}),
    )
    (job,) = Experiment("configs/synthstreet_camvid_tiny.py", trainings).training_jobs(
        "hard", "out", "labels", "", seed=1
    )
    head, tail = job.settings.split("model.initial_weights: ")
    assert head.startswith(
        "name: '', 'synthstreet_camvid_tiny adversarial'; seed: 0, 1; data.label_space: 'cityscapes19', "
    )
    assert tail == (
        "'', 'out/source'; method.name: 'source_only', 'fada'; method.segmentation_temperature: 1.0, 1.8; "
        "method.class_knowledge: 'soft', 'hard'; method.confidence_threshold: 0.9, 0.8; method.adversarial_weight: "
        "0.001, 0.01; optimizer.learning_rate: 0.00025, 0.005; optimizer.classifier_multiplier: 10.0, 1.0; "
        "optimizer.weight_decay: 0.0005, 0.0001; optimizer.horizon: 62500, 5000; "
        "optimizer.discriminator_learning_rate: 0.0001, 0.001; iterations: 400"
    )


def test_a_training_may_start_directly_from_one_that_its_stage_does_not_name():
    chain = [Training("source", "source"), Training("fada", "adversarial", start="source")]
    after = {
        name: Training(name, "self_distillation", start="source", pseudo_labels="fada", directly=name == "direct")
        for name in ("direct", "as_the_file_says")
    }
    study = by_name(task(trainings=[*chain, *after.values()], rows=[]))
    starts = {
        name: [option for option in study[f"seed0/{name}/train"].options if "initial_weights" in option]
        for name in after
    }
    assert starts["direct"] == ["--config.model.initial_weights=out/seed0/source"]
    assert starts["as_the_file_says"] == ["--config.model.initial_weights=out/seed0/fada"]


def test_a_training_never_starts_from_another_than_the_one_that_is_named():
    chain = [Training("source", "source"), Training("fada", "adversarial", start="source")]
    more = Training("more", "adversarial", start="fada")  # the stage starts from "source", two trainings before
    study = task(trainings=[*chain, more], rows=[])
    with pytest.raises(InputError, match=r"more starts from 'fada', and its stage from stage 'source' in .*directly"):
        by_name(study)


def test_student_and_teacher_of_one_training_are_rows_of_their_own(tmp_path):
    rows = [Row("student", "source", network="student"), Row("teacher", "source", network="teacher")]
    found = by_name(task(trainings=[Training("source", "source")], rows=rows))
    assert "--network=teacher" in found["seed0/source/evaluate_teacher"].options
    assert "--network=student" in found["seed0/source/evaluate_student"].options
    outputs = {job.output for name, job in found.items() if name.startswith("seed0/source/evaluate")}
    assert len(outputs) == 2
