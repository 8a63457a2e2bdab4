"""The segmenter G = C(F(x)): normalisation, feature extractor (a backbone) and classifier (a head)."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from fada_tf import registry
from fada_tf.errors import InputError
from fada_tf.models.backbones.base import Backbone
from fada_tf.models.heads.base import Head
from fada_tf.models.lora import is_adapter
from fada_tf.models.recomputation import recomputed

_BACKBONES, _HEADS = "fada_tf.models.backbones", "fada_tf.models.heads"


def find_backbone(name: str) -> Backbone:
    """Finds a backbone by name, such as "resnet101", in the one file of fada_tf/models/backbones that it begins with.

    Raises:
      InputError: no such backbone; the message lists those there are.
    """
    return _find(_BACKBONES, "backbone", name)


def family_of(backbone: str) -> dict[str, Backbone]:
    """Returns the backbones of the file that a known one's name begins with, by name."""
    return registry.load_family(_BACKBONES, backbone).VARIANTS


def find_head(name: str) -> Head:
    """Finds a head by name, such as "aspp", in the one file of fada_tf/models/heads that it begins with.

    Raises:
      InputError: no such head; the message lists those there are.
    """
    return _find(_HEADS, "head", name)


def _find(package: str, kind: str, name: str):
    family = registry.load_family(package, name)
    if family is None or name not in family.VARIANTS:
        raise InputError(f"{kind} {name!r} is unknown: choose from {', '.join(_variants(package))}")
    return family.VARIANTS[name]


def _variants(package: str) -> dict[str, Backbone | Head]:
    """Returns all plug-ins of a package by name, sorted."""
    families = [registry.load(package, file).VARIANTS for file in registry.names(package)]
    return dict(sorted((name, variant) for family in families for name, variant in family.items()))


@keras.saving.register_keras_serializable("fada_tf")
class Segmenter(keras.Model):
    """Maps images to logits at a fraction of their resolution; see `build_segmenter`.

    Attributes:
      backbone: its name.
      head: its name.
      num_classes: K.
      batch_norm: "frozen" or "synchronized".
      trained_part: "all", "head" or "lora", what `trainable_variables` are.
      lora_rank: of the backbone's adapters; 0: it has none.
      feature_extractor: F, from normalised images to the list of its maps by ascending stride, or to the one map.
      classifier: C, from the list of the maps that the head takes, or the one map, to logits.
      multiple: of which the images' heights and widths are multiples.
      map_strides: of F's maps.
      feature_stride: of the map that `features` returns.
      stride: of the logits: pixels of an image a pixel of them, along each axis. Sizes are rounded up but where the
        backbone says otherwise.
      align_corners: how logits are brought to the size of the images, see `Interpolation`; the head says.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        batch_norm: str = "frozen",
        seed: int = 0,
        *,
        head: str = "aspp",
        feature_stride: int = 0,
        recompute: bool = False,
        trained_part: str = "all",
        lora_rank: int = 0,
    ):
        super().__init__(name="segmenter")
        definition, rng = find_backbone(backbone), np.random.default_rng(seed)
        head_definition = _fitting_head(head, backbone, definition)
        self.backbone = backbone
        self.head = head
        self.num_classes = num_classes
        self.batch_norm = batch_norm
        self._seed, self._recompute = seed, recompute
        self._normalization = definition.normalization
        self._minimum_size, self.multiple = definition.minimum_size, definition.multiple
        self._backbone_draws, self._head_draws = definition.draws, head_definition.draws
        self._taken = head_definition.takes(definition.strides)
        self.stride = self._taken[0] / head_definition.upsampling
        self.align_corners = head_definition.align_corners
        self.feature_stride = _feature_stride(feature_stride, self._taken[-1], backbone, definition)
        self.map_strides = tuple(sorted({*self._taken, self.feature_stride}))
        self.trained_part, self.lora_rank = trained_part, _lora_rank(trained_part, lora_rank, backbone, definition)
        self.feature_extractor = definition.build(backbone, batch_norm, rng, self.map_strides, lora_rank=self.lora_rank)
        self._trained = recomputed(self.feature_extractor, definition.block_ends) if recompute else None
        channels = {stride: self._channels()[stride] for stride in self._taken}
        self.classifier = head_definition.build(channels, num_classes, batch_norm, rng)
        self.built = True
        self._freeze()

    @property
    def trainable(self):
        """Whether weights are trained: all, or those of `trained_part`."""
        return super().trainable

    @trainable.setter
    def trainable(self, value):
        keras.Model.trainable.fset(self, value)
        self._freeze()

    def _freeze(self):
        """Takes from the trained weights what is not of `trained_part`."""
        if self.built and self.trained_part != "all":
            for variable in self.feature_extractor.trainable_variables:
                variable.trainable = is_adapter(variable)

    def get_config(self):
        """Returns what `from_config` makes the model of again: all but the weights."""
        return {
            "backbone": self.backbone,
            "num_classes": self.num_classes,
            "batch_norm": self.batch_norm,
            "seed": self._seed,
            "head": self.head,
            "feature_stride": self.feature_stride,
            "recompute": self._recompute,
            "trained_part": self.trained_part,
            "lora_rank": self.lora_rank,
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
        """Number of channels of the map that `features` returns."""
        return self._channels()[self.feature_stride]

    def _channels(self) -> dict[int, int]:
        outputs = self.feature_extractor.outputs
        return {stride: output.shape[-1] for stride, output in zip(self.map_strides, outputs, strict=True)}

    def normalize(self, images: tf.Tensor) -> tf.Tensor:
        """Normalises as the backbone was pretrained.

        Args:
          images: RGB [batch, height, width, 3] in 0..255, uint8 or float32.

        Returns:
          float32 [batch, height, width, 3].
        """
        return self._normalization(images)

    def maps(
        self,
        images: tf.Tensor,
        training: bool = False,
        draws: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
    ) -> dict[int, tf.Tensor]:
        """Computes F.

        Args:
          images: RGB [batch, height, width, 3] in 0..255, uint8 or float32.
          training: whether "synchronized" batch norm uses and updates the statistics of the batch.
          draws: int64 [batch], the images' numbers among all that a run draws; networks that are random in training
            need them there.
          mask: float32 [batch, height, width, 1], a factor of the normalised images: 0 hides a pixel.

        Returns:
          By stride, the maps that the head takes and the one of `features`: [batch, ceil(height / stride),
          ceil(width / stride), channels] in the compute type; vgg16 rounds down.

        Raises:
          tf.errors.InvalidArgumentError: the images are too small for the backbone, or of a size that it cannot see.
          ValueError: draws are needed.
        """
        size = tf.shape(images)[1:3]
        tf.debugging.assert_greater_equal(
            size, self._minimum_size, f"{self.backbone} needs {self._minimum_size} pixels a side"
        )
        if self.multiple > 1:
            message = f"{self.backbone} needs heights and widths that are multiples of {self.multiple} pixels"
            tf.debugging.assert_equal(size % self.multiple, 0, message)
        training = training and self.trained_part != "head"
        normalized = self.normalize(images)
        inputs = [normalized if mask is None else normalized * mask]
        if self._backbone_draws:
            inputs.append(_drawn(draws, images, training))
        if training and self._trained:
            maps = self._trained(*inputs)
        else:
            maps = self.feature_extractor(_one_or_all(inputs), training=training)
        return dict(zip(self.map_strides, keras.tree.flatten(maps), strict=True))

    def features(self, images: tf.Tensor, training: bool = False, draws: tf.Tensor | None = None) -> tf.Tensor:
        """Computes the one map that the discriminator and analyses of features see, that of `feature_stride`.

        Args:
          images: see `maps`.
          training: see `maps`.
          draws: see `maps`.

        Returns:
          [batch, ceil(height / feature_stride), ceil(width / feature_stride), feature_channels], see `maps`.
        """
        return self.maps(images, training, draws)[self.feature_stride]

    def classify(
        self, maps: Mapping[int, tf.Tensor] | tf.Tensor, training: bool = False, draws: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Computes C.

        Args:
          maps: those of `maps`; or the one map [batch, height, width, channels], of a head that takes no other.
          training: as for `maps`.
          draws: as for `maps`.

        Returns:
          float32 logits [batch, height, width, num_classes], at `stride`.
        """
        inputs = [maps[stride] for stride in self._taken] if isinstance(maps, Mapping) else [maps]
        if self._head_draws:
            inputs.append(_drawn(draws, inputs[0], training))
        return self.classifier(_one_or_all(inputs), training=training)

    def call(self, images, training=False, draws=None):
        """Computes C(F(images)): float32 logits, at `stride`."""
        return self.classify(self.maps(images, training, draws), training, draws)


def build_segmenter(
    backbone: str,
    num_classes: int,
    batch_norm: str = "frozen",
    seed: int = 0,
    *,
    head: str = "aspp",
    feature_stride: int = 0,
    recompute: bool = False,
    trained_part: str = "all",
    lora_rank: int = 0,
) -> Segmenter:
    """Builds a segmenter with its variables; equal seeds give equal weights.

    Args:
      backbone: "resnet50", "resnet101", "vgg16", "tiny" or another of fada_tf/models/backbones.
      num_classes: K, at least 1.
      batch_norm: "frozen" (stored statistics and affine, constants) or "synchronized" (over all replicas).
      seed: of the initial weights, at least 0.
      head: "aspp" or another of fada_tf/models/heads.
      feature_stride: see `ModelConfig`.
      recompute: see `ModelConfig`.
      trained_part: "all", "head" or "lora": see `ModelConfig.trainable`.
      lora_rank: see `ModelConfig`; it counts for "lora".

    Raises:
      InputError: unknown backbone, head or batch norm; the backbone lacks a map that the head takes, the named one, or
        layers with adapters.
    """
    return Segmenter(
        backbone,
        num_classes,
        batch_norm,
        seed,
        head=head,
        feature_stride=feature_stride,
        recompute=recompute,
        trained_part=trained_part,
        lora_rank=lora_rank,
    )


def _lora_rank(trained_part: str, rank: int, backbone: str, definition: Backbone) -> int:
    """Returns the rank of the backbone's adapters, 0 where it has none."""
    if trained_part != "lora":
        return 0
    if not definition.lora:
        offering = [name for name, variant in _variants(_BACKBONES).items() if variant.lora]
        raise InputError(
            f"backbone {backbone!r} has no attention that adapters of 'lora' would change: choose 'all' or 'head', or "
            f"from {', '.join(offering)}"
        )
    return rank


def check_size(backbone: str, height: int, width: int, where: str) -> None:
    """Raises `InputError` unless a backbone can see images of this size, 0 being none, that `where` gives."""
    multiple, minimum = find_backbone(backbone).multiple, find_backbone(backbone).minimum_size
    if any(0 < side < minimum for side in (height, width)):
        raise InputError(
            f"{where} is {height} x {width} pixels, and backbone {backbone!r} needs {minimum} a side: choose a larger "
            "size"
        )
    if height % multiple or width % multiple:
        fitting = [(side // multiple * multiple, -(-side // multiple) * multiple) for side in (height, width)]
        choices = " or ".join(f"{rows} x {columns}" for rows, columns in zip(*fitting, strict=True) if rows and columns)
        raise InputError(
            f"{where} is {height} x {width} pixels, and backbone {backbone!r} sees multiples of {multiple}: "
            f"choose {choices}"
        )


def _fitting_head(name: str, backbone: str, definition: Backbone) -> Head:
    head = find_head(name)
    if not head.fits(definition.strides):
        fitting = [other for other, variant in _variants(_HEADS).items() if variant.fits(definition.strides)]
        raise InputError(
            f"head {name!r} takes maps of strides {_listed(head.strides)}, and backbone {backbone!r} gives "
            f"{_listed(definition.strides)}: choose from {', '.join(fitting)}"
        )
    return head


def _feature_stride(stride: int, deepest_taken: int, backbone: str, definition: Backbone) -> int:
    """Returns the stride of the named map; a deeper one than the head takes would leave layers without its loss."""
    named = [given for given in definition.strides if given <= deepest_taken]
    if stride and stride not in named:
        raise InputError(
            f"feature_stride {stride} is none of backbone {backbone!r} up to the head's: choose from {_listed(named)}"
        )
    return stride or deepest_taken


def _drawn(draws: tf.Tensor | None, images: tf.Tensor, training: bool) -> tf.Tensor:
    if draws is None and training:
        raise ValueError("this network is random in training: give the draws of the images, batch['draw']")
    return tf.zeros(tf.shape(images)[:1], tf.int64) if draws is None else tf.convert_to_tensor(draws, tf.int64)


def _one_or_all(inputs: list[tf.Tensor]) -> tf.Tensor | list[tf.Tensor]:
    return inputs if len(inputs) > 1 else inputs[0]


def _listed(strides) -> str:
    return ", ".join(map(str, strides))
