"""From picture files to class maps, colour masks and overlays."""

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from fada_tf.data import files, images
from fada_tf.data.labels import LabelSpace
from fada_tf.data.tfrecord import decode_image
from fada_tf.data.transforms import resize_image
from fada_tf.errors import InputError
from fada_tf.evaluation.pictures import colorize, overlay
from fada_tf.evaluation.views import SINGLE_VIEW, Views, predict_class_map
from fada_tf.models.checkpoint import load_segmenter
from fada_tf.models.segmenter import Segmenter
from fada_tf.models.strategy import set_up_devices

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def find_pictures(path: str) -> list[str]:
    """Returns the pictures that a path names: itself, or all in a folder and the folders below, relative to it.

    Raises:
      InputError: nothing is there, or a folder without pictures.
    """
    if not files.exists(path):
        raise InputError(f"{path} does not exist: name a picture or a folder of pictures")
    if not os.path.isdir(path):
        return [os.path.basename(path)]
    found = [name for name in files.walk(path) if name.lower().endswith(SUFFIXES)]
    if not found:
        raise InputError(f"{path} holds no pictures ({', '.join(SUFFIXES)}): name another folder")
    return found


class Predictor:
    """Segments pictures of any size with a segmenter that works at one size."""

    def __init__(self, segmenter: Segmenter, height: int, width: int, views: Views = SINGLE_VIEW):
        """Sets up the predictor.

        Args:
          segmenter: the model.
          height: pixels, to which pictures are resized before the model.
          width: pixels.
          views: how the segmenter looks at the resized picture.
        """
        self.segmenter = segmenter
        self.size = (height, width)
        self.views = views
        self._run = tf.function(self._predict, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])

    def _predict(self, image: tf.Tensor) -> tf.Tensor:
        resized = tf.ensure_shape(resize_image(image, self.size), [*self.size, 3])
        logits = self.views.logits(self.segmenter, resized[None])
        return tf.cast(predict_class_map(logits, tf.shape(image)[:2])[0], tf.uint8)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns uint8 class ids [height, width] for an RGB image, uint8 [height, width, 3]."""
        return self._run(image).numpy()


@dataclasses.dataclass(frozen=True)
class SavedPredictor:
    """A `Predictor` by what it is made of, so that other processes can be given it.

    Attributes:
      checkpoint: run directory or checkpoint, which they can read.
      height: pixels, to which pictures are resized before the model.
      width: pixels.
      views: how the segmenter looks at the resized picture.
    """

    checkpoint: str
    height: int
    width: int
    views: Views = SINGLE_VIEW

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns uint8 class ids [height, width] for an RGB image, uint8 [height, width, 3]."""
        return _loaded(self)(image)


@functools.lru_cache(maxsize=1)
def _loaded(saved: SavedPredictor) -> Predictor:
    set_up_devices()
    return Predictor(load_segmenter(saved.checkpoint), saved.height, saved.width, saved.views)


def read_picture(path: str) -> np.ndarray:
    """Returns a picture file upright as RGB, uint8 [height, width, 3].

    Raises:
      InputError: the file cannot be read as an 8-bit picture.
    """
    try:
        return decode_image(images.to_stored(files.read_bytes(path)).data).numpy()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): name a picture") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def write_predictions(
    predictor: Predictor, label_space: LabelSpace, folder: str, names: Iterable[str], output: str
) -> Iterator[str]:
    """Writes three PNGs for every picture, each whole or not at all, and yields the picture's name when they are there.

    Args:
      predictor: the segmenter.
      label_space: the classes' colours.
      folder: where the pictures are.
      names: of the pictures, relative to `folder`.
      output: gets ids/NAME.png (class ids), masks/NAME.png (colours) and overlays/NAME.png.

    Raises:
      InputError: a name leads out of `folder`, two pictures would have one result, or one cannot be read; the ones
        before that are written.
    """
    owners: dict[str, str] = {}
    for name in names:
        result = files.join_inside("", os.path.splitext(name)[0] + ".png")
        if owners.setdefault(result, name) != name:
            raise InputError(f"{owners[result]} and {name} would both be written as {result}: rename one of them")
        image = read_picture(os.path.join(folder, name))
        class_map = predictor(image)
        results = {
            "ids": class_map,
            "masks": colorize(class_map, label_space),
            "overlays": overlay(image, class_map, label_space),
        }
        for kind, pixels in results.items():
            path = os.path.join(output, kind, result)
            files.make_folder(os.path.dirname(path))
            files.write_atomically(path, images.encode_png(pixels))
        yield name
