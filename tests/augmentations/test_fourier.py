import numpy as np
import pytest
import tensorflow as tf

from fada_tf.augmentations import fourier
from tests.goldens import recipe


def images_of(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)


@pytest.mark.parametrize("case", range(3))
def test_mixed_images_are_the_golden_ones(case):
    golden = recipe.load("ops_fourier")
    *size, beta = golden["arg_cases"][case].tolist()
    source, target, mixed = (
        np.moveaxis(golden[f"{name}{case}"], 0, -1)[None] for name in ("source", "target", "mixed")
    )
    assert source.shape[1:3] == tuple(size)
    found = fourier.swap_amplitudes(tf.constant(source), tf.constant(target), beta)
    # In float32 here, in float64 there; the phase of a small amplitude is known less well than all other numbers.
    np.testing.assert_allclose(found, mixed, rtol=0, atol=255 * 1e-5)
    assert np.abs(mixed - source).max() > 1


@pytest.mark.parametrize("size", [(30, 44), (31, 43), (30, 43), (2, 3)])
def test_beta_0_swaps_the_means_and_nothing_else(size):
    source, target = (images_of(seed, 2, *size) for seed in (1, 2))
    found = fourier.swap_amplitudes(tf.constant(source), tf.constant(target), 0.0).numpy()
    means = [images.mean(axis=(1, 2), keepdims=True, dtype=np.float64) for images in (source, target)]
    np.testing.assert_allclose(found, source - means[0] + means[1], rtol=0, atol=255 * 1e-5)


@pytest.mark.parametrize("size", [(30, 44), (31, 43)])
@pytest.mark.parametrize("beta", [0.09, 0.49])
def test_low_amplitudes_are_the_targets_all_others_and_all_phases_the_sources(size, beta):
    source, target = (images_of(seed, 2, *size) for seed in (1, 2))
    found = fourier.swap_amplitudes(tf.constant(source), tf.constant(target), beta).numpy()
    spectra = [np.fft.fft2(images.astype(np.float64), axes=(1, 2)) for images in (source, target, found)]
    frequencies = np.meshgrid(*(np.fft.fftfreq(side, 1 / side) for side in size), indexing="ij")
    low = np.maximum(*map(np.abs, frequencies)) <= int(beta * min(size))
    assert low.any()
    assert not low.all()
    amplitudes = np.where(low[None, :, :, None], np.abs(spectra[1]), np.abs(spectra[0]))
    expected = amplitudes * np.exp(1j * np.angle(spectra[0]))
    np.testing.assert_allclose(spectra[2], expected, rtol=0, atol=1e-6 * np.abs(spectra[1]).max())


def test_an_image_with_itself_is_itself_and_black_has_phase_0():
    images = images_of(1, 2, 24, 36)
    same = fourier.swap_amplitudes(tf.constant(images), tf.constant(images), 0.09)
    np.testing.assert_allclose(same, images, rtol=0, atol=255 * 1e-5)
    black, grey = np.zeros_like(images), np.full_like(images, 77)
    np.testing.assert_allclose(fourier.swap_amplitudes(black, grey, 0.09), grey, rtol=0, atol=255 * 1e-5)
    assert np.isfinite(fourier.swap_amplitudes(images, black, 0.09)).all()


def test_the_pair_alone_decides():
    source, target = (images_of(seed, 3, 20, 28) for seed in (1, 2))
    together = fourier.swap_amplitudes(tf.constant(source), tf.constant(target), 0.05)
    alone = fourier.swap_amplitudes(tf.constant(source[1:2]), tf.constant(target[1:2]), 0.05)
    np.testing.assert_allclose(together[1:2], alone, rtol=0, atol=255 * 1e-6)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="source images are 8 x 9 pixels, target images 9 x 8"):
        fourier.swap_amplitudes(tf.zeros([1, 8, 9, 3]), tf.zeros([1, 9, 8, 3]), 0.1)
