"""Self-distillation: supervised training on target images and the adapted model's labels for them (paper 3.4)."""

import dataclasses

import keras

from fada_tf.config import Config
from fada_tf.methods import source_only
from fada_tf.methods.source_only import SourceOnly


@dataclasses.dataclass
class Settings(source_only.Settings):
    """What users choose: the same as of `source_only`."""


class SelfDistillation(SourceOnly):
    """Minimises L_seg on the pseudo-labelled target domain."""

    domains = ("target",)
    labelled_domains = ("target",)


def build(config: Config, segmenter: keras.Model) -> SourceOnly:
    """Makes the method and its optimizers from the config."""
    return source_only.build(config, segmenter, SelfDistillation)
