"""Source only: supervised training on one labelled domain, the start of every adaptation and its baseline."""

import dataclasses
from collections.abc import Iterator

import keras

from fada_tf.config import Config, MethodSettings
from fada_tf.losses.row_blocks import sum_over_row_blocks
from fada_tf.losses.segmentation import count_labelled, cross_entropy
from fada_tf.methods.base import Batch, Loss, Method
from fada_tf.optimizers.parameter_groups import ParameterGroup, segmenter_groups
from fada_tf.schema import option


@dataclasses.dataclass
class Settings(MethodSettings):
    """What users choose."""

    segmentation_temperature: float = option(1.0, "logits are divided by this before L_seg", above=0)


class SourceOnly(Method):
    """Minimises L_seg (paper eq. 1)."""

    domains = ("source",)
    labelled_domains = ("source",)
    measured = ("segmentation",)

    def __init__(
        self,
        segmenter: keras.Model,
        groups: dict[str, ParameterGroup],
        *,
        segmentation_temperature: float = 1.0,
        accumulation_steps: int = 1,
    ):
        """Sets up the method; for the arguments see `Method` and `Settings`."""
        super().__init__({"segmenter": segmenter}, {"segmenter": groups}, accumulation_steps)
        self.segmentation_temperature = segmentation_temperature

    def passes(self, labelled: Batch) -> Iterator[dict[str, Loss]]:
        """Yields L_seg of one batch of images and labels."""
        labels = labelled["label"]
        count = count_labelled(labels)
        logits = self.segmenter(labelled["image"], training=True) / self.segmentation_temperature
        segmentation = sum_over_row_blocks(
            lambda logits, labels: cross_entropy(logits, labels, count), [logits], labels.shape[1:3], [labels]
        )
        yield {"segmentation": Loss(segmentation, trains="segmenter")}


def build(config: Config, segmenter: keras.Model, method: type[SourceOnly] = SourceOnly) -> SourceOnly:
    """Makes the method, of a class that has this one's arguments, and its optimizers from the config."""
    return method(
        segmenter,
        sgd_groups(config, segmenter),
        segmentation_temperature=config.method.segmentation_temperature,
        accumulation_steps=config.training.accumulation_steps,
    )


def sgd_groups(config: Config, segmenter: keras.Model) -> dict[str, ParameterGroup]:
    """Returns the segmenter's two parameter groups with the config's values."""
    optimizer, schedule = config.optimizer, config.schedule
    return segmenter_groups(
        segmenter,
        learning_rate=optimizer.learning_rate,
        classifier_multiplier=optimizer.head_multiplier,
        momentum=optimizer.momentum,
        weight_decay=optimizer.weight_decay,
        horizon=schedule.horizon,
        power=schedule.power,
    )
