import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

from fada_tf.data import color
from tests.data import makers

IMAGE = makers.texture(40, 50)
PIXELS = tf.constant(IMAGE.reshape(-1, 3))


def seed(i: int) -> tf.Tensor:
    return tf.constant([i, 7])


def contrast(pixels, factor):
    filled = tf.pad(pixels, [[0, -len(pixels) % color.ROW], [0, 0]])
    return color.adjust_contrast(filled, factor, len(pixels))[: len(pixels)]


@pytest.mark.parametrize("factor", [0.5, 0.83, 1.0, 1.37, 1.5])
@pytest.mark.parametrize(
    ("adjust", "enhance"),
    [
        (color.adjust_brightness, ImageEnhance.Brightness),
        (contrast, ImageEnhance.Contrast),
        (color.adjust_saturation, ImageEnhance.Color),
    ],
)
def test_adjustments_are_pillows(adjust, enhance, factor):
    expected = np.asarray(enhance(Image.fromarray(IMAGE)).enhance(factor)).reshape(-1, 3)
    difference = np.abs(adjust(PIXELS, factor).numpy().astype(int) - expected)
    # A last bit of a product may decide whether a decimal is cut off just below a whole number.
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
    assert (expected == IMAGE.reshape(-1, 3)).all() == (factor == 1.0)


@pytest.mark.parametrize("turns", [-0.2, -0.05, 0.1, 0.2])
def test_hue_is_turned_as_torchvision_does_by_pillow(turns):
    hue, saturation, value = Image.fromarray(IMAGE).convert("HSV").split()
    turned = ((np.asarray(hue).astype(int) + int(turns * 255)) % 256).astype(np.uint8)
    expected = np.asarray(Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB"))
    difference = np.abs(color.adjust_hue(PIXELS, turns).numpy().astype(int) - expected.reshape(-1, 3))
    assert difference.mean() < 2.0  # Pillow's hues have 256 steps
    assert np.abs(IMAGE.astype(int) - expected).mean() > 5 * difference.mean()


@pytest.mark.parametrize("turns", [-0.2, 0.0, 0.13, 1 / 3])
def test_hue_is_tensorflows_on_every_kind_of_colour(turns):
    levels = np.array(list(itertools.product([0, 1, 77, 128, 254, 255], repeat=3)), np.uint8)
    expected = tf.image.adjust_hue(tf.constant(levels, tf.float32)[None], turns)[0]
    assert np.abs(color.adjust_hue(tf.constant(levels), turns).numpy() - expected.numpy()).max() <= 0.502


def test_jitter_depends_on_the_seed_alone():
    image = tf.constant(IMAGE)
    first, again, other = (color.color_jitter(image, seed(i)).numpy() for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).max() > 5
    assert first.shape == IMAGE.shape
    assert first.dtype == np.uint8


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (512, 512), (512, 513)])
def test_what_fills_up_a_block_changes_nothing(size):
    """Two copies side by side have the same mean grey as one, so each half comes out as the one does."""
    image = makers.texture(*size)
    one = color.color_jitter(tf.constant(image), seed(5)).numpy()
    two = color.color_jitter(tf.constant(np.concatenate([image, image], axis=1)), seed(5)).numpy()
    np.testing.assert_array_equal(two, np.concatenate([one, one], axis=1))


def test_jitter_applies_all_four_in_random_order_by_amounts_from_the_papers_ranges(monkeypatch):
    names = ("brightness", "contrast", "saturation", "hue")
    applied = []

    def record(name):
        return lambda pixels, amount, count=None: applied.append((name, float(amount))) or pixels

    for name in names:
        monkeypatch.setattr(color, f"adjust_{name}", record(name))
    monkeypatch.setattr(color, "BLOCK", 1)
    for i in range(200):
        color.color_jitter(tf.zeros((1, 1, 3), tf.uint8), seed(i))
    orders = [tuple(name for name, _ in applied[i : i + 4]) for i in range(0, len(applied), 4)]
    assert len(orders) == 200
    assert set(orders) == set(itertools.permutations(names))
    assert max(orders.count(order) for order in orders) < 25  # 8.3 expected
    for name in names:
        amounts = [amount for applied_name, amount in applied if applied_name == name]
        low, high = (-0.2, 0.2) if name == "hue" else (0.5, 1.5)
        assert low <= min(amounts) < low + 0.04 * (high - low)
        assert high - 0.04 * (high - low) < max(amounts) <= high
        assert abs(np.mean(amounts) - (low + high) / 2) < 0.08 * (high - low)
