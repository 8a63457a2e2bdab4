"""FADA: fine-grained adversarial training with the classifier's knowledge as soft labels (paper section 3)."""

import keras
import tensorflow as tf

from fada_tf.config import Config
from fada_tf.losses.adversarial import SOURCE, TARGET, fine_grained_cross_entropy, soft_class_knowledge
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
        temperature: float,
        segmentation_temperature: float,
        confidence_clip: float,
        adversarial_weight: float,
        accumulation_steps: int = 1,
    ):
        """Sets up the method; see `MethodConfig` for the values."""
        super().__init__(segmenter, groups, {"discriminator": discriminator}, accumulation_steps)
        self.discriminator = discriminator
        self.temperature = temperature
        self.segmentation_temperature = segmentation_temperature
        self.confidence_clip = confidence_clip
        self.adversarial_weight = adversarial_weight

    def losses_and_gradients(self, source: Batch, target: Batch) -> tuple[dict[str, tf.Tensor], Gradients]:
        """Returns the four losses, each unweighted, and the gradients of F, C and D."""
        features, classifier, discriminator = (self.groups[name].variables for name in self._group_names)
        with tf.GradientTape(persistent=True) as tape:
            source_logits, source_domain_logits = self._forward(source["image"])
            target_logits, target_domain_logits = self._forward(target["image"])
            source_knowledge = soft_class_knowledge(source_logits, self.temperature, self.confidence_clip)
            target_knowledge = soft_class_knowledge(target_logits, self.temperature, self.confidence_clip)

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
    method, optimizer = config.method, config.optimizer
    discriminator = build_discriminator(segmenter, segmenter.num_classes, seed=config.seed)
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
        temperature=method.temperature,
        segmentation_temperature=method.segmentation_temperature,
        confidence_clip=method.confidence_clip,
        adversarial_weight=method.adversarial_weight,
        accumulation_steps=config.training.accumulation_steps,
    )
