"""Whether an exported model computes what the trained one does, on real pictures."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from PIL import Image

from fada_tf.data.transforms import resize_image
from fada_tf.errors import InputError
from fada_tf.export import signatures
from fada_tf.export.signatures import ServingOptions
from fada_tf.models.segmenter import Segmenter

MIN_AGREEMENT = 0.999  # share of pixels with the same class; rounding may turn a tie
MAX_DIFFERENCE = 1e-3  # of a probability


@dataclass(frozen=True)
class Parity:
    """How close an exported model comes.

    Attributes:
      agreement: lowest share, over the pictures, of pixels that get the same class.
      difference: largest difference of a probability.
    """

    agreement: float
    difference: float

    def check(self, what: str) -> None:
        """Raises InputError if the exported model is not the trained one."""
        if not (self.agreement >= MIN_AGREEMENT and self.difference <= MAX_DIFFERENCE):
            raise InputError(f"{what} differs from the trained model: {self}; nothing was exported")

    def __str__(self):
        return f"same class in {self.agreement:.4%} of pixels, probabilities within {self.difference:.1e}"


def reference(segmenter: Segmenter, options: ServingOptions, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the trained model's probabilities, computed op by op outside any graph.

    Args:
      segmenter: the model.
      options: size and variant.
      picture: RGB uint8 [height, width, 3].
      size: (height, width) of the result.

    Returns:
      float32 [*size, classes].
    """
    image = tf.constant(picture)
    if options.height:
        image = resize_image(image, (options.height, options.width))
    seen = options.views.logits(segmenter, image[None])
    return options.views.probabilities(segmenter, seen, size)[0].numpy()


def compare(expected: list[np.ndarray], class_maps: list[np.ndarray], probabilities: list[np.ndarray]) -> Parity:
    """Compares, picture by picture, class maps [height, width] and probabilities with the expected probabilities."""
    pairs = zip(expected, class_maps, strict=True)
    agreement = min(float(np.mean(want.argmax(-1) == got)) for want, got in pairs)
    pairs = zip(expected, probabilities, strict=True)
    return Parity(agreement, max(float(np.abs(want - got).max()) for want, got in pairs))


def check_saved_model(
    path: str, expected: list[np.ndarray], pictures: list[np.ndarray], encode: Callable[[np.ndarray], bytes]
) -> dict[str, Parity]:
    """Loads a SavedModel and compares every signature with the trained model.

    Args:
      path: the SavedModel.
      expected: `reference` of every picture at its own size.
      pictures: RGB uint8 [height, width, 3].
      encode: makes a lossless file of a picture.

    Returns:
      The parity of the raw and of the encoded signature.

    Raises:
      InputError: it differs.
    """
    signature = tf.saved_model.load(path).signatures
    raw_maps, encoded_maps, probabilities = [], [], []
    for picture in pictures:
        images = tf.constant(picture[None])
        raw_maps.append(signature[signatures.DEFAULT](images=images)["class_map"][0].numpy())
        probabilities.append(signature[signatures.PROBABILITIES](images=images)["probabilities"][0].numpy())
        outputs = signature[signatures.ENCODED](image_bytes=tf.constant([encode(picture)]))
        encoded_maps.append(np.asarray(Image.open(io.BytesIO(outputs["mask_png_bytes"][0].numpy()))))
    parities = {
        signatures.DEFAULT: compare(expected, raw_maps, probabilities),
        signatures.ENCODED: compare(expected, encoded_maps, probabilities),
    }
    for signature, parity in parities.items():
        parity.check(f"signature {signature}")
    return parities
