"""Losses against direct computations, one pixel at a time."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.data.labels import IGNORE
from fada_tf.losses.adversarial import SOURCE, TARGET, fine_grained_cross_entropy, soft_class_knowledge
from fada_tf.losses.segmentation import cross_entropy

CLASSES = 3


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_cross_entropy_divides_by_the_labelled_pixels(rng):
    logits = rng.standard_normal((2, 4, 5, CLASSES)).astype("f")
    labels = rng.integers(0, CLASSES, (2, 4, 5)).astype("u1")
    labels[0, :2] = IGNORE
    likelihood = np.take_along_axis(softmax(logits), np.minimum(labels, CLASSES - 1)[..., None], -1)[..., 0]
    expected = -np.log(likelihood[labels != IGNORE]).mean()
    np.testing.assert_allclose(cross_entropy(logits, labels), expected, rtol=1e-5)


def test_cross_entropy_without_labelled_pixels_is_zero_and_has_no_gradient():
    logits = tf.Variable(tf.ones((1, 2, 2, CLASSES)))
    with tf.GradientTape() as tape:
        loss = cross_entropy(logits, np.full((1, 2, 2), IGNORE))
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros((1, 2, 2, CLASSES)))


def test_class_knowledge_is_tempered_clipped_and_not_normalised_again():
    logits = np.array([[[[9.0, 0.0, 0.0], [1.0, 0.5, 0.0]]]], "f")
    knowledge = soft_class_knowledge(logits, temperature=1.8, confidence_clip=0.9).numpy()
    np.testing.assert_allclose(knowledge, np.minimum(softmax(logits / 1.8), 0.9), rtol=1e-5)
    assert knowledge[0, 0, 0].sum() < 0.95


def test_no_gradient_flows_through_class_knowledge():
    logits = tf.Variable(np.ones((1, 1, 1, CLASSES), "f"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(soft_class_knowledge(logits, 1.8, 0.9))
    assert tape.gradient(loss, logits) is None


@pytest.mark.parametrize("domain", [SOURCE, TARGET])
def test_fine_grained_cross_entropy_is_one_joint_softmax_over_2k(rng, domain):
    domain_logits = rng.standard_normal((2, 3, 4, 2 * CLASSES)).astype("f")
    knowledge = np.minimum(softmax(rng.standard_normal((2, 3, 4, CLASSES))), 0.9).astype("f")
    encoding = np.zeros((2, 3, 4, 2 * CLASSES))
    encoding[..., domain * CLASSES : (domain + 1) * CLASSES] = knowledge
    expected = -(encoding * np.log(softmax(domain_logits))).sum(-1).mean()
    np.testing.assert_allclose(fine_grained_cross_entropy(domain_logits, knowledge, domain), expected, rtol=1e-5)
