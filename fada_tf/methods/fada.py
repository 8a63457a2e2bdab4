"""FADA: fine-grained adversarial training with the classifier's knowledge as labels (paper section 3)."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

import keras
import tensorflow as tf

from fada_tf.config import Config, MethodSettings, NetworkOptimizerConfig
from fada_tf.errors import InputError
from fada_tf.losses.adversarial import (
    SOURCE,
    TARGET,
    fine_grained_cross_entropy,
    hard_class_knowledge,
    lowest_cross_entropy,
    soft_class_knowledge,
)
from fada_tf.losses.row_blocks import sum_over_row_blocks
from fada_tf.losses.segmentation import count_labelled, count_pixels, cross_entropy
from fada_tf.methods.base import Batch, Loss, Method, Watcher
from fada_tf.methods.source_only import segmenter_optimizer
from fada_tf.models.discriminator import build_discriminator
from fada_tf.optimizers.builder import build_optimizer
from fada_tf.optimizers.groups import ParameterGroup
from fada_tf.optimizers.torch_optimizers import TorchOptimizer
from fada_tf.schema import option, section


def _discriminator_optimizer() -> NetworkOptimizerConfig:
    """The authors' (paper 4.2), without weight decay: https://github.com/JDAI-CV/FADA/blob/a1c6403/train_adv.py#L85."""
    return NetworkOptimizerConfig("adam", 1e-4, beta_1=0.9, beta_2=0.99, epsilon=1e-8, weight_decay=0.0)


def check_features_are_trained(config: Config, why: str) -> None:
    """Raises `InputError` if the feature extractor is frozen; `why` says what needs it not to be."""
    if config.model.trainable == "head":
        raise InputError(f"{why}, and config.model.trainable 'head' freezes them: choose 'all' or 'lora'")


@dataclasses.dataclass
class Adversary:
    """What users choose of any discriminator and of its influence."""

    adversarial_weight: float = option(0.001, "lambda_adv, the weight of L_adv (paper 4.2)", minimum=0)
    discriminator: NetworkOptimizerConfig = section(_discriminator_optimizer)


@dataclasses.dataclass
class FineGrainedAdversary(Adversary):
    """What users choose of a discriminator that knows classes; methods beside which it stands have it as a section."""

    temperature: float = option(
        1.8,
        "T: class knowledge is softmax(logits / T) (paper 3.3)",
        above=0,
        needs=("class_knowledge", ("soft",)),
    )
    class_knowledge: str = option(
        "soft", "what the discriminator learns classes from: probabilities, or the likeliest class (paper 3.3)",
        choices=("soft", "hard"),
    )  # fmt: skip
    confidence_clip: float = option(
        0.9,
        "class knowledge above this is clipped to it; 1: no clip (paper table 6)",
        above=0,
        needs=("class_knowledge", ("soft",)),
    )
    confidence_threshold: float = option(
        0.9,
        "pixels whose likeliest class is less probable than this have no class knowledge",
        minimum=0,
        needs=("class_knowledge", ("hard",)),
    )


@dataclasses.dataclass
class AdversarialSettings(MethodSettings):
    """What users choose of any adversarial training, beside its `Adversary`."""

    relative_cost: ClassVar[float] = 2.3

    segmentation_temperature: float = option(
        1.0, "source logits are divided by this before L_seg (code: T, train_adv.py#L171-L173)", above=0
    )

    def check(self, config: Config) -> None:
        """Raises `InputError` if the feature extractor, which L_adv trains, is frozen."""
        check_features_are_trained(config, f"method {self.name} trains features against a discriminator")


@dataclasses.dataclass
class Settings(FineGrainedAdversary, AdversarialSettings):
    """What users choose."""


# L_D is the mean of both domains': https://github.com/JDAI-CV/FADA/blob/a1c6403/train_adv.py#L200-L204
_OF_EACH_DOMAIN = 0.5
_DEAD = 0.01  # L_D is at its floor if it exceeds it by less than this share of log 2, the excess of a D that guesses


class Fada(Method):
    """Minimises L_seg + lambda L_adv over F and C, and L_D over D (paper eq. 1 to 7).

    F makes features, C classifies them, D tells their domain and class. One forward pass of the three per domain is
    enough for all losses. `class_knowledge` stops gradients, so C learns from L_seg alone; L_adv reaches F through D.
    Binary adversarial training is the same with a class knowledge of one class.
    """

    domains = ("source", "target")
    labelled_domains = ("source",)
    measured = (
        "segmentation", "adversarial", "discriminator_source", "discriminator_target", "discriminator_floor",
    )  # fmt: skip

    def __init__(
        self,
        segmenter: keras.Model,
        discriminator: keras.Model,
        optimizers: Mapping[str, TorchOptimizer],
        *,
        class_knowledge: Callable[[tf.Tensor], tf.Tensor],
        segmentation_temperature: float,
        adversarial_weight: float,
        accumulation_steps: int = 1,
    ):
        """Sets up the method.

        Args:
          segmenter: F and C.
          discriminator: D, with two channels for each class of the class knowledge: the source's, then the target's.
          optimizers: of both, by the network's name.
          class_knowledge: from logits [batch, height, width, classes] to D's labels; see `fada_tf.losses.adversarial`.
          segmentation_temperature: see `Settings`, as for the others.
          adversarial_weight: of L_adv.
          accumulation_steps: parts of a batch.
        """
        super().__init__({"segmenter": segmenter, "discriminator": discriminator}, optimizers, accumulation_steps)
        self.discriminator = discriminator
        self.class_knowledge = class_knowledge
        self.segmentation_temperature = segmentation_temperature
        self.adversarial_weight = adversarial_weight

    def passes(self, source: Batch, target: Batch) -> Iterator[dict[str, Loss | tf.Tensor]]:
        """Yields the losses of the source, then those of the target, and a half of the floor of L_D with each."""
        yield self.source_pass(source)
        yield self.target_pass(target)

    def source_pass(self, source: Batch) -> dict[str, Loss | tf.Tensor]:
        """F and C learn the labels; D learns to tell that these are source features."""
        labelled = count_labelled(source["label"])
        pixels = count_pixels(source["image"])

        def sums_of_block(logits, domain_logits, labels):
            knowledge = self.class_knowledge(logits)
            return {
                "segmentation": cross_entropy(logits / self.segmentation_temperature, labels, labelled),
                "discriminator": fine_grained_cross_entropy(domain_logits, knowledge, SOURCE, pixels),
                "floor": lowest_cross_entropy(knowledge, pixels),
            }

        of_source = self._forward_and_sum(sums_of_block, source, source["label"])
        return {
            "segmentation": Loss(of_source["segmentation"], trains="segmenter"),
            "discriminator_source": Loss(of_source["discriminator"], trains="discriminator", weight=_OF_EACH_DOMAIN),
            "discriminator_floor": _OF_EACH_DOMAIN * of_source["floor"],
        }

    def target_pass(self, target: Batch) -> dict[str, Loss | tf.Tensor]:
        """F learns to have D take target features for source features; D learns to tell that they are not."""
        pixels = count_pixels(target["image"])

        def sums_of_block(logits, domain_logits):
            knowledge = self.class_knowledge(logits)
            return {
                "adversarial": fine_grained_cross_entropy(domain_logits, knowledge, SOURCE, pixels),
                "discriminator": fine_grained_cross_entropy(domain_logits, knowledge, TARGET, pixels),
                "floor": lowest_cross_entropy(knowledge, pixels),
            }

        of_target = self._forward_and_sum(sums_of_block, target)
        return {
            "adversarial": Loss(of_target["adversarial"], trains="segmenter", weight=self.adversarial_weight),
            "discriminator_target": Loss(of_target["discriminator"], trains="discriminator", weight=_OF_EACH_DOMAIN),
            "discriminator_floor": _OF_EACH_DOMAIN * of_target["floor"],
        }

    def watchers(self) -> Sequence[Watcher]:
        """Returns what watches D."""
        return [DeadDiscriminator()]

    def _forward_and_sum(self, sums_of_block, batch: Batch, *labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Runs F, C and D; sums `sums_of_block(logits, domain_logits, *labels)` of rows at the images' size."""
        images, draws = batch["image"], batch.get("draw")
        maps = self.segmenter.maps(images, training=True, draws=draws)
        logits = self.segmenter.classify(maps, training=True, draws=draws)
        domain_logits = self.discriminator(maps[self.segmenter.feature_stride], training=True)
        return sum_over_row_blocks(
            sums_of_block,
            [logits, domain_logits],
            images.shape[1:3],
            labels,
            align_corners=[self.segmenter.align_corners, True],
        )


class DeadDiscriminator:
    """Warns when L_D reaches its floor, where D has nothing left to learn; again only after it has left it."""

    def __init__(self):
        self._dead = False

    def __call__(self, losses: Mapping[str, float]) -> str | None:
        """Compares L_D with what it is for a discriminator that never errs about the domain."""
        mean = _OF_EACH_DOMAIN * (losses["discriminator_source"] + losses["discriminator_target"])
        was_dead, self._dead = self._dead, mean - losses["discriminator_floor"] < _DEAD * math.log(2)
        if was_dead or not self._dead:
            return None
        return (
            f"the discriminator's loss {mean:.4g} is at its floor: it tells the domains apart without fail, "
            "and its gradient teaches the segmenter nothing; lower config.method.discriminator.learning_rate"
        )


def build(config: Config, segmenter: keras.Model) -> Fada:
    """Makes the discriminator, the method and its optimizers from the config."""
    return build_fine_grained(config, segmenter, config.method, config.method.segmentation_temperature)


def build_fine_grained(
    config: Config, segmenter: keras.Model, adversary: FineGrainedAdversary, segmentation_temperature: float
) -> Fada:
    """Makes FADA with these settings, for itself or beside another method."""
    variants = {
        "soft": functools.partial(
            soft_class_knowledge, temperature=adversary.temperature, confidence_clip=adversary.confidence_clip
        ),
        "hard": functools.partial(hard_class_knowledge, confidence_threshold=adversary.confidence_threshold),
    }
    class_knowledge = variants[adversary.class_knowledge]
    return build_adversarial(
        config, segmenter, adversary, segmentation_temperature, segmenter.num_classes, class_knowledge
    )


def build_adversarial(
    config: Config,
    segmenter: keras.Model,
    adversary: Adversary,
    segmentation_temperature: float,
    num_classes: int,
    class_knowledge: Callable[[tf.Tensor], tf.Tensor],
) -> Fada:
    """Makes a discriminator of `num_classes` channels a domain, the method and its optimizers."""
    discriminator = build_discriminator(segmenter, num_classes, seed=config.seed)
    group = ParameterGroup("discriminator", discriminator.trainable_variables)
    optimizers = {
        "segmenter": segmenter_optimizer(config, segmenter),
        "discriminator": build_optimizer(adversary.discriminator, config.schedule, [group], "discriminator_optimizer"),
    }
    return Fada(
        segmenter,
        discriminator,
        optimizers,
        class_knowledge=class_knowledge,
        segmentation_temperature=segmentation_temperature,
        adversarial_weight=adversary.adversarial_weight,
        accumulation_steps=config.training.accumulation_steps,
    )
