import colorsys

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import randomness
from fada_tf.augmentations import color


def images_of(*shape):
    return np.random.default_rng(0).uniform(0, 255, (*shape, 3)).astype(np.float32)


def expected_jitter(image, numbers, strength):
    """Changes one image in float64, pixel by pixel where colours are turned."""
    brightness, contrast, saturation, turns = strength * (2 * numbers[1:].astype(np.float64) - 1)
    grey = np.array([0.299, 0.587, 0.114])
    image = np.clip(image.astype(np.float64) * (1 + brightness), 0, 255)
    mean = (image @ grey).mean()
    image = np.clip(mean + (1 + contrast) * (image - mean), 0, 255)
    own = (image @ grey)[..., None]
    image = np.clip(own + (1 + saturation) * (image - own), 0, 255)
    pixels = [colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(-1, 3) / 255]
    turned = [colorsys.hsv_to_rgb((hue + turns) % 1, *others) for hue, *others in pixels]
    return 255 * np.array(turned).reshape(image.shape)


@pytest.mark.parametrize("strength", [0.2, 0.5])
def test_jitter_is_that_of_numpy_and_colorsys(strength):
    images = images_of(4, 12, 17)
    images[0, :3], images[1, :3] = 0, images[1, :3, :, :1]  # black, and grey
    numbers = np.random.default_rng(1).random((4, 5)).astype(np.float32)
    numbers[:, 0], numbers[3, 1:] = 0, (1 - 2**-24, 0, 1 - 2**-24, 0)
    changed = color.jitter(tf.constant(images), tf.constant(numbers), strength).numpy()
    expected = [expected_jitter(image, own, strength) for image, own in zip(images, numbers, strict=True)]
    # The hue divides by the chroma, a difference of rounded values, and multiplies with it again.
    np.testing.assert_allclose(changed, expected, rtol=0, atol=255 * 1e-5)
    assert np.abs(changed - images).mean() > 10 * strength


def test_strength_0_changes_nothing():
    images = images_of(2, 9, 11)
    changed = color.jitter(tf.constant(images), tf.zeros([2, 5]), strength=0.0)
    np.testing.assert_allclose(changed, images, rtol=0, atol=255 * 1e-6)


def test_four_of_five_images_are_changed_and_the_others_not_at_all():
    images = np.tile(images_of(1, 2, 3), (2000, 1, 1, 1))
    numbers = randomness.uniform(0, "jitter", tf.range(2000, dtype=tf.int64), (5,))
    changed = color.jitter(tf.constant(images), numbers).numpy()
    same = (changed == images).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(same, numbers[:, 0] >= 0.8)
    assert abs(same.mean() - 0.2) < 0.045  # five deviations
    assert not (changed < 0).any()
    assert not (changed > 255).any()


def test_an_image_is_changed_alike_in_any_batch():
    images, numbers = images_of(3, 8, 8), np.random.default_rng(2).random((3, 5)).astype(np.float32)
    together = color.jitter(tf.constant(images), tf.constant(numbers))
    alone = color.jitter(tf.constant(images[1:2]), tf.constant(numbers[1:2]))
    np.testing.assert_allclose(together[1:2], alone, rtol=0, atol=255 * 1e-6)
