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
    lowest_cross_entropy,
    soft_class_knowledge,
)
from fada_tf.losses.row_blocks import sum_over_row_blocks
from fada_tf.losses.segmentation import count_labelled, cross_entropy
from fada_tf.methods.base import Batch, Gradients, Method
from fada_tf.methods.source_only import sgd_groups
from fada_tf.models.discriminator import build_discriminator
from fada_tf.optimizers.parameter_groups import ParameterGroup, discriminator_group


class Fada(Method):
    """Minimises L_seg + lambda L_adv over F and C, and L_D over D (paper eq. 1 to 7).

    One forward pass a network and domain is enough: which variables a loss reaches is decided by which gradients are
    asked for. The class knowledge is constant, so C learns from L_seg alone and L_adv reaches F through D.
    """

    domains = ("source", "target")
    labelled_domains = ("source",)
    loss_names = (
        "segmentation", "adversarial", "discriminator_source", "discriminator_target", "discriminator_floor",
    )  # fmt: skip

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
        """Returns the four losses, each unweighted, the floor of D's mean loss, and the gradients of F, C and D."""
        count = count_labelled(source["label"])

        def source_losses(logits, domain_logits, labels, pixels):
            segmentation = cross_entropy(logits / self.segmentation_temperature, labels, count)
            knowledge = self.class_knowledge(logits)
            discriminator = fine_grained_cross_entropy(domain_logits, knowledge, SOURCE, pixels)
            return segmentation, discriminator, lowest_cross_entropy(knowledge, pixels)

        def target_losses(logits, domain_logits, pixels):
            knowledge = self.class_knowledge(logits)
            by_domain = (fine_grained_cross_entropy(domain_logits, knowledge, d, pixels) for d in (SOURCE, TARGET))
            return *by_domain, lowest_cross_entropy(knowledge, pixels)

        (segmentation, discriminator_source, source_floor), source_gradients = self._domain_pass(
            source_losses, source["image"], [source["label"]], weight=1.0
        )
        # One domain after the other, or the activations of both would be in memory at once.
        with tf.control_dependencies([tf.group(tf.nest.flatten(source_gradients))]):
            (adversarial, discriminator_target, target_floor), target_gradients = self._domain_pass(
                target_losses, target["image"], weight=self.adversarial_weight
            )
            gradients = tf.nest.map_structure(_sum, source_gradients, target_gradients)
        floor = 0.5 * source_floor + 0.5 * target_floor
        losses = (segmentation, adversarial, discriminator_source, discriminator_target, floor)
        return dict(zip(self.loss_names, losses, strict=True)), gradients

    def _domain_pass(self, losses_of, images, pixels=(), *, weight: float):
        """Runs F, C and D once; returns what `losses_of` does, of the segmenter and of D first, and all gradients."""
        size = images.shape[1:3]
        count = tf.cast(tf.reduce_prod(tf.shape(images)[:3]), tf.float32)
        # D's tape knows nothing of F. On one tape, the gradient of L_D would go on through F to no effect but time.
        with tf.GradientTape() as segmenter_tape:
            features = self.segmenter.features(images, training=True)
            with tf.GradientTape() as discriminator_tape:
                maps = [self.segmenter.classify(features), self.discriminator(features, training=True)]
                losses = sum_over_row_blocks(functools.partial(losses_of, pixels=count), maps, size, pixels)
                segmenter_loss, discriminator_loss = weight * losses[0], 0.5 * losses[1]
        variables = {name: group.variables for name, group in self.groups.items()}
        discriminator = {"discriminator": variables.pop("discriminator")}
        gradients = self.gradient(segmenter_tape, segmenter_loss, variables)
        return losses, gradients | self.gradient(discriminator_tape, discriminator_loss, discriminator)


def _sum(one: tf.Tensor, other: tf.Tensor | None) -> tf.Tensor:
    return one if other is None else one + other


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
