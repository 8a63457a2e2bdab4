"""DINOv3 against Hugging Face's, with drawn weights, and what is its own: angles, and keys without a bias."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.models import vision_transformer
from fada_tf.models.backbones import dinov3
from fada_tf.models.published_weights import to_published
from fada_tf.models.segmenter import build_segmenter
from tests.goldens import recipe
from tests.goldens.vision_transformers import TOLERANCE, Golden, golden_of

NARROW = dinov3.dinov3(48, 3, 3)


@pytest.fixture(scope="module")
def narrow() -> Golden:
    return golden_of("forward_dinov3_narrow", NARROW)


def test_all_layers_are_those_of_hugging_face(narrow):
    values = narrow.values()
    assert set(values) == {key for key in narrow.arrays if not key.startswith("arg_")}
    assert narrow.error(values) < TOLERANCE


def test_the_small_one_is_that_of_hugging_face():
    golden = golden_of("forward_dinov3_small", dinov3.VARIANTS["dinov3_small"])
    assert golden.error(golden.values()) < TOLERANCE


def spoil_axes(monkeypatch, golden):
    angles = vision_transformer.Angles.call
    monkeypatch.setattr(
        vision_transformer.Angles, "call", lambda layer, images: tf.roll(angles(layer, images), layer.channels // 4, 1)
    )


def spoil_centres(monkeypatch, golden):
    angles = vision_transformer.Angles.call
    monkeypatch.setattr(vision_transformer.Angles, "call", lambda layer, images: angles(layer, images) * 1.01)


def spoil_registers(monkeypatch, golden):
    monkeypatch.setattr(golden.backbone.get_layer("angles"), "others", 0)
    call = vision_transformer.Angles.call
    monkeypatch.setattr(
        vision_transformer.Angles, "call", lambda layer, images: tf.pad(call(layer, images), [[0, 5], [0, 0]])
    )


def spoil_epsilon(monkeypatch, golden):
    for index in range(3):
        monkeypatch.setattr(golden.backbone.get_layer(f"block{index}").norm1, "epsilon", 1e-3)


@pytest.mark.parametrize("spoil", [spoil_axes, spoil_centres, spoil_registers, spoil_epsilon])
def test_the_tolerance_sees_faults(narrow, monkeypatch, spoil):
    spoil(monkeypatch, narrow)
    assert narrow.error(narrow.values()) > TOLERANCE


def test_state_dicts_have_the_names_and_shapes_of_hugging_face(narrow):
    (published,) = NARROW.published
    wanted = recipe.state_dict_names("state_dict_names_2")["dinov3_narrow"]["dinov3"]
    shapes = {name: list(value.shape) for name, value in to_published(published, narrow.backbone).items()}
    assert shapes == {name: shape for name, shape in wanted.items() if name not in published.extra}


pytestmark = pytest.mark.usefixtures("networks_of_the_tests")
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def build():
    """Returns a function from options to a tiny network with the head of VFM-UDA."""
    return lambda **options: build_segmenter("rotary_tiny", 3, head="vfm_uda", seed=1, **options)


def test_graphs_see_any_size_of_whole_patches(build):
    segmenter = build()
    assert (segmenter.map_strides, segmenter.stride) == ((16,), 4)
    function = tf.function(segmenter, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    for images in (IMAGES, IMAGES[:1, :16]):
        logits = segmenter(images)
        assert logits.shape == (len(images), images.shape[1] // 4, 16, 3)
        np.testing.assert_allclose(function(images), logits, rtol=1e-4, atol=1e-5)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"rotary_tiny needs heights and widths .* multiples of 16"
    ):
        segmenter(IMAGES[:, :24])


def gradients(segmenter, images) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(segmenter(images, training=True) ** 2)
    return tape.gradient(loss, [variable.value for variable in segmenter.trainable_variables])


@pytest.mark.slow  # quickly shown with DINOv2
def test_recomputation_changes_no_gradient(build):
    for one, other in zip(gradients(build(), IMAGES), gradients(build(recompute=True), IMAGES), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4 * np.abs(one).max())


def test_hidden_pixels_have_finite_gradients_before_anything_is_learned():
    """Without positions in the tokens, layer norms of zeros would multiply them, one after the other."""
    backbone = dinov3.dinov3(16, 6, 2).build("backbone", "frozen", np.random.default_rng(0))

    def size_of_gradients(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.sin(backbone(images)))
        variables = [variable.value for variable in backbone.trainable_variables]
        return float(tf.linalg.global_norm(tape.gradient(loss, variables)))

    images = tf.constant(recipe.channels_last(recipe.image(0, (1, 3, 32, 48))))
    hidden = tf.concat([images[:, :, :16], tf.zeros_like(images[:, :, 16:])], axis=2)
    sizes = [size_of_gradients(each) for each in (images, hidden, tf.zeros_like(images))]
    print(sizes)
    assert max(sizes) < 100 * sizes[0]
