"""Source only: supervised training on one labelled domain, the start of every adaptation and its baseline."""

import dataclasses
from collections.abc import Iterator

import keras

from fada_tf.config import Config, MethodSettings
from fada_tf.losses.row_blocks import sum_over_row_blocks
from fada_tf.losses.segmentation import count_labelled, cross_entropy
from fada_tf.methods.base import Batch, Loss, Method
from fada_tf.optimizers.builder import build_optimizer
from fada_tf.optimizers.groups import segmenter_groups
from fada_tf.optimizers.torch_optimizers import TorchOptimizer
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
        optimizer: TorchOptimizer,
        *,
        segmentation_temperature: float = 1.0,
        accumulation_steps: int = 1,
    ):
        """Sets up the method; for the arguments see `Method` and `Settings`."""
        super().__init__({"segmenter": segmenter}, {"segmenter": optimizer}, accumulation_steps)
        self.segmentation_temperature = segmentation_temperature

    def passes(self, labelled: Batch) -> Iterator[dict[str, Loss]]:
        """Yields L_seg of one batch of images and labels."""
        labels = labelled["label"]
        count = count_labelled(labels)
        logits = self.segmenter(labelled["image"], training=True, draws=labelled.get("draw"))
        logits /= self.segmentation_temperature
        segmentation = sum_over_row_blocks(
            lambda logits, labels: cross_entropy(logits, labels, count),
            [logits],
            labels.shape[1:3],
            [labels],
            align_corners=self.segmenter.align_corners,
        )
        yield {"segmentation": Loss(segmentation, trains="segmenter")}


def build(config: Config, segmenter: keras.Model, method: type[SourceOnly] = SourceOnly) -> SourceOnly:
    """Makes the method, of a class that has this one's arguments, and its optimizers from the config."""
    return method(
        segmenter,
        segmenter_optimizer(config, segmenter),
        segmentation_temperature=config.method.segmentation_temperature,
        accumulation_steps=config.training.accumulation_steps,
    )


def segmenter_optimizer(config: Config, segmenter: keras.Model) -> TorchOptimizer:
    """Returns the optimizer of F and C that the config names."""
    spec = config.optimizer
    groups = segmenter_groups(segmenter, head_multiplier=spec.head_multiplier, layer_decay=spec.layer_decay)
    return build_optimizer(spec, config.schedule, groups, "segmenter_optimizer")
