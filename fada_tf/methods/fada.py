"""FADA: fine-grained adversarial training with the classifier's knowledge as labels (paper section 3)."""

import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from fada_tf.config import Config
from fada_tf.losses.adversarial import (
    SOURCE,
    TARGET,
    fine_grained_cross_entropy,
    hard_class_knowledge,
    soft_class_knowledge,
)
from fada_tf.losses.segmentation import cross_entropy
from fada_tf.methods.base import Batch, Gradients, Method
from fada_tf.methods.source_only import sgd_groups
from fada_tf.models.discriminator import build_discriminator
from fada_tf.models.layers import resize_align_corners
from fada_tf.optimizers.parameter_groups import ParameterGroup, discriminator_group


class Fada(Method):
    """Minimises L_seg + lambda L_adv over F and C, and L_D over D (paper eq. 1 to 7).

    One forward pass a network and domain is enough: which variables a loss reaches is decided by which gradients are
    asked for. The class knowledge is constant, so C learns from L_seg alone and L_adv reaches F through D.
    """

    domains = ("source", "target")
    labelled_domains = ("source",)
    loss_names = ("segmentation", "adversarial", "discriminator_source", "discriminator_target")

    def __init__(
        self,
        segmenter: keras.Model,
        discriminator: keras.Model,
        groups: dict[str, ParameterGroup],
        *,
        class_knowledge: Callable[[tf.Tensor], tf.Tensor],
        segmentation_temperature: float,
        adversarial_weight: float,
        accumulation_steps: int = 1,
    ):
        """Sets up the method.

        Args:
          segmenter: F and C.
          discriminator: D, with as many channels a domain as the class knowledge has classes.
          groups: the optimizers of F, C and D.
          class_knowledge: from logits [batch, height, width, classes] to D's labels; see `fada_tf.losses.adversarial`.
          segmentation_temperature: see `MethodConfig`, as for the others.
          adversarial_weight: of L_adv.
          accumulation_steps: parts of a batch.
        """
        super().__init__(segmenter, groups, {"discriminator": discriminator}, accumulation_steps)
        self.discriminator = discriminator
        self.class_knowledge = class_knowledge
        self.segmentation_temperature = segmentation_temperature
        self.adversarial_weight = adversarial_weight

    def losses_and_gradients(self, source: Batch, target: Batch) -> tuple[dict[str, tf.Tensor], Gradients]:
        """Returns the four losses, each unweighted, and the gradients of F, C and D."""
        features, classifier, discriminator = (self.groups[name].variables for name in self._group_names)
        with tf.GradientTape(persistent=True) as tape:
            source_logits, source_domain_logits = self._forward(source["image"])
            target_logits, target_domain_logits = self._forward(target["image"])
            source_knowledge = self.class_knowledge(source_logits)
            target_knowledge = self.class_knowledge(target_logits)

            segmentation = cross_entropy(source_logits / self.segmentation_temperature, source["label"])
            adversarial = fine_grained_cross_entropy(target_domain_logits, target_knowledge, SOURCE)
            segmenter_loss = segmentation + self.adversarial_weight * adversarial

            discriminator_source = fine_grained_cross_entropy(source_domain_logits, source_knowledge, SOURCE)
            discriminator_target = fine_grained_cross_entropy(target_domain_logits, target_knowledge, TARGET)
            discriminator_loss = 0.5 * discriminator_source + 0.5 * discriminator_target

        feature_gradients, classifier_gradients = tape.gradient(segmenter_loss, (features, classifier))
        losses = (segmentation, adversarial, discriminator_source, discriminator_target)
        return dict(zip(self.loss_names, losses, strict=True)), {
            "feature_extractor": feature_gradients,
            "classifier": classifier_gradients,
            "discriminator": tape.gradient(discriminator_loss, discriminator),
        }

    _group_names = ("feature_extractor", "classifier", "discriminator")

    def _forward(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns C(F(x)) and D(F(x)), both at the size of the images."""
        size = tf.shape(images)[1:3]
        features = self.segmenter.features(images, training=True)
        logits = self.segmenter.classify(features)
        domain_logits = self.discriminator(features, training=True)
        return resize_align_corners(logits, size), resize_align_corners(domain_logits, size)


def build(config: Config, segmenter: keras.Model) -> Fada:
    """Makes the discriminator, the method and its optimizers from the config."""
    method = config.method
    variants = {
        "soft": functools.partial(
            soft_class_knowledge, temperature=method.temperature, confidence_clip=method.confidence_clip
        ),
        "hard": functools.partial(hard_class_knowledge, confidence_threshold=method.confidence_threshold),
    }
    return build_adversarial(config, segmenter, segmenter.num_classes, variants[method.class_knowledge])


def build_adversarial(
    config: Config, segmenter: keras.Model, num_classes: int, class_knowledge: Callable[[tf.Tensor], tf.Tensor]
) -> Fada:
    """Makes a discriminator of `num_classes` channels a domain, the method and its optimizers from the config."""
    method, optimizer = config.method, config.optimizer
    discriminator = build_discriminator(segmenter, num_classes, seed=config.seed)
    groups = sgd_groups(config, segmenter) | discriminator_group(
        discriminator,
        learning_rate=optimizer.discriminator_learning_rate,
        beta_1=optimizer.discriminator_beta_1,
        beta_2=optimizer.discriminator_beta_2,
        epsilon=optimizer.discriminator_epsilon,
        horizon=optimizer.horizon,
        power=optimizer.power,
    )
    return Fada(
        segmenter,
        discriminator,
        groups,
        class_knowledge=class_knowledge,
        segmentation_temperature=method.segmentation_temperature,
        adversarial_weight=method.adversarial_weight,
        accumulation_steps=config.training.accumulation_steps,
    )
