"""Adversarial training without class knowledge: FADA's baseline, a discriminator of two domains (paper 3.1)."""

import dataclasses

import keras

from fada_tf.config import Config
from fada_tf.losses.adversarial import no_class_knowledge
from fada_tf.methods.fada import AdversarialSettings, Adversary, Fada, build_adversarial


@dataclasses.dataclass
class Settings(Adversary, AdversarialSettings):
    """What users choose."""


def build(config: Config, segmenter: keras.Model) -> Fada:
    """Makes FADA's method with one class, so that D tells domains apart and nothing else."""
    settings = config.method
    return build_adversarial(config, segmenter, settings, settings.segmentation_temperature, 1, no_class_knowledge)
