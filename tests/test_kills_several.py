"""Kills of a run whose domains are several data sets, by weights, class-balanced and rare-class: it goes on exactly."""

import pathlib
import random
import signal

import pytest

from fada_tf.data import conversion
from fada_tf.data.datasets import folder as folder_dataset
from tests import scenes
from tests.processes import interrupt, run
from tests.small_runs import assert_same
from tests.test_kills import CONFIG, ITERATIONS, KILLS, moment, train_options

pytestmark = pytest.mark.slow

SEVERAL = CONFIG.replace(
    '    config.data.source.sampling = "class_balanced"\n    config.data.target.records = "records/target"\n',
    '    config.data.source.records = "records/a,records/b,records/c"\n'
    '    config.data.source.weights, config.data.source.sampling = "3, 1, 2", "{sampling}"\n'
    "    config.data.source.{option}\n"
    '    config.data.target.records = "records/target,records/dusk"\n',
)
OPTIONS = {"class_balanced": "sub_epoch = 7", "rare_class": "rare_class_min_pixels = 5"}
COUNTS = {"a": 8, "b": 5, "c": 3, "target": 12, "dusk": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A user's folder with five folders of records, and a whole run of each sampling."""
    folder = tmp_path_factory.mktemp("several")
    scenes.write_class_file(folder / "classes.json")
    for name, count in COUNTS.items():
        raw = folder / "raw" / name
        scenes.write_folder(raw, count, dusk=name in ("target", "dusk"), seed=count)
        dataset = folder_dataset.find(str(raw / "images"), str(raw / "labels"), str(folder / "classes.json"))
        conversion.convert(dataset, str(folder / "records" / name))
    for sampling, option in OPTIONS.items():
        (folder / "kills.py").write_text(SEVERAL.format(sampling=sampling, option=option))
        result = run(folder, "train", *train_options(f"whole_{sampling}"))
        assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("sampling", OPTIONS)
def test_training(folder, sampling):
    draw, name = random.Random(sampling), f"killed_{sampling}"
    (folder / "kills.py").write_text(SEVERAL.format(sampling=sampling, option=OPTIONS[sampling]))
    kills = 0
    for kind in draw.choices(["start", "iterations", "writing", "evaluation"], k=KILLS):
        when, delay = moment(draw, kind, folder / "runs" / name)
        code, errors = interrupt(folder, "train", *train_options(name), when=when, delay=delay)
        assert code in (0, -signal.SIGKILL), errors
        kills += code == -signal.SIGKILL
    result = run(folder, "train", *train_options(name))
    assert result.returncode == 0, result.stderr
    assert kills
    assert_same(folder / f"runs/whole_{sampling}", folder / "runs" / name, ITERATIONS)
