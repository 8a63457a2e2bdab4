"""Adapting to one's own pictures: which jobs that takes, and what is told of them; the programs only pretend."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import fada_tf
from fada_tf import command
from fada_tf.api import loading
from fada_tf.data import conversion
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from fada_tf.experiments.adaptation import AdaptationJobs, Domain
from tests import scenes
from tests.processes import ROOT

# Does what adapt sees of a program: it makes its output, and a training writes metrics.
PROGRAM = """
import json, os, pathlib, sys, time
options = dict(option.lstrip("-").split("=", 1) for option in sys.argv[1:])
output = pathlib.Path(options.get("output") or options["run_dir"])
output.mkdir(parents=True, exist_ok=True)
with open(output / "log", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if "run_dir" in options:
    with open(output / "metrics.jsonl", "a") as file:
        for step in (10, 20):
            file.write(json.dumps({"kind": "train", "step": step, "loss/segmentation": 0.5}) + "\\n")
        worse = os.path.exists("worse") and "distillation" in str(output)
        file.write(json.dumps({"kind": "evaluation", "step": 20, "mean_iou": 0.125 if worse else 0.25}) + "\\n")
if os.path.exists("broken") and "adversarial" in str(output):
    sys.exit("error: it is broken")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> pathlib.Path:
    """A user's folder, in which programs only pretend."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr(command, "line", lambda program, *options: [sys.executable, "program.py", *options])
    monkeypatch.setattr(loading, "load", lambda run: f"loaded {run}")
    scenes.write_folder(tmp_path / "renders", 2, dusk=False)
    scenes.write_folder(tmp_path / "val", 2, dusk=True)
    scenes.write_class_file(tmp_path / "classes.json")
    (tmp_path / "photos").mkdir()
    shutil.copy(tmp_path / "val/images/000.png", tmp_path / "photos")
    return tmp_path


def adapt(**options) -> object:
    defaults = {"classes": "classes.json", "evaluation": "val", "run_dir": "mine", "config": "camvid_day_dusk"}
    defaults["settings"] = {"training.iterations": 20, "method.adversarial_weight": 0.5}
    return fada_tf.adapt("renders", "photos", **defaults | options)


def log(name: str) -> list[str]:
    return pathlib.Path("mine", name, "log").read_text().splitlines()


def test_pictures_are_converted_and_all_stages_trained_on_them_once(folder):
    told = []
    assert adapt(on_progress=lambda *each: told.append(each)) == "loaded mine/runs/self_distillation"
    assert log("records/source") == [
        "--dataset=folder --images=renders/images --labels=renders/labels --classes=classes.json "
        "--output=mine/records/source"
    ]
    assert log("records/target") == ["--dataset=folder --images=photos --output=mine/records/target"]
    assert log("records/evaluation")[0].startswith("--dataset=folder --images=val/images --labels=val/labels ")
    (adversarial,) = log("runs/adversarial")
    for option in (
        "config=camvid_day_dusk:adversarial", "config.data.source.records=mine/records/source",
        "config.data.target.records=mine/records/target", "config.data.evaluation.records=mine/records/evaluation",
        "config.data.label_space=classes.json", "config.model.initial_weights=mine/runs/source",
        "config.training.iterations=20", "config.method.adversarial_weight=0.5",
    ):  # fmt: skip
        assert f"--{option}" in adversarial.split()
    labels = "mine/records/self_distillation_pseudo_labels"
    assert log("records/self_distillation_pseudo_labels") == [
        f"--checkpoint=mine/runs/adversarial --output={labels} --records=mine/records/target"
    ]
    (last,) = log("runs/self_distillation")
    assert f"--config.data.target.records={labels}" in last.split()
    assert "data.source.records" not in last and "adversarial_weight" not in last

    each = [(10, 20, {"loss/segmentation": 0.5}), (20, 20, {"loss/segmentation": 0.5}), (20, 20, {"mean_iou": 0.25})]
    stages = ("source", "adversarial", "self_distillation")
    assert told == [(stage, *values) for stage in stages for values in each]
    assert adapt(on_progress=lambda *each: told.append(each)) and len(told) == 9  # nothing is done again
    assert len(log("runs/source")) == 1


def test_a_last_stage_that_is_worse_is_told(folder, caplog):
    assert adapt() and "mean IoU by stage" not in caplog.text
    (folder / "worse").touch()
    assert adapt(run_dir="other") == "loaded other/runs/self_distillation"
    assert (
        "mean IoU by stage, %: source 25.0, adversarial 25.0, self_distillation 12.5; the last one is returned, "
        "fada_tf.load('other/runs/source') is better"
    ) in caplog.text


def test_labelled_photos_without_labels_say_where_these_go(folder):
    (folder / "val/labels").rename(folder / "gone")
    with pytest.raises(InputError, match=r"^evaluation: val/labels is no folder: give evaluation_labels, .* or put "):
        adapt()


def test_their_labels_may_lie_elsewhere(folder):
    (folder / "val/labels").rename(folder / "gone")
    adapt(evaluation_labels="gone")
    assert log("records/evaluation")[0].startswith("--dataset=folder --images=val/images --labels=gone ")


def test_without_labelled_photos_nothing_is_scored(folder):
    todo = AdaptationJobs(
        "camvid_day_dusk", Domain("source", "renders", classes="classes.json"), Domain("target", "photos"), None, "m"
    )
    assert [job.name for job in todo.jobs] == [
        "source/convert", "target/convert", "source/train", "adversarial/train", "self_distillation/pseudo_labels",
        "self_distillation/train",
    ]  # fmt: skip
    assert all("--config.data.evaluation.records=" in job.options for job in todo.jobs if job.program == "train")


def test_records_are_taken_as_they_are_with_their_classes(folder):
    found = base.find("folder", images="renders/images", labels="renders/labels", classes="classes.json")
    conversion.convert(found, "records")
    todo = AdaptationJobs("camvid_day_dusk", Domain("source", "records"), Domain("target", "photos"), None, "mine")
    source = next(job for job in todo.jobs if job.name == "source/train")
    assert "--config.data.source.records=records" in source.options and todo.jobs[0].name == "target/convert"
    assert "--config.data.label_space=mine/classes.json" in source.options
    classes = json.loads(pathlib.Path("mine/classes.json").read_text())
    assert [(each["name"], each["ids"]) for each in classes["classes"]] == [("sky", [0]), ("road", [1]), ("car", [2])]


def test_a_stage_that_failed_goes_on_with_the_same_call(folder):
    (folder / "broken").touch()
    with pytest.raises(InputError, match=r"adversarial/train ended with status 1 \(error: it is broken\): mine/jobs/"):
        adapt()
    (folder / "broken").unlink()
    assert adapt()
    assert len(log("runs/source")) == 1 and len(log("runs/adversarial")) == 2


def test_an_error_in_on_progress_stops_the_work(folder):
    with pytest.raises(ZeroDivisionError):
        adapt(on_progress=lambda *_: 1 / 0)
    assert not os.path.exists("mine/runs/adversarial")
    assert adapt() and len(log("runs/adversarial")) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "gone"}, r"^source: gone is no folder: give labels, the folder of the label PNGs"),
        ({"classes": ""}, r"^renders/classes.json does not exist: give classes, .*camvid11"),
        ({"evaluation": "photos"}, r"^evaluation: photos/labels is no folder: give evaluation_labels, "),
        ({"evaluation": "gone"}, r"^evaluation: gone is no folder: give one of pictures or of records"),
        ({"config": "gone"}, r"^gone does not exist"),
        ({"settings": {"training.iteration": 1}}, r"no such field: .*training.iterations"),
        ({"settings": {"training.iterations": 5000}}, r"is beyond config.schedule.horizon"),
        ({"settings": {"model.initial_weights": "gone.npz"}}, r"^missing: gone.npz"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_done(folder, options, message):
    with pytest.raises(InputError, match=message) as error:
        adapt(**options)
    assert "\n" not in str(error.value) and not (folder / "mine/records").exists()


def test_other_pictures_or_settings_are_not_mixed(folder):
    adapt()
    with pytest.raises(InputError, match=r"mine/runs/source was made with other settings .* use another folder"):
        adapt(settings={"training.iterations": 20, "optimizer.learning_rate": 0.5})
    shutil.copy("val/images/001.png", "photos")
    with pytest.raises(InputError, match=r"mine/records/target was made with other settings"):
        adapt()


INTERRUPTED = """
import os, signal, threading
from fada_tf import command
from tests.experiments.test_jobs import line
import fada_tf
command.line = line
signal.signal(signal.SIGINT, signal.default_int_handler)
handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
def press():
    while not os.path.exists("mine/records/source/begun"):
        pass
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press).start()
try:
    fada_tf.adapt("renders", "photos", classes="classes.json", run_dir="mine")
except KeyboardInterrupt as interrupt:
    print(interrupt)
print(handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)])
"""
STOPPING = """
import os, signal, sys, time
output = next(option for option in sys.argv if option.startswith("--output=")).partition("=")[2]
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
os.makedirs(output)
open(os.path.join(output, "begun"), "w").close()
while not stop:
    time.sleep(0.01)
open(os.path.join(output, "checkpoint"), "w").close()
"""


@pytest.mark.slow  # a process that imports TensorFlow
def test_ctrl_c_lets_the_work_end_well(folder):
    (folder / "programs").mkdir()
    (folder / "programs/make_tfrecords.py").write_text(STOPPING)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.stdout.splitlines() == ["the same call goes on from what is in mine", "True"], result.stderr
    assert (folder / "mine/records/source/checkpoint").exists()
