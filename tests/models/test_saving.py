"""What users of Keras do with models: save, load, clone, pickle, copy; all compute and train as the originals do."""

import copy
import importlib
import pathlib
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf.models import layers
from fada_tf.models.depthwise import DepthwiseConvolution
from fada_tf.models.discriminator import LeakyReLU, build_discriminator
from fada_tf.models.head_layers import ChannelDropout, ResizeLike
from fada_tf.models.heads.aspp import Classifier
from fada_tf.models.layers import BatchNorm, Convolution, FrozenBatchNorm
from fada_tf.models.segmenter import build_segmenter
from fada_tf.models.transformer_layers import Attention, Dense, DropPath, Gelu, LayerNorm

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras's own

CLASSES = 5
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)


def randomize(model: keras.Model) -> None:
    """Gives every variable values that no initialiser makes."""
    rng = np.random.default_rng(7)
    for variable in model.variables:
        vector = rng.uniform(0.01, 0.1, variable.shape) if len(variable.shape) == 1 else 0
        variable.assign(np.asarray(variable) * rng.uniform(0.8, 1.2, variable.shape) + vector)


def saved(model: keras.Model, folder) -> keras.Model:
    model.save(folder / "x.keras")
    return keras.models.load_model(folder / "x.keras")


def pickled(model: keras.Model, folder) -> keras.Model:
    return pickle.loads(pickle.dumps(model))


def copied(model: keras.Model, folder) -> keras.Model:
    return copy.deepcopy(model)


def cloned(model: keras.Model, folder) -> keras.Model:
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    return clone


WAYS = (saved, pickled, copied, cloned)
# Frozen batch norm, which is folded, is copied as a file holds it.
NORMS_AND_WAYS = [
    *(("synchronized", way) for way in (saved, copied)),
    *(pytest.param("synchronized", way, marks=pytest.mark.slow) for way in (pickled, cloned)),
    ("frozen", saved),
]


def gradients(model: keras.Model, inputs) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(inputs, training=True)))
    return [np.asarray(gradient) for gradient in tape.gradient(loss, model.trainable_variables)]


def assert_alike(model: keras.Model, again: keras.Model, inputs) -> None:
    """Same numbers, same variables, same gradients; and none of them shared."""
    assert type(again) is type(model)
    np.testing.assert_array_equal(again(inputs), model(inputs))
    assert [variable.path for variable in again.variables] == [variable.path for variable in model.variables]
    names = [variable.path for variable in model.trainable_variables]
    for name, one, other in zip(names, gradients(model, inputs), gradients(again, inputs), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5 * np.abs(one).max(), err_msg=name)
    before = np.asarray(model(inputs))
    again.trainable_variables[0].assign_add(np.ones(again.trainable_variables[0].shape))
    np.testing.assert_array_equal(model(inputs), before)
    assert not np.allclose(again(inputs), before)


@pytest.mark.parametrize(("batch_norm", "way"), NORMS_AND_WAYS)
def test_segmenters(batch_norm, way, tmp_path):
    segmenter = build_segmenter("tiny", CLASSES, batch_norm, seed=3)
    randomize(segmenter)
    assert_alike(segmenter, way(segmenter, tmp_path), IMAGES)


@pytest.mark.parametrize(("batch_norm", "way"), NORMS_AND_WAYS)
def test_parts_of_a_segmenter(batch_norm, way, tmp_path):
    segmenter = build_segmenter("tiny", CLASSES, batch_norm)
    randomize(segmenter)
    extractor = way(segmenter.feature_extractor, tmp_path)
    norms = [layer for layer in extractor.layers if isinstance(layer, FrozenBatchNorm)]
    assert [layer.folded for layer in norms] == [batch_norm == "frozen"] * 11
    assert_alike(segmenter.feature_extractor, extractor, segmenter.normalize(IMAGES))
    assert_alike(segmenter.classifier, way(segmenter.classifier, tmp_path), segmenter.features(IMAGES))


@pytest.mark.parametrize("way", WAYS)
def test_discriminators(way, tmp_path):
    segmenter = build_segmenter("tiny", CLASSES)
    discriminator = build_discriminator(segmenter, CLASSES)
    randomize(discriminator)
    assert_alike(discriminator, way(discriminator, tmp_path), segmenter.features(IMAGES))


@pytest.mark.parametrize(
    "layer",
    [LeakyReLU(0.3), Convolution(4, 3, strides=2, symmetric=False, name="a"),
     DepthwiseConvolution(3, stride=2, kernel_initializer="zeros", bias_initializer="ones"),
     DepthwiseConvolution(5, dilation=2, kernel_initializer="zeros"),
     Convolution(4, 5, dilation_rate=2, kernel_gradient_first=False),
     FrozenBatchNorm(), FrozenBatchNorm(folded=True), BatchNorm(name="b"),
     LayerNorm(1e-6), Gelu(), Attention(2), Dense(3, cell=2, kernel_initializer="zeros"), DropPath(0.1, 3),
     Dense(3, kernel_initializer="ones", bias_initializer=None), ResizeLike(), ChannelDropout(0.1, 3)],
)  # fmt: skip
def test_layers(layer):
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


MODELS = pathlib.Path(layers.__file__).parent
MODULES = [".".join(path.relative_to(MODELS).with_suffix("").parts) for path in MODELS.rglob("*.py")]


@pytest.mark.parametrize("module", MODULES)
def test_every_layer_is_registered(module):
    for name, found in vars(importlib.import_module(f"fada_tf.models.{module}")).items():
        if isinstance(found, type) and issubclass(found, keras.layers.Layer):
            assert keras.saving.get_registered_name(found) == f"fada_tf>{name}"


def test_a_file_from_before_heads_is_of_the_only_one_there_was():
    segmenter = build_segmenter("tiny", CLASSES, "frozen", seed=3)
    config = {name: value for name, value in segmenter.get_config().items() if name not in ("head", "feature_stride")}
    again = type(segmenter).from_config(config)
    assert (again.head, again.feature_stride, again.stride) == ("aspp", 8, 8.0)
    np.testing.assert_array_equal(again(IMAGES), segmenter(IMAGES))


def test_a_classifier_says_what_it_is_made_of():
    assert Classifier.from_config({"feature_channels": 7, "num_classes": 3}).get_config() == {
        "feature_channels": 7, "num_classes": 3,
    }  # fmt: skip


def test_checkpoints_of_a_loaded_model_restore_and_the_other_way_round(tmp_path):
    segmenter = build_segmenter("tiny", CLASSES, "frozen", seed=3)
    discriminator = build_discriminator(segmenter, CLASSES)
    for model in (segmenter, discriminator):
        randomize(model)
    loaded = {"segmenter": saved(segmenter, tmp_path), "discriminator": saved(discriminator, tmp_path)}
    fresh = build_segmenter("tiny", CLASSES, "frozen")
    others = {"segmenter": fresh, "discriminator": build_discriminator(fresh, CLASSES)}
    path = tf.train.Checkpoint(**loaded).save(str(tmp_path / "loaded"))
    tf.train.Checkpoint(**others).restore(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(fresh(IMAGES), segmenter(IMAGES))
    features = segmenter.features(IMAGES)
    np.testing.assert_array_equal(others["discriminator"](features), discriminator(features))

    for model in loaded.values():
        for variable in model.variables:
            variable.assign(tf.zeros_like(variable))
    path = tf.train.Checkpoint(**others).save(str(tmp_path / "built"))
    tf.train.Checkpoint(**loaded).restore(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(loaded["segmenter"](IMAGES), segmenter(IMAGES))


@pytest.mark.usefixtures("bfloat16")
def test_recomputation_and_the_compute_type_stay(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        segmenter = build_segmenter("tiny", CLASSES, "frozen", recompute=True)
    finally:
        keras.config.set_dtype_policy("float32")
    for way in WAYS:
        again = way(segmenter, tmp_path)
        assert keras.config.dtype_policy().name == "float32"
        assert again.features(IMAGES).dtype == tf.bfloat16
        assert again.get_config() == segmenter.get_config()
        assert again.get_config()["recompute"]
        np.testing.assert_array_equal(again(IMAGES), segmenter(IMAGES))


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_is_not_trained_stays_so(way, tmp_path):
    segmenter = build_segmenter("tiny", CLASSES)
    segmenter.trainable = False
    assert not way(segmenter, tmp_path).trainable_variables


def test_a_file_is_read_by_a_program_that_imports_the_models(tmp_path):
    segmenter = build_segmenter("tiny", CLASSES, "frozen")
    randomize(segmenter)
    segmenter.save(tmp_path / "x.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    probe = (
        "import sys, keras, numpy as np, fada_tf.models.segmenter\n"
        "model = keras.models.load_model(sys.argv[1] + '/x.keras')\n"
        "np.save(sys.argv[1] + '/logits.npy', model(np.load(sys.argv[1] + '/images.npy')))"
    )
    result = subprocess.run([sys.executable, "-c", probe, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), segmenter(IMAGES), rtol=1e-5, atol=1e-5)
