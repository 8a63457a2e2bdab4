"""What a segmenter sees in a picture, as Python and notebooks have it."""

import dataclasses
import io
import os

import numpy as np
from PIL import Image

from fada_tf.data import files
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError
from fada_tf.evaluation import pictures

_LARGEST_SHOWN = 1024  # pixels a side in a notebook, which keeps what it shows


@dataclasses.dataclass(frozen=True, eq=False)
class Mask:
    """The class of every pixel of a picture. A notebook shows the classes' colours over the picture.

    Attributes:
      ids: uint8 [height, width], the size of the picture: each pixel's class, by its place in `classes`.
      image: the picture, upright, RGB uint8 [height, width, 3].
      classes: `classes.names` and `classes.colors`, (red, green, blue) in 0..255, both in the order of the ids.
      name: the picture's path; empty where it was no file.

    Example:
      >>> mask = fada_tf.load("runs/street").segment("street.png")
      >>> mask.ids.shape, mask.classes.names
      ((48, 64), ('sky', 'road', 'car'))
      >>> mask.save("street_mask.png")
    """

    ids: np.ndarray
    image: np.ndarray
    classes: LabelSpace
    name: str = ""

    @property
    def shares(self) -> dict[str, float]:
        """The share of the picture's pixels, 0..1, of each class that is in it, by name and the largest first."""
        counts = np.bincount(self.ids.ravel(), minlength=self.classes.num_classes)[: self.classes.num_classes]
        return {self.classes.names[i]: float(counts[i] / self.ids.size) for i in np.argsort(-counts) if counts[i]}

    def overlay(self, opacity: float = 0.5) -> np.ndarray:
        """Returns the picture with the classes' colours over it.

        Args:
          opacity: of the colours, 0..1; with 1, they hide the picture.

        Returns:
          RGB uint8 [height, width, 3].
        """
        if not 0 <= opacity <= 1:
            raise InputError(f"opacity is {opacity}: give a number from 0 to 1")
        return pictures.overlay(self.image, self.ids, self.classes, opacity)

    def save(self, path: str | os.PathLike) -> None:
        """Writes a PNG, whole or not at all: its pixels are the ids, and viewers show the classes' colours.

        Args:
          path: ends in .png; its folder is made if need be.

        Raises:
          InputError: it has another ending, or cannot be written.
        """
        path = os.path.expanduser(os.fspath(path))
        if not path.lower().endswith(".png"):
            raise InputError(f"{path} does not end in .png, the only kind of file here that keeps ids and colours")
        picture = Image.fromarray(self.ids)
        picture.putpalette(self.classes.palette().tobytes())
        content = io.BytesIO()
        picture.save(content, "PNG")
        try:
            files.make_folder(os.path.dirname(path) or ".")
            files.write_atomically(path, content.getvalue())
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}): choose another place") from error

    def _repr_png_(self) -> bytes:
        picture, content = Image.fromarray(self.overlay()), io.BytesIO()
        picture.thumbnail((_LARGEST_SHOWN, _LARGEST_SHOWN))
        picture.save(content, "PNG")
        return content.getvalue()

    def __repr__(self) -> str:
        height, width = self.ids.shape
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in self.shares.items())
        return f"<Mask of {self.name or 'a picture'}, {height} x {width} pixels: {shares}>"
