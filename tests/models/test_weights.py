import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf.errors import InputError
from fada_tf.models.segmenter import build_segmenter
from fada_tf.models.variables import named_variables
from fada_tf.models.weights import load_initial_weights

PRETRAINED = pathlib.Path(__file__).parents[3] / "shared" / "weights" / "vgg16_conv_fp16.npz"


@pytest.fixture
def segmenter():
    return build_segmenter("tiny", 3)


@pytest.fixture
def save(tmp_path):
    def save(tensors):
        path = tmp_path / "weights.npz"
        np.savez(path, **tensors)
        return str(path)

    return save


def tensors_of(model, seed=1):
    rng = np.random.default_rng(seed)
    return {name: rng.random(variable.shape).astype(np.float16) for name, variable in named_variables(model).items()}


def test_empty_source_leaves_the_weights(segmenter):
    before = segmenter.get_weights()
    assert load_initial_weights(segmenter, "") == "tiny: all weights are random"
    for value, expected in zip(segmenter.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_file_is_loaded_and_the_classifier_may_be_missing(segmenter, save):
    tensors, classifier = tensors_of(segmenter.feature_extractor), segmenter.classifier.get_weights()
    account = load_initial_weights(segmenter, save(tensors))
    assert account.startswith(f"tiny: {len(tensors)} of {len(tensors) + 8} tensors from ")
    assert "initial: aspp_6/kernel, aspp_6/bias, " in account
    for name, variable in named_variables(segmenter.feature_extractor).items():
        np.testing.assert_array_equal(variable, tensors[name].astype(np.float32))
    for value, expected in zip(segmenter.classifier.get_weights(), classifier, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_a_file_in_a_bucket_is_loaded(segmenter, save):
    tensors = tensors_of(segmenter.feature_extractor)
    with open(save(tensors), "rb") as file, tf.io.gfile.GFile("ram://weights/initial.npz", "wb") as remote:
        remote.write(file.read())
    load_initial_weights(segmenter, "ram://weights/initial.npz")
    for name, variable in named_variables(segmenter.feature_extractor).items():
        np.testing.assert_array_equal(variable, tensors[name].astype(np.float32))


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | {"fc/kernel": np.zeros(3)}, "holds tensors that the model lacks: fc/kernel"),
        (lambda t: without(t, "stage0_down_conv/kernel"), "lacks tensors of the model: stage0_down_conv/kernel"),
        (lambda t: t | {"aspp_6/kernel": np.zeros((3, 3, 64, 3))}, "lacks tensors of the model: aspp_6/bias"),
        (
            lambda t: t | {"stage0_down_bn/gamma": np.zeros(31)},
            r"stage0_down_bn/gamma of shape \(31,\): it takes \(32,\)",
        ),
        (lambda t: t | {"stage0_down_bn/gamma": np.full(32, np.nan)}, "stage0_down_bn/gamma that are not finite"),
        (lambda t: t | {"stage0_down_bn/gamma": np.full(32, "1")}, "stage0_down_bn/gamma that are not finite numbers"),
    ],
)
def test_wrong_tensors_are_named_and_change_nothing(segmenter, save, change, message):
    before = segmenter.get_weights()
    with pytest.raises(InputError, match=message):
        load_initial_weights(segmenter, save(change(tensors_of(segmenter.feature_extractor))))
    for value, expected in zip(segmenter.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_missing_and_broken_files_are_named(segmenter, tmp_path):
    with pytest.raises(InputError, match=r"'nowhere.npz' are not a file: give '', 'imagenet'"):
        load_initial_weights(segmenter, "nowhere.npz")
    array = tmp_path / "array.npy"
    np.save(array, np.zeros(3))
    objects = tmp_path / "objects.npz"
    np.savez(objects, x=np.array([{}], dtype=object))
    for name, content in (("text.npz", b"no weights"), ("empty.npz", b""), ("cut.npz", b"PK\x03\x04 and no more")):
        (tmp_path / name).write_bytes(content)
    for path in tmp_path.iterdir():
        with pytest.raises(InputError, match=f"{path.name} cannot be read as an .npz file of arrays"):
            load_initial_weights(segmenter, str(path))


def test_resnets_have_no_download():
    with pytest.raises(InputError, match=r"resnet50 cannot be downloaded .* name torchvision's \.pth file"):
        load_initial_weights(build_segmenter("resnet50", 2), "imagenet")


def test_failed_download_is_one_line(monkeypatch):
    def fail(**options):
        raise Exception("URL fetch failure\nand more")  # as Keras raises

    monkeypatch.setattr(keras.applications, "VGG16", fail)
    with pytest.raises(InputError, match=r"^'imagenet' weights of vgg16 were not downloaded \(URL fetch failure\): "):
        load_initial_weights(build_segmenter("vgg16", 2), "imagenet")


def test_vgg16_takes_the_convolutions_of_keras_applications(monkeypatch):
    pretrained = keras.applications.VGG16(weights=None, include_top=False)
    monkeypatch.setattr(keras.applications, "VGG16", lambda weights, include_top: pretrained)
    segmenter = build_segmenter("vgg16", 2)
    assert load_initial_weights(segmenter, "imagenet").startswith(
        "vgg16: 26 of 38 tensors from imagenet; initial: fc6/"
    )
    for layer in pretrained.layers:
        if layer.weights:
            np.testing.assert_array_equal(segmenter.feature_extractor.get_layer(layer.name).kernel, layer.kernel)


@pytest.mark.skipif(not PRETRAINED.exists(), reason="no pretrained VGG-16 beside the repository")
def test_pretrained_vgg16_file():
    account = load_initial_weights(build_segmenter("vgg16", 19), str(PRETRAINED))
    assert account.startswith("vgg16: 26 of 38 tensors")
