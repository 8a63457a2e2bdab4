"""examples/extending: its files work as they stand there, each the only file that is added."""

import importlib
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fada_tf import registry
from fada_tf.config import Config, method_settings
from fada_tf.config_fields import set_fields
from fada_tf.data import conversion
from fada_tf.data.datasets import base
from fada_tf.data.labels import CITYSCAPES_LABEL_IDS
from fada_tf.errors import InputError
from fada_tf.models import moving_average
from fada_tf.models.segmenter import build_segmenter
from fada_tf.training import made_up
from fada_tf.validation import validate
from tests.processes import ROOT

EXTENDING = ROOT / "examples" / "extending"
FILES = sorted(path.relative_to(EXTENDING) for path in EXTENDING.rglob("*.py"))


@pytest.fixture(autouse=True)
def added(monkeypatch):
    """Adds the files to the packages that they belong to."""
    before = set(sys.modules)
    for path in FILES:
        package = importlib.import_module(".".join(path.parent.parts))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(EXTENDING / path.parent)])
    yield
    for name in set(sys.modules) - before:
        if pathlib.Path(name.replace(".", "/") + ".py") in FILES:
            del sys.modules[name]


def test_the_page_shows_every_file():
    page = (ROOT / "docs" / "extending.md").read_text()
    assert len(FILES) == 4
    for path in FILES:
        assert f'--8<-- "examples/extending/{path}"\n' in page


def test_a_data_set(tmp_path):
    ids = np.arange(24, dtype=np.uint8).reshape(4, 6) % 19
    label_ids = np.array(list(CITYSCAPES_LABEL_IDS.values()), np.uint8)[ids]
    for name, values in (("a", label_ids), ("b", np.where(ids == 3, 0, label_ids)), ("c", label_ids + 100)):
        for kind, pixels in (("image_2", np.full((4, 6, 3), 90, np.uint8)), ("semantic", values)):
            folder = pathlib.Path(tmp_path, "training", kind)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{name}.png")
    report = conversion.convert(
        base.find("kitti", root=str(tmp_path), split="training"), str(tmp_path / "records"), skip_bad=True
    )
    counts = np.bincount(ids.ravel(), minlength=20)
    np.testing.assert_array_equal(report.manifest.pixels[0], counts)
    counts[[3, 19]] = 0, 2
    np.testing.assert_array_equal(report.manifest.pixels[1], counts)
    assert "c.png: has ids [107, 108, 111" in report.problems[0] and "KITTI does not have" in report.problems[0]
    with pytest.raises(InputError, match="KITTI has no split 'test': use training, testing"):
        base.find("kitti", root=str(tmp_path), split="test")
    with pytest.raises(InputError, match=r"it takes --root, --split$"):
        base.find("kitti", root=str(tmp_path), city="Rome")


def test_a_backbone():
    images = np.random.default_rng(0).uniform(0, 255, (2, 40, 56, 3)).astype(np.float32)
    segmenter = build_segmenter("plain_small", num_classes=3, batch_norm="synchronized")
    assert segmenter.features(images).shape == (2, 5, 7, 64)
    assert segmenter(images).shape == (2, 5, 7, 3)
    assert build_segmenter("plain_large", num_classes=3).features(images).shape == (2, 5, 7, 128)
    again = build_segmenter("plain_small", num_classes=3, batch_norm="synchronized", recompute=True)
    np.testing.assert_allclose(again(images, training=True), segmenter(images, training=True), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"'plain_huge' is unknown: choose from .*plain_large, plain_small, resnet101"):
        build_segmenter("plain_huge", num_classes=3)


def test_a_head():
    images = np.random.default_rng(0).uniform(0, 255, (2, 36, 52, 3)).astype(np.float32)
    segmenter = build_segmenter("plain_small", num_classes=3, head="skips")
    assert segmenter.stride == 4
    for score in ("score4", "score8"):
        layer = segmenter.classifier.get_layer(score)
        layer.bias.assign([1.0, 10.0, 100.0])
        layer.kernel.assign(layer.kernel * (score == "score8"))
    coarse = segmenter.classifier.get_layer("score8")(segmenter.maps(images)[8])
    logits = segmenter(images).numpy()
    assert coarse.shape == (2, 5, 7, 3) and logits.shape == (2, 9, 13, 3)
    np.testing.assert_allclose(logits[:, ::2, ::2] - [1, 10, 100], coarse, rtol=1e-5, atol=1e-4)
    again = moving_average.copy_of(segmenter)
    np.testing.assert_array_equal(again(images), logits)
    with pytest.raises(InputError, match=r"head 'skip' is unknown: choose from aspp, .*skips"):
        build_segmenter("plain_small", num_classes=3, head="skip")


def test_a_method():
    entropies = {}
    for weight in (0.0, 1.0):
        config = Config()
        config.method = method_settings("entropy_minimization", entropy_weight=weight)
        config.model.backbone, config.model.batch_norm, config.optimizer.learning_rate = "tiny", "synchronized", 1e-2
        for domain in (config.data.source, config.data.target):
            domain.records, domain.height, domain.width = "records", 24, 32
        validate(config)
        method = made_up.build_method(config, num_classes=3)
        step = made_up.step_function(method, made_up.batches(config, 3, 2), tf.distribute.get_strategy())
        entropies[weight] = [float(step()[0]["entropy"]) for _ in range(10)]
    assert entropies[1.0][0] == pytest.approx(entropies[0.0][0], rel=1e-4)
    assert 0 < entropies[0.0][0] < 1
    assert entropies[1.0][-1] < 0.8 * entropies[0.0][-1]
    with pytest.raises(InputError, match=r"nearest: \S+entropy_weight"):
        set_fields(config, {"method.entropy_wieght": 1})


def test_what_plug_ins_are_built_on_is_none(tmp_path, monkeypatch):
    for name in ("base", "base_teacher", "baseline", "teacher"):
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setattr(importlib.import_module("fada_tf.methods"), "__path__", [str(tmp_path)])
    assert registry.names("fada_tf.methods") == ("baseline", "teacher")
