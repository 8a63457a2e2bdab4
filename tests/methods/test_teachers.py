"""Methods with a teacher: where it starts, what is refused, and what stops a run or warns, in one line."""

import math

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import registry
from fada_tf.config import Config, method_settings
from fada_tf.errors import InputError
from fada_tf.methods.base_teacher import Collapse, NothingConfident, TeacherMethod
from fada_tf.models.segmenter import build_segmenter
from fada_tf.validation import validate
from tests import scenes
from tests.small_runs import SETTINGS

NAMES = ("dacs", "mic", "source_free")


def config_of(name: str, **settings) -> Config:
    config = Config()
    config.method = method_settings(name, **SETTINGS[name] | settings)
    config.training.batch_size = 2
    for domain in (config.data.source, config.data.target):
        domain.records, domain.height, domain.width = "records", 24, 32
    config.model.initial_weights = "runs/source"
    return config


def build(name: str, num_classes: int = 3, **settings) -> TeacherMethod:
    module = registry.load("fada_tf.methods", name)
    return module.build(config_of(name, **settings), build_segmenter("tiny", num_classes, "frozen", seed=2))


def measures_of(method: TeacherMethod, label: int | None = None) -> dict[str, float]:
    """Returns what the passes measure on two scenes, of which all pixels may have one label."""
    images, labels = (
        np.stack(values)[:, ::2, ::2] for values in zip(*(scenes.scene(i, False) for i in range(2)), strict=True)
    )
    batch = {"image": images, "label": labels if label is None else np.full_like(labels, label), "draw": np.arange(2)}
    tensors = {key: tf.constant(values) for key, values in batch.items()}
    measures, _ = method.losses_and_gradients(*[tensors] * len(method.domains))
    return {name: float(value) for name, value in measures.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_teacher_starts_as_its_student_and_learns_nothing(name):
    method = build(name)
    for teacher, student in zip(method.networks["teacher"].variables, method.segmenter.variables, strict=True):
        np.testing.assert_array_equal(teacher, student)
    assert not method.networks["teacher"].trainable_variables
    assert "teacher" not in method.optimizers


def test_what_is_not_finite_in_the_teacher_is_measured():
    method = build("dacs")
    kernel = (
        method.networks["teacher"].classifier.trainable_variables or method.networks["teacher"].classifier.variables
    )
    kernel[0].assign(tf.fill(kernel[0].shape, np.nan))
    measures = measures_of(method)
    assert math.isfinite(measures["segmentation"])
    assert not math.isfinite(measures["mix"])
    assert not math.isfinite(measures["confident_share"])


def test_where_nothing_is_confident_only_what_is_pasted_teaches():
    measures = measures_of(build("mic", confidence_threshold=1.5))
    assert measures["confident_share"] == measures["masked"] == 0
    assert measures["mix"] > 0
    assert all(math.isfinite(value) for value in measures.values())


@pytest.mark.parametrize("name", NAMES)
def test_one_class_is_learned_without_numbers_that_are_not_finite(name):
    measures = measures_of(build(name, num_classes=1), label=0)
    assert all(math.isfinite(value) for value in measures.values())
    assert measures["pseudo_label_share/0"] == measures["confident_share"] == 1


def test_source_images_without_labels_paste_nothing():
    method = build("dacs")
    measures = measures_of(method, label=255)
    assert measures["segmentation"] == 0
    assert all(math.isfinite(value) for value in measures.values())


def test_watchers_warn_once_until_it_was_better():
    nothing, collapse = NothingConfident(), Collapse(2)
    known = {"confident_share": 0.3, "pseudo_label_share/0": 0.5, "pseudo_label_share/1": 0.5}
    silent, collapsed = (
        known | {"confident_share": 0.0},
        known | {"pseudo_label_share/0": 0.0, "pseudo_label_share/1": 1.0},
    )
    for watcher, bad, message in (
        (nothing, silent, "the teacher is confident of no pixel of the target"),
        (collapse, collapsed, "100 % of all pseudo labels are of class 1"),
    ):
        found = [watcher(measured) for measured in (known, bad, bad, known, bad)]
        assert [warning is not None for warning in found] == [False, True, False, False, True]
        assert message in found[1]
        assert "\n" not in found[1]
    assert Collapse(1)({"pseudo_label_share/0": 1.0}) is None  # there is nothing else


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("dacs", {"data.target.width": 40}, "config.data.source is 24 x 32 pixels, config.data.target 24 x 40: give"),
        ("mic", {"data.target.width": 40}, "method mic mixes both domains"),
        ("dacs", {"method.fada.temperature": 1.0}, "config.method.fada has settings, and config.method.adversarial is"),
        ("source_free", {"model.initial_weights": ""}, "config.model.initial_weights is '': name a run directory"),
        ("source_free", {"model.initial_weights": "imagenet"}, "is 'imagenet': name a run directory or a checkpoint"),
        ("source_free", {"model.initial_weights": "a/vgg16.npz"}, "is 'a/vgg16.npz': name a run directory"),
        ("mic", {"method.mask_ratio": 1.5}, "config.method.mask_ratio is 1.5"),
        ("mic", {"method.mask_block": 0}, "config.method.mask_block is 0"),
        ("dacs", {"method.teacher_decay": 1.5}, "config.method.teacher_decay is 1.5"),
        ("dacs", {"method.confidence_threshold": 1.5}, "config.method.confidence_threshold is 1.5"),
        ("dacs", {"method.color_jitter": 1.5}, "config.method.color_jitter is 1.5"),
        ("dacs", {"method.weight_per": "pixel"}, "config.method.weight_per is 'pixel'"),
    ],
)
def test_what_cannot_work_is_one_line(name, fields, message):
    config = config_of(name)
    validate(config)
    for field, value in fields.items():
        *sections, last = field.split(".")
        owner = config
        for section in sections:
            owner = getattr(owner, section)
        setattr(owner, last, value)
    with pytest.raises(InputError) as error:
        validate(config)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_image_without_a_pair_is_refused():
    config = config_of("source_free")
    config.training.batch_size = 3
    module = registry.load("fada_tf.methods", "source_free")
    with pytest.raises(InputError, match="batch_size 3 makes 1 parts of 3: choose a multiple of 2"):
        module.build(config, build_segmenter("tiny", 3, "frozen"))


def imagenet_file(folder, seed: int) -> str:
    """Writes a backbone's weights as a pretrained file has them."""
    backbone = build_segmenter("tiny", 3, "frozen", seed=seed).feature_extractor
    path = folder / "tiny.npz"
    np.savez(path, **{weight.path: np.asarray(weight) for weight in backbone.weights})
    return str(path)


def test_features_of_things_are_kept_near_to_those_of_a_frozen_network(tmp_path):
    settings = {"feature_distance_weight": 0.005, "thing_classes": "0,1,2"}
    far = measures_of(build("dacs", imagenet_weights=imagenet_file(tmp_path, seed=3), **settings))
    near = measures_of(build("dacs", imagenet_weights=imagenet_file(tmp_path, seed=2), **settings))
    assert far["feature_distance"] > 0.01
    assert near["feature_distance"] == 0
    assert {name for name in far if far[name] != pytest.approx(near[name], rel=1e-5)} == {"feature_distance"}
    assert "feature_distance" not in measures_of(build("dacs"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feature_distance_weight": 0.005}, "feature_distance_weight is 0.005, and imagenet_weights '': set both"),
        ({"thing_classes": "sky"}, "thing_classes is 'sky': give numbers such as 11,12,18"),
    ],
)
def test_feature_distance_needs_weights_and_numbers(settings, message):
    with pytest.raises(InputError, match=message):
        validate(config_of("dacs", **settings))


def test_things_must_be_classes_that_there_are(tmp_path):
    weights = imagenet_file(tmp_path, seed=3)
    with pytest.raises(InputError, match="thing_classes is '1,3', and the classes are 0 to 2"):
        build("dacs", imagenet_weights=weights, feature_distance_weight=0.005, thing_classes="1,3")
