"""The variants of class knowledge, each chosen by one value of the config, in a step of training."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import registry
from fada_tf.config import Config, method_settings
from fada_tf.losses.adversarial import hard_class_knowledge, no_class_knowledge, soft_class_knowledge
from fada_tf.methods.base import Method
from fada_tf.models.layers import resize_align_corners
from fada_tf.models.segmenter import build_segmenter

CLASSES = 3
# By case: fields of the config, the class knowledge they stand for.
VARIANTS = {
    "soft": ({}, lambda logits: soft_class_knowledge(logits, 1.8, 0.9)),
    "soft, no clip": ({"confidence_clip": 1.0}, lambda logits: soft_class_knowledge(logits, 1.8, 1.0)),
    "hard": (
        {"class_knowledge": "hard", "confidence_threshold": 0.335},
        lambda logits: hard_class_knowledge(logits, 0.335),
    ),
    "binary": ({"name": "binary_adversarial"}, no_class_knowledge),
}


def build(fields: dict) -> Method:
    fields = {"name": "fada"} | fields
    config = Config(method=method_settings(**fields))
    segmenter = build_segmenter("tiny", CLASSES, "frozen")
    return registry.load("fada_tf.methods", config.method.name).build(config, segmenter)


@pytest.mark.parametrize(
    "variant", ["soft", *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS if name != "soft")]
)
def test_the_discriminators_losses_are_those_of_the_chosen_knowledge(variant):
    fields, class_knowledge = VARIANTS[variant]
    method = build(fields)
    rng = np.random.default_rng(3)
    image = tf.constant(rng.uniform(0, 255, (1, 16, 24, 3)), tf.float32)
    label = tf.constant(rng.integers(0, CLASSES, (1, 16, 24)), tf.uint8)
    features = method.segmenter.features(image)
    knowledge = class_knowledge(resize_align_corners(method.segmenter.classify(features), (16, 24))).numpy()
    domain_logits = resize_align_corners(method.discriminator(features), (16, 24)).numpy().astype("f8")
    assert domain_logits.shape[-1] == 2 * knowledge.shape[-1]
    log_joint = domain_logits - np.log(np.exp(domain_logits).sum(-1, keepdims=True))
    source, target = (-(knowledge * part).sum(-1).mean() for part in np.split(log_joint, 2, axis=-1))

    before = [variable.numpy() for variable in method.groups["feature_extractor"].variables]
    losses = tf.function(method.step)({"image": image, "label": label}, {"image": image})
    np.testing.assert_allclose(losses["discriminator_source"], source, rtol=1e-4)
    np.testing.assert_allclose(losses["discriminator_target"], target, rtol=1e-4)
    np.testing.assert_allclose(losses["adversarial"], source, rtol=1e-4)  # both domains show the same image here
    after = [variable.numpy() for variable in method.groups["feature_extractor"].variables]
    assert any((one != other).any() for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["fada", pytest.param("binary_adversarial", marks=pytest.mark.slow)])
def test_one_gradient_a_domain_goes_through_the_feature_extractor(name, monkeypatch):
    method, upstream = build({"name": name}), []
    maps_of = method.segmenter.maps

    @tf.custom_gradient
    def counted(features):
        def gradient(by_features):
            upstream.append(by_features)
            return by_features

        return tf.identity(features), gradient

    def counted_maps(*args, **options):
        return {stride: counted(features) for stride, features in maps_of(*args, **options).items()}

    monkeypatch.setattr(method.segmenter, "maps", counted_maps)
    image, label = tf.zeros((1, 16, 24, 3)), tf.zeros((1, 16, 24), tf.uint8)
    tf.function(method.step).get_concrete_function({"image": image, "label": label}, {"image": image})
    assert len(upstream) == 2


@pytest.mark.slow
def test_the_graph_of_a_step_is_small_enough_to_be_traced_soon():
    config = Config(method=method_settings("fada"))
    method = registry.load("fada_tf.methods", "fada").build(config, build_segmenter("vgg16", 19))
    image, label = tf.zeros((1, 64, 128, 3)), tf.zeros((1, 64, 128), tf.uint8)
    step = tf.function(method.step).get_concrete_function({"image": image, "label": label}, {"image": image})
    # Forward pass, gradients and update of 19 convolutions and of what follows them, in two domains: 4,564 with
    # TensorFlow 2.20. One more pass of the segmenter has several hundreds.
    assert len(step.graph.get_operations()) < 130 * 2 * 19
