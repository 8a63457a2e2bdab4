"""The segmenter G = C(F(x)): normalisation, feature extractor and classifier."""

import keras
import numpy as np
import tensorflow as tf

from fada_tf import registry
from fada_tf.errors import InputError
from fada_tf.models.backbones.base import Backbone
from fada_tf.models.classifier import Classifier
from fada_tf.models.recomputation import recomputed

_PACKAGE = "fada_tf.models.backbones"


def find_backbone(name: str) -> Backbone:
    """Finds a backbone by name, such as "resnet101", in the files of fada_tf/models/backbones.

    Raises:
      InputError: no such backbone; the message lists those there are.
    """
    variants: dict[str, Backbone] = {}
    for module in registry.names(_PACKAGE):
        variants |= registry.load(_PACKAGE, module).VARIANTS
    if name not in variants:
        raise InputError(f"backbone {name!r} is unknown: choose from {', '.join(sorted(variants))}")
    return variants[name]


@keras.saving.register_keras_serializable("fada_tf")
class Segmenter(keras.Model):
    """Maps images to logits at an eighth of their resolution; see `build_segmenter`.

    Attributes:
      backbone: its name.
      num_classes: K.
      batch_norm: "frozen" or "synchronized".
      feature_extractor: F, from normalised images to features.
      classifier: C, from features to logits.
    """

    def __init__(
        self, backbone: str, num_classes: int, batch_norm: str = "frozen", seed: int = 0, *, recompute: bool = False
    ):
        super().__init__(name="segmenter")
        definition, rng = find_backbone(backbone), np.random.default_rng(seed)
        self.backbone = backbone
        self.num_classes = num_classes
        self.batch_norm = batch_norm
        self._seed, self._recompute = seed, recompute
        self._normalization = definition.normalization
        self._minimum_size = definition.minimum_size
        self.feature_extractor = definition.build(batch_norm, rng)
        self._trained = recomputed(self.feature_extractor, definition.block_ends) if recompute else None
        self.classifier = Classifier(self.feature_channels, num_classes, rng)
        self.built = True

    def get_config(self):
        """Returns what `from_config` makes the model of again: all but the weights."""
        return {
            "backbone": self.backbone,
            "num_classes": self.num_classes,
            "batch_norm": self.batch_norm,
            "seed": self._seed,
            "recompute": self._recompute,
            "trainable": self.trainable,
            "dtype": self.dtype_policy.name,
        }

    @classmethod
    def from_config(cls, config):
        """Builds the segmenter in its own compute type, whatever the type of models that are built now."""
        config, before = dict(config), keras.config.dtype_policy()
        trainable = config.pop("trainable")
        keras.config.set_dtype_policy(config.pop("dtype"))
        try:
            segmenter = cls(**config)
        finally:
            keras.config.set_dtype_policy(before)
        segmenter.trainable = trainable
        return segmenter

    @property
    def feature_channels(self) -> int:
        """Number of channels of the features."""
        return self.feature_extractor.output_shape[-1]

    def normalize(self, images: tf.Tensor) -> tf.Tensor:
        """Normalises as the backbone was pretrained.

        Args:
          images: RGB [batch, height, width, 3] in 0..255, uint8 or float32.

        Returns:
          float32 [batch, height, width, 3].
        """
        return self._normalization(images)

    def features(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes F.

        Args:
          images: RGB [batch, height, width, 3] in 0..255, uint8 or float32.
          training: whether "synchronized" batch norm uses and updates the statistics of the batch.

        Returns:
          [batch, ceil(height / 8), ceil(width / 8), feature_channels] in the compute type; vgg16 rounds down.

        Raises:
          tf.errors.InvalidArgumentError: the images are too small for the backbone's poolings.
        """
        tf.debugging.assert_greater_equal(
            tf.shape(images)[1:3], self._minimum_size, f"{self.backbone} needs {self._minimum_size} pixels a side"
        )
        if training and self._trained:
            return self._trained(self.normalize(images))
        return self.feature_extractor(self.normalize(images), training=training)

    def classify(self, features: tf.Tensor) -> tf.Tensor:
        """Computes C.

        Args:
          features: [batch, height, width, feature_channels].

        Returns:
          float32 logits [batch, height, width, num_classes].
        """
        return self.classifier(features)

    def call(self, images, training=False):
        """Computes C(F(images)): float32 logits at an eighth of the resolution."""
        return self.classify(self.features(images, training=training))


def build_segmenter(
    backbone: str, num_classes: int, batch_norm: str = "frozen", seed: int = 0, *, recompute: bool = False
) -> Segmenter:
    """Builds a segmenter with its variables; equal seeds give equal weights.

    Args:
      backbone: "resnet50", "resnet101", "vgg16" or "tiny".
      num_classes: K, at least 1.
      batch_norm: "frozen" (stored statistics and affine, constants) or "synchronized" (over all replicas).
      seed: of the initial weights, at least 0.
      recompute: see `ModelConfig`.

    Raises:
      InputError: unknown backbone or batch norm.
    """
    return Segmenter(backbone, num_classes, batch_norm, seed, recompute=recompute)
