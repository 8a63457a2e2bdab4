"""Losses against direct computations, one pixel at a time."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.data.labels import IGNORE
from fada_tf.losses.adversarial import (
    SOURCE,
    TARGET,
    fine_grained_cross_entropy,
    hard_class_knowledge,
    lowest_cross_entropy,
    no_class_knowledge,
    soft_class_knowledge,
)
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


def test_without_a_clip_class_knowledge_is_the_tempered_softmax(rng):
    logits = 5 * rng.standard_normal((1, 3, 4, CLASSES)).astype("f")
    np.testing.assert_allclose(soft_class_knowledge(logits, 1.8, 1.0), softmax(logits / 1.8), rtol=1e-5)


def test_hard_class_knowledge_is_one_hot_where_the_classifier_is_confident_and_zero_elsewhere(rng):
    logits = 2 * rng.standard_normal((2, 5, 6, CLASSES)).astype("f")
    probabilities = softmax(logits)
    expected = (probabilities == probabilities.max(-1, keepdims=True)) & (probabilities >= 0.7)
    assert 0 < expected.sum() < expected[..., 0].size
    np.testing.assert_array_equal(hard_class_knowledge(logits, confidence_threshold=0.7), expected)
    np.testing.assert_array_equal(tf.reduce_sum(hard_class_knowledge(logits, 0.0), -1), np.ones((2, 5, 6)))


@pytest.mark.parametrize(
    "class_knowledge", [lambda z: soft_class_knowledge(z, 1.8, 0.9), lambda z: hard_class_knowledge(z, 0.0)]
)
def test_no_gradient_flows_through_class_knowledge(class_knowledge):
    logits = tf.Variable(np.ones((1, 1, 1, CLASSES), "f"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(class_knowledge(logits))
    assert tape.gradient(loss, logits) is None


def test_without_class_knowledge_the_loss_is_binary_cross_entropy_of_domains(rng):
    domain_logits = rng.standard_normal((2, 3, 4, 2)).astype("f")
    knowledge = no_class_knowledge(tf.zeros((2, 3, 4, CLASSES)))
    source_margin = domain_logits[..., 0] - domain_logits[..., 1]
    for domain, margin in ((SOURCE, source_margin), (TARGET, -source_margin)):
        expected = np.log1p(np.exp(-margin)).mean()
        np.testing.assert_allclose(fine_grained_cross_entropy(domain_logits, knowledge, domain), expected, rtol=1e-5)


@pytest.mark.parametrize("domain", [SOURCE, TARGET])
def test_fine_grained_cross_entropy_is_one_joint_softmax_over_2k(rng, domain):
    domain_logits = rng.standard_normal((2, 3, 4, 2 * CLASSES)).astype("f")
    knowledge = np.minimum(softmax(rng.standard_normal((2, 3, 4, CLASSES))), 0.9).astype("f")
    encoding = np.zeros((2, 3, 4, 2 * CLASSES))
    encoding[..., domain * CLASSES : (domain + 1) * CLASSES] = knowledge
    expected = -(encoding * np.log(softmax(domain_logits))).sum(-1).mean()
    np.testing.assert_allclose(fine_grained_cross_entropy(domain_logits, knowledge, domain), expected, rtol=1e-5)


@pytest.mark.parametrize("total", [1.0, 0.8], ids=["soft", "clipped"])
def test_no_discriminator_is_below_the_lowest_cross_entropy_and_the_best_one_is_at_it(total):
    rng = np.random.default_rng(0)
    knowledge = tf.constant(total * rng.dirichlet(np.ones(4), (2, 3, 5)), tf.float32)
    floor = lowest_cross_entropy(knowledge)
    certain = tf.concat([tf.math.log(knowledge), tf.fill(knowledge.shape, -99.0)], -1)
    loss = fine_grained_cross_entropy(certain, knowledge, SOURCE)
    np.testing.assert_allclose(floor, loss, rtol=1e-5)
    other = certain + tf.constant(rng.normal(0, 1, certain.shape), tf.float32)
    assert fine_grained_cross_entropy(other, knowledge, SOURCE) > floor


def test_without_doubt_about_the_class_the_lowest_cross_entropy_is_zero():
    for knowledge in (tf.one_hot([[[0, 2, -1]]], 3), tf.ones([1, 2, 3, 1])):
        assert lowest_cross_entropy(knowledge) == 0


def test_weights_are_factors_of_pixels_and_leave_the_denominator_alone(rng):
    logits, labels = rng.normal(size=(1, 2, 2, 3)).astype(np.float32), np.array([[[0, IGNORE], [2, 1]]])
    weights = np.array([[[0.5, 9.0], [0.0, 1.0]]], np.float32)
    pixels = (
        np.log(np.exp(logits).sum(-1))[0]
        - np.take_along_axis(logits[0], np.minimum(labels[0], 2)[..., None], -1)[..., 0]
    )
    expected = (0.5 * pixels[0, 0] + pixels[1, 1]) / 4
    assert float(cross_entropy(logits, labels, 4.0, weights)) == pytest.approx(expected, rel=1e-5)
