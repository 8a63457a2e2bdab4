"""What was measured of a run is found by all that decided it, and by nothing less."""

import dataclasses
import json
import pathlib
import shutil

import pytest
import tensorflow as tf

from fada_tf.errors import InputError
from fada_tf.reporting.runs import read_run, with_distances
from fada_tf.runs import checkpoint, results
from fada_tf.runs.results import Analysis, Scoring
from tests import trained


@pytest.fixture
def records(tmp_path) -> dict[str, str]:
    """Folders of two sets of records with one name, and of a third one; only their manifests."""
    folders = {name: tmp_path / name for name in ("A/val", "B/val", "source")}
    for name, folder in folders.items():
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(name)
    return {name: str(folder) for name, folder in folders.items()}


@pytest.fixture
def run(trained_run, tmp_path) -> str:
    return str(shutil.copytree(trained_run, tmp_path / "run"))


def measure(run: str, how: Scoring | Analysis, iteration: int = trained.ITERATION, **values) -> pathlib.Path:
    """Writes what the programs write, as far as readers look."""
    path = pathlib.Path(results.path(how, run, iteration))
    path.parent.mkdir(parents=True)
    weights = checkpoint.weights_digest(run)
    origin = {"iteration": iteration, "weights_sha256": weights, "checkpoint": f"ckpt-{iteration}"}
    path.write_text(json.dumps(how.key() | origin | values))
    return path


def test_everything_that_decides_scores_is_in_their_place(records):
    one = Scoring(records["A/val"], 60, 80)
    others = [
        {"records": records["B/val"]}, {"height": 61}, {"width": 81}, {"scales": (0.5,)}, {"scales": (1.0, 0.5)},
        {"flip": True}, {"network": "student"}, {"network": "teacher"},
    ]  # fmt: skip
    paths = {results.path(dataclasses.replace(one, **other), "run", 3) for other in [{}, *others]}
    paths.add(results.path(one, "run", 4))
    assert len(paths) == 10
    analysis = Analysis(records["source"], records["A/val"], 60, 80)
    others = [
        {"source": records["B/val"]}, {"target": records["B/val"]}, {"height": 6}, {"width": 8}, {"images": 0},
        {"feature_stride": 4},
    ]  # fmt: skip
    paths = {results.path(dataclasses.replace(analysis, **other), "run", 3) for other in [{}, *others]}
    assert len(paths) == 7


def test_a_report_has_the_scores_of_its_records_size_views_and_checkpoint(run, records):
    single = Scoring(records["A/val"], 24, 32)
    measure(run, single, mean_iou=0.316)
    measure(run, Scoring(records["B/val"], 24, 32), mean_iou=0.39)
    measure(run, Scoring(records["A/val"], 12, 16), mean_iou=0.132)
    measure(run, dataclasses.replace(single, flip=True), mean_iou=0.5)
    measure(run, single, iteration=2, mean_iou=0.6)
    assert read_run("a", run, records["A/val"]).scores["mean_iou"] == 0.316
    assert read_run("a", run, records["B/val"]).scores["mean_iou"] == 0.39
    assert read_run("a", run, records["A/val"], 12, 16).scores["mean_iou"] == 0.132
    assert read_run("a", run, records["A/val"]).multi_scale is None
    measure(run, results.multi_scale(single), mean_iou=0.7)
    assert read_run("a", run, records["A/val"]).multi_scale["mean_iou"] == 0.7
    with pytest.raises(InputError, match=r"ckpt-7 has no scores on \S+ at 9x8: run fada-tf evaluate .* --width=9$"):
        read_run("a", run, records["A/val"], 8, 9)


def test_a_state_that_is_saved_twice_has_one_digest_of_weights(tmp_path):
    variable = tf.Variable([1.0, 2.0])
    for folder, saves in (("one", 1), ("two", 2)):
        state = tf.train.Checkpoint(segmenter=variable)
        manager = tf.train.CheckpointManager(state, str(tmp_path / folder), 1)
        for _ in range(saves):
            manager.save(checkpoint_number=4)
    digests = [checkpoint.weights_digest(str(tmp_path / folder)) for folder in ("one", "two")]
    assert digests[0] == digests[1]
    assert checkpoint.fingerprint(str(tmp_path / "one")) != checkpoint.fingerprint(str(tmp_path / "two"))
    variable.assign_add([0.0, 1e-6])
    manager.save(checkpoint_number=4)
    assert checkpoint.weights_digest(str(tmp_path / "two")) != digests[0]


def test_the_best_checkpoint_has_scores_of_its_own(run, records):
    single = Scoring(records["A/val"], 24, 32)
    measure(run, single, mean_iou=0.3)
    for path in pathlib.Path(run, "checkpoints").glob("ckpt-7.*"):
        pathlib.Path(run, "best").mkdir(exist_ok=True)
        shutil.copyfile(path, pathlib.Path(run, "best", path.name.replace("ckpt-7", "ckpt-4")))
    measure(run, single, iteration=4, mean_iou=0.4)
    assert read_run("a", run, records["A/val"]).scores["mean_iou"] == 0.3
    best = read_run("a", f"{run}/best", records["A/val"])
    assert (best.scores["mean_iou"], best.iterations, best.checkpoint) == (0.4, 4, f"{run}/best/ckpt-4")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"records_sha256": "0"}, "was measured with another records_sha256 "),
        ({"height": 9, "flip": True}, r"another height and flip \(9, True; wanted is 24, False\): delete it"),
        ({"weights_sha256": "0"}, "another weights_sha256"),
    ],
)
def test_scores_of_another_key_are_refused_wherever_they_lie(run, records, change, words):
    measure(run, Scoring(records["A/val"], 24, 32), mean_iou=0.3, **change)
    with pytest.raises(InputError, match=words):
        read_run("a", run, records["A/val"])


def test_scores_of_an_earlier_version_are_named(run, records):
    old = pathlib.Path(run, "scores", "val", "scores.json")
    old.parent.mkdir(parents=True)
    old.write_text('{"mean_iou": 0.1}')
    with pytest.raises(InputError, match=r"scores/val/scores.json, of an earlier version, .*: run fada-tf evaluate"):
        read_run("a", run, records["A/val"])


def test_distances_are_compared_where_they_were_measured_alike(run, trained_run, records, tmp_path):
    other = str(shutil.copytree(trained_run, tmp_path / "other"))
    for each in (run, other):
        measure(each, Scoring(records["A/val"], 24, 32), mean_iou=0.3)
    runs = [read_run(each, each, records["A/val"]) for each in (run, other)]
    analysis = Analysis(records["source"], records["A/val"], 24, 32)
    measure(run, analysis, mean_ccd=5.0)
    measure(other, dataclasses.replace(analysis, height=48), mean_ccd=4.0)
    assert [found.ccd for found in with_distances(runs, records["A/val"])] == [None, None]
    measure(other, analysis, mean_ccd=3.0)
    assert [found.ccd["mean_ccd"] for found in with_distances(runs, records["A/val"])] == [5.0, 3.0]
    for each, value in ((run, 2.0), (other, 1.0)):
        measure(each, dataclasses.replace(analysis, images=0), mean_ccd=value)
    assert [found.ccd["mean_ccd"] for found in with_distances(runs, records["A/val"])] == [2.0, 1.0]
    for each in (run, other):  # of another map than the run's own: not what is compared
        measure(each, dataclasses.replace(analysis, images=0, feature_stride=4), mean_ccd=9.0)
    assert [found.ccd["mean_ccd"] for found in with_distances(runs, records["A/val"])] == [2.0, 1.0]
    assert [found.ccd for found in with_distances(runs, records["B/val"])] == [None, None]
