"""What a head file offers: `VARIANTS`, a `Head` by the name that users give, which begins with the file's."""

import dataclasses
from collections.abc import Callable, Mapping

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Head:
    """A classifier of pixels that is yet to be built.

    Attributes:
      build: ({stride: channels} of the maps it takes, number of classes K, kind of batch norm, source of seeds) -> a
        model named "classifier", from the list of those maps by ascending stride, or the one map, to float32 logits
        [batch, height, width, K]. Its layers have names, others than the backbones' layers. Where `draws` is set, the
        images' draws, int64 [batch], are the list's last entry.
      strides: of the maps it takes; empty: the deepest map, whatever its stride.
      upsampling: pixels of the logits a pixel of the largest map it takes, along each axis.
      draws: whether it is random in training, by `fada_tf.randomness` (dropout).
      align_corners: how its logits are brought to the size of the labels, see `Interpolation`.
    """

    build: Callable[[Mapping[int, int], int, str, np.random.Generator], keras.Model]
    strides: tuple[int, ...] = ()
    upsampling: int = 1
    draws: bool = False
    align_corners: bool = True

    def takes(self, given: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the ascending strides of the maps that it takes of a backbone with maps of the strides `given`."""
        return tuple(sorted(self.strides)) or given[-1:]

    def fits(self, given: tuple[int, ...]) -> bool:
        """Tells whether a backbone with maps of the strides `given` has all maps that it takes."""
        return set(self.takes(given)) <= set(given)
