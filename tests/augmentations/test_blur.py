import numpy as np
import pytest
import tensorflow as tf

from fada_tf.augmentations import blur
from tests.goldens import recipe


@pytest.mark.parametrize("case", range(2))
def test_blurred_images_are_the_golden_ones(case):
    golden = recipe.load("ops_blur")
    height, width = golden["arg_sizes"][case].tolist()
    assert [blur.kernel_size(side) for side in (height, width)] == golden[f"kernel_size{case}"].tolist()
    images = recipe.channels_last(recipe.image(golden["arg_seed"] + case, (1, 3, height, width)))
    blurred = blur.gaussian_blur(tf.constant(images), tf.constant(golden["arg_sigmas"][case : case + 1], tf.float32))
    # Weights and their sums are float32 on both sides; values are up to 4.
    np.testing.assert_allclose(blurred[..., 0], golden[f"blurred{case}"][0, 0][None], rtol=0, atol=5e-6)


def test_the_kernel_is_as_long_as_the_golden_rule_says():
    golden = recipe.load("ops_blur")
    assert [blur.kernel_size(side) for side in golden["rule_lengths"].tolist()] == golden["rule_kernel_sizes"].tolist()


def images_of(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.float32)


def test_every_image_is_blurred_by_its_own_sigma_and_0_leaves_it_as_it_is():
    images = images_of(3, 60, 90)
    together = blur.gaussian_blur(tf.constant(images), tf.constant([0.5, 0.0, 1.15])).numpy()
    np.testing.assert_array_equal(together[1], images[1])
    for i, sigma in ((0, 0.5), (2, 1.15)):
        alone = blur.gaussian_blur(tf.constant(images[i : i + 1]), tf.constant([sigma])).numpy()
        np.testing.assert_allclose(together[i], alone[0], rtol=1e-6)
    assert np.std(together[2]) < np.std(together[0]) < np.std(images)


@pytest.mark.parametrize("size", [(200, 330), (1, 1), (3, 40)])
@pytest.mark.parametrize("sigma", [0.15, 1.15])
def test_what_is_left_out_of_the_kernel_does_not_show(size, sigma):
    """Against the whole kernel in float64, whose border NumPy reflects."""
    images = images_of(1, *size)
    expected = images[0].astype(np.float64)
    for axis in (0, 1):
        radius = blur.kernel_size(size[axis]) // 2
        weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
        padded = np.pad(expected, [(radius, radius) if place == axis else (0, 0) for place in range(3)], "reflect")
        expected = np.apply_along_axis(np.convolve, axis, padded, weights / weights.sum(), "valid")
    blurred = blur.gaussian_blur(tf.constant(images), tf.constant([sigma]))[0]
    np.testing.assert_allclose(blurred, expected, rtol=0, atol=255 * 2e-6)
