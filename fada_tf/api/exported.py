"""Segmenting with what `fada-tf export_model` wrote: the size and the views of pictures are fixed in its graph."""

import os
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from fada_tf.data import files
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError
from fada_tf.export import signatures, version


def find_export(path: str) -> str:
    """Returns the folder of an exported model that `path` names: a version, or MODELS/NAME, its highest; else ""."""
    if files.exists(os.path.join(path, version.GRAPH)):
        return path
    names = files.list_folder(path) if files.is_folder(path) else []
    for number in sorted((int(name) for name in map(_bare, names) if name.isdecimal()), reverse=True):
        if files.exists(os.path.join(path, str(number), version.GRAPH)):
            return os.path.join(path, str(number))
    return ""


def _bare(name: str) -> str:
    return name.rstrip("/")  # remote folders are listed with it


class ExportedPredictor:
    """Segments pictures as `prediction.Predictor` does, and is its own `Views`: it shows an evaluation its class maps.

    Attributes:
      classes: of the model.
      size: none: pictures come as they are.
      batch_size: pictures at a time.
    """

    def __init__(self, folder: str):
        """Loads the model.

        Raises:
          InputError: it cannot be read, or is of another program.
        """
        self.size, self.batch_size, self.segmenter, self.views = (None, None), 1, None, self
        self._folder = folder
        try:
            self.classes = LabelSpace.from_json(files.read_json(os.path.join(folder, "assets", version.CLASSES_ASSET)))
            self._model = tf.saved_model.load(folder)
            self._class_maps = self._model.signatures[signatures.DEFAULT]
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise InputError(f"{folder} is no model of fada-tf export_model ({reason}): export it again") from error

    def segment(self, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields uint8 class ids [height, width] for each RGB picture, uint8 [height, width, 3], in order.

        Raises:
          InputError: the model refuses a picture, for example one of too many pixels.
        """
        for picture in pictures:
            try:
                class_map = self._maps_of(tf.constant(picture[None]))[0].numpy()
            except tf.errors.InvalidArgumentError as error:
                reason = " ".join(error.message.split("\n")[0].split())[:200]
                size = " x ".join(map(str, picture.shape[:2]))
                raise InputError(
                    f"{self._folder} refuses a picture of {size} pixels ({reason}): export it anew for such ones"
                ) from error
            yield class_map

    def check(self, picture: np.ndarray) -> None:
        """Does nothing: the graph knows which pictures it takes."""

    def logits(self, segmenter: None, images: tf.Tensor) -> list[tf.Tensor]:
        """Returns what `class_map` takes: here, the class maps themselves; see `Views.logits`."""
        del segmenter
        return [self._maps_of(images)]

    def class_map(self, segmenter: None, seen: list[tf.Tensor], size: tf.Tensor) -> tf.Tensor:
        """Returns int32 [batch, *size]; the size must be that of the images; see `Views.class_map`."""
        del segmenter
        return tf.ensure_shape(tf.cast(seen[0], tf.int32), [None, None, None])

    def _maps_of(self, images: tf.Tensor) -> tf.Tensor:
        return self._class_maps(**{signatures.IMAGES: images})["class_map"]
