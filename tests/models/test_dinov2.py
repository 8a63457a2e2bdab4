"""DINOv2 against Hugging Face's, and what is its own: sizes, positions, names of files."""

import re

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.errors import InputError
from fada_tf.models import transformer_layers, vision_transformer
from fada_tf.models.backbones import dinov2
from fada_tf.models.published_weights import to_published
from fada_tf.models.segmenter import build_segmenter, check_size
from fada_tf.optimizers.groups import is_norm_or_position, layer_multipliers
from tests.goldens import recipe
from tests.goldens.vision_transformers import TOLERANCE, Golden, golden_of


@pytest.fixture(scope="module")
def registers() -> Golden:
    return golden_of("forward_dinov2_small_registers", dinov2.VARIANTS["dinov2_small_registers"])


def test_all_layers_are_those_of_hugging_face(registers):
    values = registers.values() | {"position_slice": registers.positions()}
    assert set(values) == {key for key in registers.arrays if not key.startswith("arg_")}
    assert registers.error(values) < TOLERANCE


@pytest.mark.slow
def test_all_layers_are_those_of_hugging_face_without_registers():
    golden = golden_of("forward_dinov2_small", dinov2.VARIANTS["dinov2_small"])
    values = golden.values() | {"position_slice": golden.positions()}
    assert set(values) == {key for key in golden.arrays if not key.startswith("arg_")}
    assert golden.error(values) < TOLERANCE


def test_positions_without_registers_are_resized_without_antialiasing():
    # Position embeddings alone: no block is needed.
    golden = golden_of("forward_dinov2_small", dinov2.dinov2(384, 1, 6))
    assert golden.error({"position_slice": golden.positions()}) < TOLERANCE


def spoil_gelu(monkeypatch, golden):
    monkeypatch.setattr(transformer_layers, "_gelu", lambda values: tf.nn.gelu(values, approximate=True))


def spoil_epsilon(monkeypatch, golden):
    for layer in golden.backbone.layers:
        for norm in (layer, getattr(layer, "norm1", None), getattr(layer, "norm2", None)):
            if isinstance(norm, transformer_layers.LayerNorm):
                monkeypatch.setattr(norm, "epsilon", 1e-3)


def spoil_cubic(monkeypatch, golden):
    cubic = vision_transformer._cubic
    monkeypatch.setattr(vision_transformer, "_cubic", lambda distance, a: cubic(distance, -1.25 - a))


def spoil_register_positions(monkeypatch, golden):
    tokens = golden.backbone.get_layer("embeddings").register_tokens
    monkeypatch.setattr(golden.backbone.get_layer("embeddings"), "class_token", tokens[:, :1])


@pytest.mark.parametrize("spoil", [spoil_gelu, spoil_epsilon, spoil_cubic, spoil_register_positions])
def test_the_tolerance_sees_faults(registers, monkeypatch, spoil):
    spoil(monkeypatch, registers)
    assert registers.error(registers.values() | {"position_slice": registers.positions()}) > TOLERANCE


def test_state_dicts_have_the_names_and_shapes_of_hugging_face(registers):
    published = dinov2.VARIANTS["dinov2_small_registers"].published[0]
    wanted = recipe.state_dict_names("state_dict_names_2")["dinov2_small_registers"]["dinov2"]
    shapes = {name: list(value.shape) for name, value in to_published(published, registers.backbone).items()}
    assert shapes == {name: shape for name, shape in wanted.items() if name not in published.extra}


def test_layer_decay_counts_the_embeddings_as_one_block_more():
    definition = dinov2.dinov2(8, 3, 2)
    model = definition.build("backbone", "frozen", np.random.default_rng(0))
    multiplier_of = layer_multipliers(model, definition.block_ends, 0.5)
    found = {}
    for variable in model.trainable_variables:
        found.setdefault(multiplier_of(variable), set()).add(variable.path.partition("/")[0])
    assert found == {1.0: {"block2", "norm"}, 0.5: {"block1"}, 0.25: {"block0"}, 0.125: {"embeddings"}}


def test_norms_and_position_embeddings_are_told_from_what_decays():
    model = dinov2.dinov2(8, 1, 2, registers=4).build("backbone", "frozen", np.random.default_rng(0))
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
    for antialias in (False, True):
        weights = vision_transformer.cubic_weights(37, size, antialias=antialias).numpy()
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
        if size == 37:
            np.testing.assert_allclose(weights, np.eye(37), atol=1e-5)
