"""`config.data.fourier_beta`: every method of two domains learns from source images that look like target images."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.config import Config, method_settings
from fada_tf.errors import InputError
from fada_tf.methods.base import build_method
from fada_tf.models.segmenter import build_segmenter
from tests.methods import test_conformance as conformance

BETA = 0.1


def method_with(beta: float, name: str = "binary_adversarial"):
    config = Config(method=method_settings(name))
    config.data.fourier_beta = beta
    return build_method(config, build_segmenter("tiny", conformance.CLASSES, "frozen"))


def adapted_by_numpy(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Moves low frequencies to the middle, and replaces a square of amplitudes there."""
    spectra = [np.fft.fftshift(np.fft.fft2(images, axes=(1, 2)), axes=(1, 2)) for images in (source, target)]
    amplitudes, size = np.abs(spectra[0]), source.shape[1:3]
    reach = int(BETA * min(size))
    rows, columns = (slice(side // 2 - reach, side // 2 + reach + 1) for side in size)
    amplitudes[:, rows, columns] = np.abs(spectra[1])[:, rows, columns]
    mixed = np.fft.ifftshift(amplitudes * np.exp(1j * np.angle(spectra[0])), axes=(1, 2))
    return np.real(np.fft.ifft2(mixed, axes=(1, 2))).astype(np.float32)


def test_losses_and_gradients_are_those_of_adapted_source_images():
    source, target = (conformance.batch(dusk, first_draw=0) for dusk in (False, True))
    by_hand = source | {"image": adapted_by_numpy(source["image"], target["image"])}
    (found, gradients), (expected, other_gradients), (without, _) = (
        method.losses_and_gradients(*(tf.nest.map_structure(tf.constant, batch) for batch in batches))
        for method, batches in (
            (method_with(BETA), (source, target)),
            (method_with(0.0), (by_hand, target)),
            (method_with(0.0), (source, target)),
        )
    )
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, rel=1e-4
    )
    for name, values in gradients.items():
        difference = tf.linalg.global_norm([one - two for one, two in zip(values, other_gradients[name], strict=True)])
        assert difference < 1e-2 * tf.linalg.global_norm(values), name
    assert float(found["segmentation"]) != pytest.approx(float(without["segmentation"]), rel=1e-2)


def test_a_part_is_adapted_by_its_own_images():
    method = method_with(BETA)
    whole = [tf.nest.map_structure(tf.constant, conformance.batch(dusk, first_draw=0)) for dusk in (False, True)]
    part = [{name: values[1:3] for name, values in batch.items()} for batch in whole]
    (source, target), (of_part, _) = method.adapted(*whole), method.adapted(*part)
    np.testing.assert_allclose(of_part["image"], source["image"][1:3], rtol=0, atol=255 * 1e-6)
    for name in ("label", "draw"):
        np.testing.assert_array_equal(of_part[name], part[0][name])
    assert target is whole[1]


@pytest.mark.slow
def test_replicas_and_parts_change_nothing(two_replicas):
    def build(**fields):
        method = conformance.build("binary_adversarial", **fields)
        method.fourier_beta = BETA
        return method

    method = build()
    start = conformance.weights(method)
    measures = conformance.losses(conformance.steps_of(method, tf.distribute.get_strategy()))
    with two_replicas.scope():
        divided = build(accumulation_steps=2)
    found = conformance.losses(conformance.steps_of(divided, two_replicas))
    assert found == pytest.approx(measures, rel=1e-4)
    conformance.assert_same_steps(start, conformance.weights(method), conformance.weights(divided), 1e-2)


@pytest.mark.parametrize(("name", "domain"), [("source_only", "source"), ("self_distillation", "target")])
def test_a_method_of_one_domain_refuses_it(name, domain):
    with pytest.raises(InputError, match=f"fourier_beta is 0.1, and method {name} trains on {domain} alone, .* to 0$"):
        method_with(BETA, name)
