"""A backbone is one file, a head is one file: those of tests/plugins go through all that segmenters go through."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.data import labels
from fada_tf.errors import InputError
from fada_tf.evaluation.features import analyze
from fada_tf.export import version
from fada_tf.models.segmenter import build_segmenter, find_backbone
from fada_tf.models.variables import named_variables
from fada_tf.models.weights import load_initial_weights
from fada_tf.runs import checkpoint
from fada_tf.training import made_up
from fada_tf.training import run as run_lib
from tests import trained
from tests.small_runs import small_config

pytestmark = pytest.mark.usefixtures("networks_of_the_tests")
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 36, 52, 3), dtype=np.uint8)
DRAWS = np.array([3, 4])
CLASSES = 3


def build(**options):
    return build_segmenter("steps_small", CLASSES, head="steps", seed=1, **options)


def config_of(records, method="fada"):
    config = small_config(records, method)
    config.model.backbone, config.model.head, config.model.batch_norm = "steps_small", "steps", "frozen"
    return config


def test_maps_features_and_logits_have_their_strides():
    segmenter = build()
    assert (segmenter.map_strides, segmenter.feature_stride, segmenter.stride) == ((4, 16), 16, 2.0)
    maps = segmenter.maps(IMAGES)
    assert {stride: each.shape for stride, each in maps.items()} == {4: (2, 9, 13, 8), 16: (2, 3, 4, 12)}
    assert segmenter.feature_channels == 12
    np.testing.assert_array_equal(segmenter.features(IMAGES), maps[16])
    logits = segmenter(IMAGES)
    assert (logits.shape, logits.dtype) == ((2, 18, 26, CLASSES), tf.float32)
    np.testing.assert_array_equal(segmenter.classify(maps), logits)


def test_the_named_map_is_another_one():
    segmenter = build(feature_stride=4)
    np.testing.assert_array_equal(segmenter.features(IMAGES), segmenter.maps(IMAGES)[4])
    assert segmenter.feature_channels == 8
    np.testing.assert_array_equal(segmenter(IMAGES), build()(IMAGES))


def test_the_named_map_may_be_one_that_the_head_does_not_take():
    segmenter = build_segmenter("tiny", CLASSES, feature_stride=4)
    assert segmenter.map_strides == (4, 8)
    assert segmenter.features(IMAGES).shape == (2, 9, 13, segmenter.feature_channels)
    np.testing.assert_array_equal(segmenter(IMAGES), build_segmenter("tiny", CLASSES)(IMAGES))


def test_layers_that_no_map_needs_are_left_out():
    shallow = find_backbone("steps_small").build("steps_small", "frozen", np.random.default_rng(0), [4])
    assert {layer.name for layer in shallow.layers} == {"images", "draws", "patches4", "block4"}


@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        ("tiny", {"head": "steps"}, "strides 4, 16, and backbone 'tiny' gives 2, 4, 8: choose from aspp"),
        ("steps_small", {"head": "aspp", "feature_stride": 8}, "feature_stride 8 is none .* choose from 4, 16"),
        ("steps_large", {}, "'steps_large' is unknown: choose from .*resnet101, resnet50, .*steps_small, tiny"),
        ("tiny", {"head": "step"}, "head 'step' is unknown: choose from aspp, .*steps"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_what_does(backbone, options, message):
    with pytest.raises(InputError, match=message):
        build_segmenter(backbone, CLASSES, **options)


def test_weights_of_nested_layers_are_found_by_their_paths(tmp_path):
    segmenter, other = build(), build_segmenter("steps_small", CLASSES, head="steps", seed=2)
    tensors = {name: np.asarray(weight) for name, weight in named_variables(segmenter.feature_extractor).items()}
    assert {"block4/norm/gamma", "block4/inner/kernel", "block4/outer/kernel"} <= tensors.keys()
    np.savez(tmp_path / "weights.npz", **tensors)
    load_initial_weights(other, str(tmp_path / "weights.npz"))
    for stride, each in segmenter.maps(IMAGES).items():
        np.testing.assert_array_equal(other.maps(IMAGES)[stride], each)
    with pytest.raises(ValueError, match=r"several weights are named .*: give their layers names of their own"):
        named_variables(segmenter, segmenter)


def test_a_random_network_draws_by_image_in_training_alone():
    segmenter = build()
    maps = segmenter.maps(IMAGES, training=True, draws=DRAWS)[16]
    alone = segmenter.maps(IMAGES[1:], training=True, draws=DRAWS[1:])[16]
    np.testing.assert_allclose(alone, maps[1:], atol=1e-5)  # matrices of other sizes may be multiplied in another order
    others = [segmenter.maps(IMAGES, training=True, draws=DRAWS + shift)[16] for shift in range(1, 9)]
    assert not all(np.array_equal(other, maps) for other in others)
    np.testing.assert_array_equal(segmenter.maps(IMAGES, draws=DRAWS)[16], segmenter.maps(IMAGES)[16])
    with pytest.raises(ValueError, match="random in training: give the draws"):
        segmenter(IMAGES, training=True)


def test_recomputation_changes_no_gradient():
    def gradients(segmenter):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(segmenter(IMAGES, training=True, draws=DRAWS) ** 2)
        return tape.gradient(loss, segmenter.trainable_variables)

    for one, other in zip(gradients(build()), gradients(build(recompute=True)), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5 * np.abs(one).max())


@pytest.mark.parametrize("feature_stride", [pytest.param(0, marks=pytest.mark.slow), 4])
def test_a_step_changes_every_weight(records, feature_stride):
    config = config_of(records)
    config.model.feature_stride = feature_stride
    method = made_up.build_method(config, CLASSES)
    before = {name: [np.asarray(v) for v in group.variables] for name, group in method.groups.items()}
    losses = made_up.step_function(method, made_up.batches(config, CLASSES, 2), tf.distribute.get_strategy())()
    assert all(np.isfinite(value) for value in losses[0].values())
    for name, group in method.groups.items():
        assert all(np.any(np.asarray(v) != old) for v, old in zip(group.variables, before[name], strict=True)), name


@pytest.mark.slow
def test_a_run_is_trained_scored_analysed_and_exported(records, tmp_path):
    config, run = config_of(records), str(tmp_path / "run")
    config.training.iterations = 1
    config.data.evaluation.records, config.data.evaluation.height, config.data.evaluation.width = (
        str(records / "source"), 24, 32,
    )  # fmt: skip
    run_lib.train(config, run)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert any(line["kind"] == "evaluation" and 0 <= line["mean_iou"] <= 1 for line in lines)
    space = labels.label_space(config.data.label_space)
    domains = {name: str(records / name) for name in ("source", "target")}
    for stride, channels in ((0, 12), (4, 8)):
        segmenter = checkpoint.load_segmenter(run, feature_stride=stride)
        analysis = analyze(segmenter, domains, space, (24, 32), images=1, sample_size=5)
        assert analysis.both.sums.shape == (CLASSES, channels)
    exported = version.export_version(trained.plan(run, tmp_path / "models"), trained.pictures(1))
    maps = tf.saved_model.load(exported).signatures["serving_default"](images=tf.constant(trained.pictures(1)[0][None]))
    assert maps["class_map"].shape == (1, 48, 64)


def test_sizes_that_a_backbone_cannot_see_are_refused_before_a_run_begins(records, tmp_path):
    config = config_of(records)
    config.model.backbone, config.model.head = "vit_tiny", "vfm_uda"
    message = (
        r"config\.data\.source is 24 x 32 pixels, and backbone 'vit_tiny' sees multiples of 14: choose 14 x 28 or 28"
    )
    with pytest.raises(InputError, match=message):
        run_lib.train(config, str(tmp_path / "run"))
    with pytest.raises(InputError, match=message):
        made_up.build_method(config, CLASSES)
    segmenter, space = build_segmenter("vit_tiny", CLASSES), labels.label_space(config.data.label_space)
    with pytest.raises(InputError, match="the image is 24 x 32 pixels, and backbone 'vit_tiny' sees multiples of 14"):
        analyze(segmenter, {"source": str(records / "source")}, space, (24, 32), images=1, sample_size=1)
    for domain in (config.data.source, config.data.target):
        domain.height, domain.width = 28, 42
    evaluation = config.data.evaluation
    evaluation.records, evaluation.height, evaluation.width = str(records / "source"), 42, 57
    with pytest.raises(InputError, match="the image at scale 1 is 42 x 57 pixels, and backbone 'vit_tiny' sees"):
        run_lib.train(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_only_the_file_of_the_backbone_is_imported():
    probe = (
        "import sys; from fada_tf.models.segmenter import build_segmenter; build_segmenter('tiny', 2)\n"
        "print(*(name.rpartition('.')[2] for name in sys.modules if name.startswith('fada_tf.models.backbones.')))"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120, check=True)
    assert set(result.stdout.split()) == {"base", "tiny"}
