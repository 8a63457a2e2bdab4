"""DACS: a teacher labels the target, and the student learns what is pasted together of both domains.

Tranheden et al., WACV 2021, https://arxiv.org/abs/2007.08702. ClassMix: Olsson et al., WACV 2021,
https://arxiv.org/abs/2007.07936.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import keras
import tensorflow as tf

from fada_tf import randomness
from fada_tf.augmentations import classmix
from fada_tf.config import Config
from fada_tf.errors import InputError
from fada_tf.losses.feature_distance import feature_distance
from fada_tf.methods.base import Batch, Loss, Watcher
from fada_tf.methods.base_teacher import Pass, TeacherMethod, TeacherSettings, build_class_prior
from fada_tf.methods.fada import Fada, FineGrainedAdversary, build_fine_grained, check_features_are_trained
from fada_tf.methods.source_only import SourceOnly, segmenter_optimizer
from fada_tf.models import moving_average
from fada_tf.models.class_prior import ClassPrior
from fada_tf.models.weights import load_initial_weights
from fada_tf.schema import option, section


@dataclasses.dataclass
class Settings(TeacherSettings):
    """What users choose."""

    relative_cost: ClassVar[float] = 2.4

    segmentation_temperature: float = option(1.0, "source logits are divided by this before L_seg", above=0)
    adversarial: bool = option(False, "train against FADA's discriminator as well, on the images that are not mixed")
    fada: FineGrainedAdversary = section(FineGrainedAdversary, needs=("adversarial", (True,)))
    feature_distance_weight: float = option(
        0.0, "of how far source features have moved from those of ImageNet's weights; 0: not taken; DAFormer: 0.005",
        minimum=0,
    )  # fmt: skip
    imagenet_weights: str = option("", "what that distance is measured from: an .npz file, or 'imagenet'")
    thing_classes: str = option(
        "6,7,11,12,13,14,15,16,17,18", "classes where it is measured (DAFormer's, of Cityscapes' 19)"
    )

    def check(self, config: Config) -> None:
        """Raises `InputError` if the domains' images have two sizes, or FADA's settings have no effect."""
        source, target = config.data.source, config.data.target
        if (source.height, source.width) != (target.height, target.width):
            raise InputError(
                f"method {self.name} mixes both domains, and config.data.source is {source.height} x {source.width} "
                f"pixels, config.data.target {target.height} x {target.width}: give both one height and width, and crop"
            )
        if self.adversarial:
            check_features_are_trained(config, "config.method.adversarial trains features against a discriminator")
        if self.feature_distance_weight:
            check_features_are_trained(config, "config.method.feature_distance_weight is of features that move")
        if not self.adversarial and self.fada != FineGrainedAdversary():
            raise InputError(
                "config.method.fada has settings, and config.method.adversarial is False, which has no use for them: "
                "set it to True, or leave them out"
            )
        if bool(self.feature_distance_weight) != bool(self.imagenet_weights):
            raise InputError(
                f"config.method.feature_distance_weight is {self.feature_distance_weight}, and imagenet_weights "
                f"{self.imagenet_weights!r}: set both, or neither"
            )
        if not all(text.strip().isdecimal() for text in self.thing_classes.split(",")):
            raise InputError(f"config.method.thing_classes is {self.thing_classes!r}: give numbers such as 11,12,18")


class Dacs(TeacherMethod):
    """Minimises L_seg on the source, FADA's losses beside it if asked to, and L_mix on mixed images."""

    domains = ("source", "target")
    labelled_domains = ("source",)

    def __init__(
        self,
        supervised: SourceOnly | Fada,
        settings: Settings,
        *,
        seed: int,
        accumulation_steps: int = 1,
        prior: ClassPrior | None = None,
        frozen: keras.Model | None = None,
    ):
        """Sets up the method.

        Args:
          supervised: what is minimised on images that are not mixed.
          settings: what users choose.
          seed: see `TeacherMethod`.
          accumulation_steps: see `Method`.
          prior: see `TeacherMethod`.
          frozen: a segmenter whose features those of the source are kept near to; None: they are free.
        """
        super().__init__(
            supervised.networks,
            supervised.optimizers,
            settings,
            seed=seed,
            accumulation_steps=accumulation_steps,
            prior=prior,
        )
        self.supervised, self.frozen = supervised, frozen
        self.reported = (*supervised.reported, *self.reported)
        distance = ("feature_distance",) if frozen else ()
        self.measured = (*dict.fromkeys((*supervised.measured, *distance, "mix", *self.reported)),)

    def passes(self, source: Batch, target: Batch) -> Iterator[Pass]:
        """Yields the losses of images as they are, then those by pseudo labels."""
        yield from self.unmixed_passes(source, target)
        yield from self.taught_passes(source, target, self.pseudo_labels(target))

    def taught_passes(self, source: Batch, target: Batch, pseudo: Mapping[str, tf.Tensor]) -> Iterator[Pass]:
        """Yields the losses by what `pseudo_labels` returns: that of the mix."""
        yield self.mix_pass(self.mixed(source, target, pseudo)) | self.statistics(pseudo)

    def unmixed_passes(self, source: Batch, target: Batch) -> Iterator[Pass]:
        """Yields the losses of `supervised`, and that of features of things that leave those of ImageNet's weights."""
        batches = {"source": source, "target": target}
        yield from self.supervised.passes(*(batches[domain] for domain in self.supervised.domains))
        if self.frozen:
            features = self.segmenter.features(source["image"], training=True, draws=source.get("draw"))
            things = [int(text) for text in self.settings.thing_classes.split(",")]
            distance = feature_distance(features, self.frozen.features(source["image"]), source["label"], things)
            weight = self.settings.feature_distance_weight
            yield {"feature_distance": Loss(distance, trains="segmenter", weight=weight)}

    def mixed(self, source: Batch, target: Batch, pseudo: Mapping[str, tf.Tensor]) -> Batch:
        """Pastes half of the classes of every source image onto the target image of its place; see `mixed_of`.

        "mix_classes" of the source, int [batch, any], -1 for none, are pasted if it has them.
        """
        labels, count = source["label"], self.segmenter.num_classes
        if "mix_classes" in source:
            classes = source["mix_classes"]
        else:
            numbers = randomness.uniform(self.seed, "classes, mix", source["draw"], (count,))
            classes = classmix.choose_classes(labels, count, numbers)
        mask = classmix.mask_of(labels, classes)
        above = source | {"weight": tf.ones_like(pseudo["weight"])}
        return self.mixed_of(above, target | pseudo, mask, "mix")

    def pictures(self, source: Batch, target: Batch) -> dict[str, Batch]:
        """Returns the mix."""
        return {"mixed": self.mixed(source, target, self.pseudo_labels(target))}

    def watchers(self) -> Sequence[Watcher]:
        """Returns what watches the pseudo labels and, if there is one, the discriminator."""
        return [*super().watchers(), *self.supervised.watchers()]


def build(config: Config, segmenter: keras.Model) -> Dacs:
    """Makes the method, its teacher and its optimizers from the config."""
    return build_mixing(Dacs, config, segmenter)


def build_mixing(method: type[Dacs], config: Config, segmenter: keras.Model) -> Dacs:
    """Makes a method of a class that has the arguments of `Dacs` from the config.

    Raises:
      InputError: there are fewer classes than `thing_classes` names, or the weights for it cannot be read.
    """
    settings, frozen = config.method, None
    if settings.feature_distance_weight:
        if max(map(int, settings.thing_classes.split(","))) >= segmenter.num_classes:
            raise InputError(
                f"config.method.thing_classes is {settings.thing_classes!r}, and the classes are 0 to "
                f"{segmenter.num_classes - 1}: name those that are things among them"
            )
        frozen = moving_average.copy_of(segmenter)
        load_initial_weights(frozen, settings.imagenet_weights)
    if settings.adversarial:
        supervised = build_fine_grained(config, segmenter, settings.fada, settings.segmentation_temperature)
    else:
        supervised = SourceOnly(
            segmenter,
            segmenter_optimizer(config, segmenter),
            segmentation_temperature=settings.segmentation_temperature,
        )
    return method(
        supervised,
        settings,
        seed=config.seed,
        accumulation_steps=config.training.accumulation_steps,
        prior=build_class_prior(config, segmenter.num_classes),
        frozen=frozen,
    )
