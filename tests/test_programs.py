"""The real programs, run in the order in which a user runs them, on a few made-up scenes."""

import ast
import csv
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests import scenes
from tests.processes import ROOT, interrupt, run
from tests.small_runs import assert_same

PROGRAMS = sorted(path.stem for path in (ROOT / "fada_tf/programs").glob("[a-z]*.py"))

CONFIG = """
from fada_tf.config import Config, method_settings

def get_config(stage="source"):
    if stage not in ("source", "adversarial", "self_distillation"):
        raise KeyError(stage)
    config = Config(name=f"scenes {stage}")
    config.data.label_space = "classes.json"
    config.data.evaluation.records = "records/target_val"
    config.data.evaluation.height, config.data.evaluation.width = 24, 32
    config.model.backbone, config.model.batch_norm = "tiny", "synchronized"
    config.optimizer.learning_rate, config.optimizer.head_multiplier = 1e-2, 1.0
    config.schedule.horizon = 100
    config.training.iterations, config.training.batch_size, config.training.steps_per_loop = 6, 2, 2
    config.training.checkpoint_interval, config.training.evaluation_interval = 2, 4
    config.training.picture_interval = 4
    if stage != "self_distillation":
        source = config.data.source
        source.records, source.height, source.width = "records/source", 24, 32
        source.sampling, source.color_jitter = "class_balanced", True
    target = config.data.target
    if stage == "adversarial":
        config.method = method_settings("fada")
        config.model.initial_weights = "runs/source"
        target.records, target.height, target.width = "records/target_train", 24, 32
    if stage == "self_distillation":
        config.method = method_settings("self_distillation")
        config.model.initial_weights = "runs/adversarial/best"
        target.records, target.height, target.width = "records/target_pseudo", 24, 32
        target.crop, target.scale_min, target.scale_max, target.flip = True, 0.5, 1.5, True
    return config
"""

STUDY = """
from fada_tf.experiments.study import Study

def get_study():
    return Study("scenes", "scenes.py", "records/target_val", seeds=(3,), overrides={"training.picture_interval": 0})
"""


def succeed(folder: pathlib.Path, program: str, *options: str, timeout: int = 300) -> str:
    """Runs a program that must succeed; returns its standard output."""
    result = run(folder, program, *options, timeout=timeout)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def fail(folder: pathlib.Path, program: str, *options: str) -> str:
    """Runs a program on bad input; returns its one line of error."""
    result = run(folder, program, *options)
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    return errors[0]


def scores_of(folder: pathlib.Path, run: str, iteration: int = 6) -> pathlib.Path:
    """Returns the scores of a run's newest checkpoint."""
    (path,) = folder.glob(f"runs/{run}/scores/target_val-*/32x24/{iteration}/scores.json")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A user's folder after the whole pipeline: images, records, three runs, scores, predictions, report."""
    folder = tmp_path_factory.mktemp("programs")
    scenes.write_class_file(folder / "classes.json")
    (folder / "scenes.py").write_text(CONFIG)
    for name, dusk, count in (("source", False, 6), ("target_train", True, 4), ("target_val", True, 3)):
        scenes.write_folder(folder / name, count, dusk=dusk, seed=100 * count)
        labels = [] if name == "target_train" else [f"--labels={name}/labels", "--classes=classes.json"]
        options = [f"--images={name}/images", *labels, f"--output=records/{name}", "--num_shards=2", "--workers=1"]
        succeed(folder, "make_tfrecords", *options)
    succeed(folder, "run_pipeline", "--config=scenes.py", timeout=600)
    (folder / "study.py").write_text(STUDY)
    (folder / "typo.py").write_text(CONFIG.replace("optimizer.learning_rate", "optimizer.lr"))
    (folder / "runs/no_evaluation/checkpoints").mkdir(parents=True)
    (folder / "runs/no_evaluation/checkpoints/ckpt-6.index").touch()
    config = json.loads((folder / "runs/source/config.json").read_text())
    config["data"]["evaluation"]["records"] = ""
    (folder / "runs/no_evaluation/config.json").write_text(json.dumps(config))
    succeed(folder, "predict", "--checkpoint=runs/source", "--images=target_val/images", "--output=predictions")
    (folder / "models/scenes/1").mkdir(parents=True)
    succeed(
        folder, "export_model", "--checkpoint=runs/source", "--name=scenes", "--images=target_val/images/000.png",
        "--warmup_batches=1",
    )  # fmt: skip
    succeed(folder, "evaluate", "--checkpoint=runs/self_distillation/best")
    succeed(
        folder, "report", "--run=before=runs/source", "--run=<after>=runs/self_distillation/best",
        "--records=records/target_val", "--output=report.html", "--pictures=2",
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_names_the_options_without_starting_tensorflow(program):
    probe = (
        "import runpy, sys\n"
        f"sys.argv = ['{program}', '--help']\n"
        "try:\n"
        f"    runpy.run_path('scripts/{program}.py', run_name='__main__')\n"
        "except SystemExit:\n"
        "    sys.exit('tensorflow' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0 and "--" in result.stdout, result.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_numbers_have_a_lower_bound(program):
    calls = [
        node for node in ast.walk(ast.parse((ROOT / f"fada_tf/programs/{program}.py").read_text())) if is_number(node)
    ]
    assert not [ast.unparse(call) for call in calls if "lower_bound" not in {word.arg for word in call.keywords}]


def is_number(node: ast.AST) -> bool:
    """Tells whether a node of a program defines an option that takes a number."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("DEFINE_integer", "DEFINE_float"))


@pytest.mark.parametrize(
    "first", ["fada_tf.training.run", *(pytest.param(name, marks=pytest.mark.slow) for name in ("keras", "tensorflow"))]
)
def test_tensorflow_starts_without_what_keras_imports_and_we_do_not_need(first):
    program = f"""
import sys
from fada_tf import cli
def main(argv):
    import {first}, keras, tensorflow
    print([name for name in ("matplotlib", "pandas", "pyarrow", "scipy", "sklearn") if name in sys.modules])
    from matplotlib import pyplot
    from sklearn.manifold import TSNE
    print(keras.Sequential([keras.layers.Dense(1)])(tensorflow.zeros((2, 3))).shape, TSNE.__name__)
cli.run(main)
"""
    lines = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert lines.splitlines() == ["[]", "(2, 1) TSNE"]


@pytest.mark.parametrize("stage", ["source", "adversarial", "self_distillation"])
def test_a_run_leaves_its_config_classes_metrics_events_and_checkpoints(folder, stage):
    run_dir = folder / "runs" / stage
    config = json.loads((run_dir / "config.json").read_text())
    assert config["name"] == f"scenes {stage}"
    assert json.loads((run_dir / "label_space.json").read_text())["classes"][2]["name"] == "car"
    metrics = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics if line["kind"] == "train"] == [2, 4, 6]
    assert [line["step"] for line in metrics if line["kind"] == "evaluation"] == [4, 6]
    assert {path.name for path in (run_dir / "checkpoints").glob("*.index")} == {
        "ckpt-2.index", "ckpt-4.index", "ckpt-6.index",
    }  # fmt: skip
    assert len(list((run_dir / "best").glob("*.index"))) == 1
    for kind in ("train", "evaluation", "pictures"):
        assert list((run_dir / "events" / kind).glob("events.out.tfevents.*"))


def test_a_log_line_has_losses_speed_and_time_left(folder):
    lines = [line for line in (folder / "runs/jobs/adversarial.train.log").read_text().splitlines() if "/6 " in line]
    assert len(lines) == 3
    for word in ("segmentation", "adversarial", "discriminator_source", "steps/s", "images/s", "ETA"):
        assert word in lines[0]


def test_scores_are_the_same_in_json_and_csv(folder):
    scores = json.loads(scores_of(folder, "source").read_text())
    rows = list(csv.DictReader(scores_of(folder, "source").with_suffix(".csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == ["sky", "road", "car", "mean"]
    assert float(rows[-1]["iou"]) == pytest.approx(scores["mean_iou"], abs=1e-6)
    confusion = np.array(scores["confusion"])
    assert confusion.sum() == 3 * (scenes.HEIGHT - 2) * scenes.WIDTH
    assert [int(row["labelled_pixels"]) for row in rows[:3]] == confusion.sum(1).tolist()
    assert float(rows[-1]["boundary_iou"]) == pytest.approx(scores["boundary_iou"], abs=1e-6)
    assert scores["boundary_iou"] != scores["mean_iou"] and 0 <= scores["expected_calibration_error"] <= 1


def test_predictions_have_the_size_of_the_picture_and_score_as_evaluation_does(folder):
    scores = json.loads(scores_of(folder, "source").read_text())
    confusion = np.zeros((3, 3), np.int64)
    for name in ("000", "001", "002"):
        ids = np.asarray(Image.open(folder / f"predictions/ids/{name}.png"))
        label = np.asarray(Image.open(folder / f"target_val/labels/{name}.png"))
        mask = np.asarray(Image.open(folder / f"predictions/masks/{name}.png"))
        assert ids.shape == label.shape
        np.testing.assert_array_equal(mask, np.array(list(scenes.CLASSES.values()))[ids])
        np.add.at(confusion, (label[label != 255], ids[label != 255]), 1)
    np.testing.assert_array_equal(confusion, scores["confusion"])
    assert np.asarray(Image.open(folder / "predictions/legend.png")).shape[0] == 28 * 3 + 6


def test_a_pipeline_leaves_a_report_and_does_nothing_twice(folder):
    page = (folder / "runs/report.html").read_text()
    assert "FADA + self-distillation" in page and "discriminator, FADA" in page and "mean CCD" in page
    before = scores_of(folder, "source").stat().st_mtime_ns
    assert "open runs/report.html" in succeed(folder, "run_pipeline", "--config=scenes.py")
    assert scores_of(folder, "source").stat().st_mtime_ns == before


def test_class_center_distance_is_the_same_in_json_and_csv(folder):
    (ccd,) = folder.glob("runs/adversarial/features/target_val-*/source-*_32x24_500/6/ccd.json")
    values = json.loads(ccd.read_text())
    rows = {row["class"]: row for row in csv.DictReader(ccd.with_suffix(".csv").read_text().splitlines())}
    assert float(rows["mean"]["ccd"]) == pytest.approx(values["mean_ccd"], abs=1e-6)
    assert float(rows["car"]["ccd"]) == pytest.approx(values["ccd"]["car"], abs=1e-6)
    assert values["feature_vectors"]["target"][1] == int(rows["road"]["target_vectors"]) > 0


def test_a_dry_run_of_a_study_prints_commands_and_does_nothing(folder):
    options = [
        "--config=study.py",
        "--seeds=7",
        "--set=training.batch_size=3",
        "--config.training.xla=True",
        "--dry_run",
    ]
    lines = succeed(folder, "run_study", *options).splitlines()
    assert not (folder / "runs/studies").exists()
    assert len([line for line in lines if line.startswith("fada-tf train ")]) == 7
    assert any(line.startswith("cp -r ") for line in lines)
    assert {"--config.seed=7", "--config.training.batch_size=3", "--config.training.xla=True"} <= set(lines[0].split())


@pytest.mark.slow
def test_a_study_ends_with_a_table_of_all_rows(folder):
    output = succeed(folder, "run_study", "--config=study.py", timeout=900)
    table = json.loads((folder / "runs/studies/scenes/table.json").read_text())
    assert [row["iterations"] for row in table["rows"]] == [6, 12, 12, 12, 12, 18, 18, 18]
    for row in table["rows"]:
        assert {"mean_iou", "ccd", "pixel_accuracy", "expected_calibration_error", "minutes"} <= row["seeds"][
            "3"
        ].keys()
        assert row["title"] in output
    # What continued is what was trained at once.
    options = ["--config.seed=3", "--config.training.iterations=18", "--config.training.picture_interval=0"]
    succeed(folder, "train", "--config=scenes.py:source", "--run_dir=runs/at_once", *options)
    succeed(folder, "evaluate", "--checkpoint=runs/at_once")
    scores = [
        json.loads(scores_of(folder, run, 18).read_text())["confusion"]
        for run in ("at_once", "studies/scenes/seed3/control_long")
    ]
    assert scores[0] == scores[1]


def test_an_exported_model_is_the_next_version(folder):
    assert (folder / "models/scenes/2/saved_model.pb").exists()
    manifest = json.loads((folder / "models/scenes/2/assets.extra/manifest.json").read_text())
    assert manifest["warmup"] == {"sizes": [[scenes.HEIGHT, scenes.WIDTH]], "batches": [1]}


def test_the_report_is_one_page_with_escaped_names(folder):
    page = (folder / "report.html").read_text()
    assert "&lt;after&gt;" in page
    assert "<after>" not in page
    assert "://" not in page
    assert page.count("<img") == 1 + 3 * 5  # the curves, and all three pictures


@pytest.mark.slow  # quickly shown without a process in tests/training/test_run.py
def test_a_finished_run_continues_to_more_iterations(folder):
    shutil.copytree(folder / "runs/source", folder / "runs/longer")  # the other stays as it is compared with
    output = succeed(
        folder, "train", "--config=scenes.py:source", "--run_dir=runs/longer", "--config.training.iterations=8"
    )
    assert "8/8" in output
    assert "2/8" not in output


TRAIN_SOURCE = ["--config=scenes.py:source", "--run_dir=runs/x"]
TRAIN_ADVERSARIAL = ["--config=scenes.py:adversarial", "--run_dir=runs/x"]
EXPORT = ["--checkpoint=runs/source", "--images=target_val/images/000.png"]
PREDICT = ["--checkpoint=runs/source", "--output=x"]
# By case: the program, its options, words of the one line it should print.
BAD_INPUT = {
    "unknown field": ("train", [*TRAIN_SOURCE, "--config.training.iteration=1"], "nearest: config.training.iterations"),
    "misspelt fields": ("train", ["--config=typo.py:source", "--run_dir=runs/x"], "lr (nearest: config.optimizer.lea"),
    "an empty option": ("evaluate", ["--checkpoint="], "--checkpoint is empty: Run directory"),
    "a path at home": ("evaluate", ["--checkpoint=~/nowhere"], f"{pathlib.Path.home()}/nowhere holds no checkpoint"),
    "an empty set of records": ("evaluate", ["--checkpoint=runs/no_evaluation"], "no evaluation records: give --reco"),
    "bad value": ("train", [*TRAIN_SOURCE, "--config.training.iterations=many"], "many"),
    "no such config": ("train", ["--config=nowhere.py", "--run_dir=runs/x"], "nowhere.py"),
    "no such stage": (
        "train",
        ["--config=scenes.py:sourec", "--run_dir=runs/x"],
        "scenes.py has no stage 'sourec': choose",
    ),
    "no manifest": ("train", [*TRAIN_SOURCE, "--config.data.source.records=target_val"], "target_val has no manifest"),
    "a domain is missing": (
        "train",
        [*TRAIN_SOURCE, "--config.method.name=fada"],
        "config.data.target.records is empty",
    ),
    "unknown backbone": ("train", [*TRAIN_SOURCE, "--config.model.backbone=vgg19"], "resnet101, resnet50, tiny, vgg16"),
    "another backbone": (
        "train",
        [*TRAIN_ADVERSARIAL, "--config.model.backbone=resnet50"],
        "holds a segmenter of tiny",
    ),
    "other classes": ("train", [*TRAIN_ADVERSARIAL, "--config.data.label_space=cityscapes13"], "with 3 classes"),
    "no checkpoint": ("evaluate", ["--checkpoint=records"], "records holds no checkpoint"),
    "no such picture": ("predict", [*PREDICT, "--images=nowhere.jpg"], "nowhere.jpg does not exist"),
    "not a picture": ("predict", [*PREDICT, "--images=scenes.py"], "scenes.py: cannot be read as an image"),
    "no pictures": ("predict", [*PREDICT, "--images=runs"], "runs holds no pictures"),
    "not scored": ("report", ["--run=a=runs/source", "--records=records/source", "--output=x.html"], "run fada-tf ev"),
    "no such run": ("report", ["a=runs/sourec"], "'a=runs/sourec' names no run"),
    "a remote run, with a title": ("report", ["a=s3://bucket/run"], "error: s3://bucket/run: this TensorFlow reads no"),
    "no run": ("report", ["--records=records/target_val"], "no run is given"),
    "scales": ("evaluate", ["--checkpoint=runs/source", "--scales=1,x"], "scales are '1,x': give numbers above 0"),
    "no source records": ("analyze_features", ["--checkpoint=runs/self_distillation"], "give --source"),
    "no target records": ("make_pseudo_labels", ["--checkpoint=runs/source", "--output=x"], "give --records"),
    "no such study": ("run_study", ["--config=nowhere.py"], "nowhere.py does not exist"),
    "no such seed": ("run_study", ["--config=study.py", "--seeds=a"], "give numbers such as 0,1,2"),
    "a seed of its own": ("run_study", ["--config=study.py", "--set=seed=3"], "--set=seed=3 would be that of no run"),
    "no such setting": ("run_pipeline", ["--config=scenes.py", "--set=training.xla=maybe"], "config.training.xla is"),
    "a version twice": ("export_model", [*EXPORT, "--name=scenes", "--version=2"], "models/scenes/2 exists"),
    "bad warm-up sizes": ("export_model", [*EXPORT, "--warmup_sizes=48"], "'48'"),
    "a negative size": ("predict", [*PREDICT, "--images=scenes.py", "--height=-5"], "flag --height=-5"),
    "a missing option": ("evaluate", [], "--checkpoint"),
}


# What the config and the library say of these is tested without a process, too.
OFTEN_ELSEWHERE = ("no such stage", "scales", "other classes", "unknown backbone", "not a picture", "no pictures")


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] if case in OFTEN_ELSEWHERE else []) for case in BAD_INPUT],
)
def test_bad_input_gets_one_line_and_leaves_nothing(folder, case):
    program, options, words = BAD_INPUT[case]
    before = {path for path in folder.rglob("*") if "__pycache__" not in path.parts}
    assert words in fail(folder, program, *options)
    assert {path for path in folder.rglob("*") if "__pycache__" not in path.parts} == before


@pytest.mark.slow  # quickly shown in tests/training/test_faults.py and test_signals.py
def test_a_run_stopped_once_and_killed_twice_ends_as_the_one_that_was_not(folder):
    run_dir, options = folder / "runs/killed", ["--config=scenes.py:source", "--run_dir=runs/killed"]
    checkpoints = run_dir / "checkpoints"
    code, errors = interrupt(
        folder, "train", *options, when=(run_dir / "config.json").exists, number=signal.SIGTERM
    )  # while TensorFlow compiles the step
    assert code == 75, errors
    assert re.search(
        r"^SIGTERM: stopping; once more ends the process at once\n(.*\n)*"  # TensorFlow may say something in between
        r"stopped by SIGTERM at iteration [01], with a checkpoint: the same command continues\n\Z",
        errors,
        re.MULTILINE,
    )
    moments = {
        "a checkpoint's writing": lambda: any(checkpoints.glob("ckpt-4_temp")),
        "evaluation": (checkpoints / "ckpt-4.index").exists,
    }
    for moment in moments.values():
        assert interrupt(folder, "train", *options, when=moment)[0] == -signal.SIGKILL
    succeed(folder, "train", *options)
    assert_same(folder / "runs/source", run_dir, 6)
