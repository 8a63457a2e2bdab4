"""What a backbone file offers: `VARIANTS`, a `Backbone` by the name that users give, which begins with the file's."""

import dataclasses
from collections.abc import Callable, Collection

import keras
import numpy as np
import tensorflow as tf

# What PyTorch calls the variables of a layer.
TORCH_VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
Maps = dict[int, keras.KerasTensor]  # by stride: pixels of the image a pixel of the map


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


# https://github.com/JDAI-CV/FADA/blob/a1c6403/core/configs/defaults.py#L20-L21
IMAGENET_RGB = Normalization("RGB", 1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclasses.dataclass(frozen=True)
class Published:
    """A form in which weights of a backbone are published for PyTorch.

    Attributes:
      by: who publishes them.
      license: under which they stand, and for what.
      names: from the path of a weight here to their names of the tensors that it consists of, side by side along the
        outputs.
      extra: their names of tensors that nothing here needs.
      prefixes: before all names, in files of larger models.
    """

    by: str
    license: str
    names: Callable[[str], tuple[str, ...]]
    extra: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    @property
    def notice(self) -> str:
        """What users read where such weights are loaded."""
        return f"licence of the weights that {self.by} published: {self.license}"


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A feature extractor that is yet to be built.

    Attributes:
      maps: (normalised images [batch, height, width, 3], kind of batch norm, source of seeds) -> the deepest map of
        every stride, [batch, ceil(height / stride), ceil(width / stride), channels]; vgg16 rounds down. Its layers have
        names, which weights are found by. Where `draws` is set, its last argument are the images' draws, int64 [batch].
      strides: of those maps, ascending.
      normalization: of its input.
      fresh_layers: names of the layers that weights pretrained on ImageNet lack.
      imagenet_weights: returns those weights by variable path, downloading them; None: they cannot be downloaded.
      minimum_size: smallest height and width it can see.
      multiple: of which heights and widths must be multiples.
      draws: whether it is random in training, by `fada_tf.randomness` (drop path).
      block_ends: pattern of the names of the layers whose outputs are, beside the inputs, all that the layers after
        them need; without it there is no recomputation.
      published: the forms in which its weights are published, beside that of the authors' code.
      lora: whether `maps` takes a further argument `lora_rank` and, where that is not 0, adds low-rank adapters, see
        `fada_tf.models.lora`.
    """

    maps: Callable[..., Maps]
    strides: tuple[int, ...]
    normalization: Normalization
    fresh_layers: tuple[str, ...] = ()
    imagenet_weights: Callable[[], dict[str, np.ndarray]] | None = None
    minimum_size: int = 1
    multiple: int = 1
    draws: bool = False
    block_ends: str = ""
    published: tuple[Published, ...] = ()
    lora: bool = False

    def build(
        self,
        name: str,
        batch_norm: str,
        rng: np.random.Generator,
        strides: Collection[int] = (),
        *,
        lora_rank: int = 0,
    ) -> keras.Model:
        """Builds the feature extractor, without the layers that no map of `strides` needs.

        Args:
          name: of the model.
          batch_norm: "frozen" or "synchronized".
          rng: source of the seeds of the initial weights.
          strides: of the maps that are wanted; empty: the deepest alone.
          lora_rank: of the adapters; 0: there are none.

        Returns:
          A functional model of normalised images [batch, height, width, 3], or of the list of them and their draws. It
          gives the list of maps by ascending stride, or the one map.
        """
        images = keras.Input((None, None, 3), name="images")
        draws = [keras.Input((), name="draws", dtype="int64")] if self.draws else []
        adapters = {"lora_rank": lora_rank} if lora_rank else {}
        maps = self.maps(images, batch_norm, rng, *draws, **adapters)
        wanted = [maps[stride] for stride in sorted(strides or self.strides[-1:])]
        return keras.Model([images, *draws] if draws else images, wanted if len(wanted) > 1 else wanted[0], name=name)
