"""What earlier versions wrote: a run of the first format of config.json, by the last version that wrote it."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import config as config_lib
from fada_tf.data import labels, pipeline
from fada_tf.data.manifest import Manifest
from fada_tf.evaluation.evaluator import Evaluator
from fada_tf.export.version import MANIFEST
from fada_tf.runs import checkpoint
from fada_tf.training import replay
from fada_tf.training import run as run_lib
from tests import trained
from tests.small_runs import metrics

FIXTURE = pathlib.Path(__file__).parents[1] / "fixtures" / "run_format_1"
EXPECTED = [json.loads(line) for line in (FIXTURE / "expected.jsonl").read_text().splitlines()]


@pytest.fixture
def run(tmp_path, monkeypatch) -> pathlib.Path:
    """The run directory, beside its records, in the current folder: its paths are relative."""
    shutil.unpack_archive(FIXTURE / "run.tar.xz", tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return pathlib.Path("run")


def experiment() -> config_lib.Config:
    """What the run's experiment file would give today."""
    method = config_lib.method_settings("fada", segmentation_temperature=1.8, adversarial_weight=0.01)
    config = config_lib.Config(name="a run of format 1", method=method)
    config.data.label_space = "classes.json"
    config.model.backbone, config.model.batch_norm = "tiny", "synchronized"
    config.optimizer.learning_rate, config.optimizer.head_multiplier, config.schedule.horizon = 1e-2, 2.0, 20
    config.method.discriminator.learning_rate = 1e-3
    for name in ("source", "target"):
        domain = getattr(config.data, name)
        domain.records, domain.height, domain.width, domain.flip = f"records/{name}", 24, 32, True
    config.data.evaluation.records = "records/target"
    config.data.evaluation.height, config.data.evaluation.width = 24, 32
    config.training.iterations, config.training.batch_size, config.training.steps_per_loop = 4, 2, 1
    config.training.checkpoint_interval, config.training.picture_interval = 1, 0
    config.training.keep_checkpoints = 4
    return config


def test_its_config_is_read_by_the_names_of_today(run):
    assert checkpoint.run_config(str(run)) == experiment()


def test_its_record_folders_are_read(run):
    for name in ("source", "target"):
        assert json.loads(pathlib.Path("records", name, "manifest.json").read_bytes())["format_version"] == 1
        manifest = Manifest.load(f"records/{name}")
        assert manifest.num_records == 3 and manifest.pixels.sum() == sum(e.height * e.width for e in manifest.entries)


@pytest.mark.slow
def test_it_goes_on_as_it_would_have(run):
    config = experiment()
    run_lib.train(config, str(run))
    for line, then in zip(metrics(run)[-len(EXPECTED) :], EXPECTED, strict=True):
        assert line.keys() == then.keys() and line.pop("kind") == then["kind"]
        for name, value in line.items():
            np.testing.assert_allclose(value, then[name], rtol=1e-5, err_msg=name)
    assert json.loads((run / "config.json").read_bytes())["format"] == 2
    assert checkpoint.run_config(str(run)) == config


def test_a_replay_compares_the_segmenter_where_optimizers_are_saved_otherwise(run):
    shutil.copytree(run, "again")
    segmenter = checkpoint.load_segmenter(str(run))
    optimizer = tf.train.Checkpoint(iterations=tf.Variable(2))
    saved = tf.train.Checkpoint(segmenter=segmenter, another_optimizer=optimizer)
    manager = tf.train.CheckpointManager(saved, "again/checkpoints", 1)
    manager.save(checkpoint_number=2)
    before = "classifier_optimizer, discriminator_optimizer, feature_extractor_optimizer"
    optimizers = f"optimizers: {before} there and another_optimizer here, so the segmenter alone is compared"
    assert replay.compare("run", "again") == [optimizers]
    weights = segmenter.variables[0]
    weights.assign(weights + tf.one_hot(0, int(tf.size(weights))).numpy().reshape(weights.shape))
    manager.save(checkpoint_number=2)
    (_, line) = replay.compare("run", "again")
    assert line == f"{weights.path}: 1 of {int(tf.size(weights))} values, by up to 1"


def test_it_is_evaluated_and_exported(run):
    space = labels.label_space("classes.json")
    images = pipeline.evaluation_dataset("records/target", space, batch_size=1, height=24, width=32)
    segmenter = checkpoint.load_segmenter(str(run))
    scores = Evaluator(segmenter, images, space.names, tf.distribute.get_strategy()).evaluate(None)
    assert 0 < scores["mean_iou"] < 1
    version, _ = trained.export(str(run), pathlib.Path("models"))
    assert json.loads((version / MANIFEST).read_bytes())["config"]["schedule"]["horizon"] == 20
