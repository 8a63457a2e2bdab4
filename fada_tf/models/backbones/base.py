"""What a backbone file offers: `VARIANTS`, a `Backbone` by the name that users give."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Normalization:
    """How images become a backbone's input: (image * scale - mean) / std, channel by channel.

    Attributes:
      channels: "RGB" or "BGR", the order of the input's channels and of `mean` and `std`.
      scale: factor on values in 0..255.
      mean: subtracted from the scaled values.
      std: divides what is left.
    """

    channels: str
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Normalises RGB images [batch, height, width, 3] in 0..255, of any type, to float32."""
        images = tf.cast(images, tf.float32)
        if self.channels == "BGR":
            images = images[..., ::-1]
        return (images * self.scale - tf.constant(self.mean)) / tf.constant(self.std)


IMAGENET_RGB = Normalization("RGB", 1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A feature extractor that is yet to be built.

    Attributes:
      build: (kind of batch norm, source of seeds) -> functional model of normalised images [batch, height, width, 3],
        with features [batch, ceil(height / 8), ceil(width / 8), channels]; vgg16 rounds down.
      normalization: of its input.
      fresh_layers: names of the layers that weights pretrained on ImageNet lack.
      imagenet_weights: returns those weights by "layer/variable", downloading them; None: they cannot be downloaded.
      minimum_size: smallest height and width it can see.
      block_ends: pattern of the names of the layers whose outputs are all that the layers after them need;
        without it there is no recomputation.
    """

    build: Callable[[str, np.random.Generator], keras.Model]
    normalization: Normalization
    fresh_layers: tuple[str, ...] = ()
    imagenet_weights: Callable[[], dict[str, np.ndarray]] | None = None
    minimum_size: int = 1
    block_ends: str = ""
