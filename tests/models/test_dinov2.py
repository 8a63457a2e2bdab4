"""DINOv2 against Hugging Face's, and what is its own: sizes, positions, names of files."""

import dataclasses
import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf.errors import InputError
from fada_tf.models import transformer_layers
from fada_tf.models.backbones import dinov2
from fada_tf.models.published_weights import to_published
from fada_tf.models.segmenter import build_segmenter, check_size
from fada_tf.optimizers.groups import is_norm_or_position, layer_multipliers
from tests.goldens import recipe

FILES = {"forward_dinov2_small": "dinov2_small", "forward_dinov2_small_registers": "dinov2_small_registers"}
TOLERANCE = 1e-4  # of an array's largest value


@dataclasses.dataclass
class Golden:
    """A golden file, and our network with its weights."""

    arrays: dict[str, np.ndarray]
    backbone: keras.Model

    @functools.cached_property
    def layers(self) -> keras.Model:
        names = [f"block{count - 1}" for count in self.arrays["arg_layers"]]
        outputs = [self.backbone.get_layer(name).output for name in (*names, "norm", "patch_map")]
        return keras.Model(self.backbone.input, outputs)

    def values(self) -> dict[str, np.ndarray]:
        """Returns, in the file's layouts, what it holds of our network."""
        height, width = int(self.arrays["arg_h"]), int(self.arrays["arg_w"])
        image = recipe.channels_last(recipe.image(int(self.arrays["arg_seed"]) + 10, (1, 3, height, width)))
        *inner, tokens, patch_map = map(np.asarray, self.layers(image))
        first, grid = 1 + int(self.arrays["arg_registers"]), (height // 14, width // 14)
        values = statistics("tokens", patch_map, 64) | {"class_token": tokens[:, 0]}
        for count, each in zip(self.arrays["arg_layers"], inner, strict=True):
            values |= statistics(f"layer{count}", each[:, first:].reshape(1, *grid, -1), 32)
        if first > 1:
            values["register_tokens_slice"] = tokens[:, 1:first, :64]
        return values | {"position_slice": self.positions()}

    def positions(self) -> np.ndarray:
        grid = int(self.arrays["arg_h"]) // 14, int(self.arrays["arg_w"]) // 14
        positions = self.backbone.get_layer("embeddings").positions(*grid)
        return np.moveaxis(np.asarray(positions)[None, ..., :32], -1, 1)

    def error(self, values: dict[str, np.ndarray]) -> float:
        shares = (
            np.abs(self.arrays[key] - value).max() / np.abs(self.arrays[key]).max() for key, value in values.items()
        )
        return float(max(shares))


def statistics(name: str, tokens: np.ndarray, channels: int) -> dict[str, np.ndarray]:
    return {
        f"{name}_mean": tokens.mean((1, 2)),
        f"{name}_std": tokens.std((1, 2), ddof=1),
        f"{name}_slice": np.moveaxis(tokens[..., :channels], -1, 1),
    }


def golden_of(file: str, definition=None) -> Golden:
    arrays, definition = recipe.load(file), definition or dinov2.VARIANTS[FILES[file]]
    backbone = definition.build("backbone", "frozen", np.random.default_rng(0))
    recipe.assign_published(definition.published[0], backbone, int(arrays["arg_seed"]))
    return Golden(arrays, backbone)


@pytest.fixture(scope="module")
def registers() -> Golden:
    return golden_of("forward_dinov2_small_registers")


def test_all_layers_are_those_of_hugging_face(registers):
    values = registers.values()
    assert set(values) == {key for key in registers.arrays if not key.startswith("arg_")}
    assert registers.error(values) < TOLERANCE


@pytest.mark.slow
def test_all_layers_are_those_of_hugging_face_without_registers():
    golden = golden_of("forward_dinov2_small")
    values = golden.values()
    assert set(values) == {key for key in golden.arrays if not key.startswith("arg_")}
    assert golden.error(values) < TOLERANCE


def test_positions_without_registers_are_resized_without_antialiasing():
    # Position embeddings alone: no block is needed.
    golden = golden_of("forward_dinov2_small", dinov2.vision_transformer(384, 1, 6))
    assert golden.error({"position_slice": golden.positions()}) < TOLERANCE


def spoil_gelu(monkeypatch, golden):
    monkeypatch.setattr(transformer_layers, "_gelu", lambda values: tf.nn.gelu(values, approximate=True))


def spoil_epsilon(monkeypatch, golden):
    for layer in golden.backbone.layers:
        for norm in (layer, getattr(layer, "norm1", None), getattr(layer, "norm2", None)):
            if isinstance(norm, transformer_layers.LayerNorm):
                monkeypatch.setattr(norm, "epsilon", 1e-3)


def spoil_cubic(monkeypatch, golden):
    cubic = dinov2._cubic
    monkeypatch.setattr(dinov2, "_cubic", lambda distance, a: cubic(distance, -1.25 - a))


def spoil_register_positions(monkeypatch, golden):
    tokens = golden.backbone.get_layer("embeddings").register_tokens
    monkeypatch.setattr(golden.backbone.get_layer("embeddings"), "class_token", tokens[:, :1])


@pytest.mark.parametrize("spoil", [spoil_gelu, spoil_epsilon, spoil_cubic, spoil_register_positions])
def test_the_tolerance_sees_faults(registers, monkeypatch, spoil):
    spoil(monkeypatch, registers)
    assert registers.error(registers.values()) > TOLERANCE


def test_state_dicts_have_the_names_and_shapes_of_hugging_face(registers):
    published = dinov2.VARIANTS["dinov2_small_registers"].published[0]
    wanted = recipe.state_dict_names("state_dict_names_2")["dinov2_small_registers"]["dinov2"]
    shapes = {name: list(value.shape) for name, value in to_published(published, registers.backbone).items()}
    assert shapes == {name: shape for name, shape in wanted.items() if name not in published.extra}


def test_layer_decay_counts_the_embeddings_as_one_block_more():
    definition = dinov2.vision_transformer(8, 3, 2)
    model = definition.build("backbone", "frozen", np.random.default_rng(0))
    multiplier_of = layer_multipliers(model, definition.block_ends, 0.5)
    found = {}
    for variable in model.trainable_variables:
        found.setdefault(multiplier_of(variable), set()).add(variable.path.partition("/")[0])
    assert found == {1.0: {"block2", "norm"}, 0.5: {"block1"}, 0.25: {"block0"}, 0.125: {"embeddings"}}


def test_norms_and_position_embeddings_are_told_from_what_decays():
    model = dinov2.vision_transformer(8, 1, 2, registers=4).build("backbone", "frozen", np.random.default_rng(0))
    spared = {variable.path for variable in model.variables if is_norm_or_position(variable)}
    norms = {f"{norm}/{name}" for norm in ("block0/norm1", "block0/norm2", "norm") for name in ("gamma", "beta")}
    assert spared == norms | {"embeddings/position_embeddings"}


pytestmark = pytest.mark.usefixtures("networks_of_the_tests")
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 42, 56, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def build():
    """Returns a function from options to a tiny network with the head of VFM-UDA."""
    return lambda backbone="vit_tiny", **options: build_segmenter(backbone, 3, head="vfm_uda", seed=1, **options)


def test_maps_and_logits_have_their_strides(build):
    segmenter = build()
    assert (segmenter.map_strides, segmenter.feature_stride, segmenter.stride) == ((14,), 14, 3.5)
    assert segmenter.features(IMAGES).shape == (2, 3, 4, 16)
    logits = segmenter(IMAGES)
    assert (logits.shape, logits.dtype) == ((2, 12, 16, 3), tf.float32)
    function = tf.function(segmenter, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    np.testing.assert_allclose(function(IMAGES), logits, rtol=1e-4, atol=1e-5)
    # ONNX has no Erfc, of which TensorFlow's own GELU is made.
    assert "Erfc" not in {operation.type for operation in function.get_concrete_function().graph.get_operations()}
    np.testing.assert_allclose(function(IMAGES[:1, :14]), segmenter(IMAGES[:1, :14]), rtol=1e-4, atol=1e-5)


def gradients(segmenter) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(segmenter(IMAGES, training=True) ** 2)
    return tape.gradient(loss, [variable.value for variable in segmenter.trainable_variables])


@pytest.mark.parametrize("backbone", ["vit_tiny", "vit_tiny_registers"])
def test_recomputation_changes_no_gradient(build, backbone):
    for one, other in zip(gradients(build(backbone)), gradients(build(backbone, recompute=True)), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4 * np.abs(one).max())


@pytest.mark.slow
@pytest.mark.parametrize("recompute", [False, True])
def test_xla_changes_no_gradient(build, recompute):
    compiled = tf.function(gradients, jit_compile=True, autograph=False)
    others = compiled(build(recompute=recompute))
    for one, other in zip(gradients(build()), others, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4 * np.abs(one).max())


def test_sizes_between_patches_are_refused(build):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"vit_tiny needs heights and widths .* multiples of 14"):
        build()(IMAGES[:, :40])
    with pytest.raises(tf.errors.InvalidArgumentError, match="vit_tiny needs 14 pixels a side"):
        build()(IMAGES[:, :7])
    check_size("vit_tiny", 518, 1036, "data")
    message = "data is 512 x 1024 pixels, and backbone 'vit_tiny' sees multiples of 14: choose 504 x 1022 or 518 x 1036"
    with pytest.raises(InputError, match=re.escape(message)):
        check_size("vit_tiny", 512, 1024, "data")


@pytest.mark.parametrize("size", [37, 30, 80])
def test_position_embeddings_are_kept_on_the_trained_grid_and_constants_on_any(size):
    layer = dinov2.Embeddings(4, 0, 0, name="embeddings")
    layer.build((None, None, None, 3))
    for antialias in (False, True):
        weights = dinov2._cubic_weights(size, antialias=antialias).numpy()
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
        if size == 37:
            np.testing.assert_allclose(weights, np.eye(37), atol=1e-5)
