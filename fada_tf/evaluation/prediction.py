"""From picture files to class maps, colour masks and overlays."""

import collections
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import tensorflow as tf
from PIL import Image

from fada_tf import forms
from fada_tf.data import files, images
from fada_tf.data.ahead import map_ahead
from fada_tf.data.labels import LabelSpace
from fada_tf.data.tfrecord import decode_image
from fada_tf.data.transforms import resize_image
from fada_tf.devices import set_up_devices
from fada_tf.errors import InputError
from fada_tf.evaluation.pictures import colorize, legend, overlay
from fada_tf.evaluation.views import SINGLE_VIEW, Views, of_picture
from fada_tf.models.class_maps import Seen
from fada_tf.models.segmenter import Segmenter
from fada_tf.runs.checkpoint import load_segmenter, run_config


def find_pictures(path: str) -> tuple[str, list[str]]:
    """Returns a folder and the pictures in it, relative to it, that a path names.

    Args:
      path: of a picture, or of a folder: all pictures in it and in the folders below. May be a remote one.

    Raises:
      InputError: nothing is there, or a folder without pictures.
    """
    if not files.exists(path):
        raise InputError(f"{path} does not exist: name a picture or a folder of pictures")
    if not files.is_folder(path):
        name = os.path.basename(path)
        return path.removesuffix(name), [name]
    names = [name for name in files.walk(path) if name.lower().endswith(images.SUFFIXES)]
    if not names:
        raise InputError(f"{path} holds no pictures ({', '.join(images.SUFFIXES)}): name another folder")
    return path, names


def read_picture(path: str) -> np.ndarray:
    """Returns a picture file upright as RGB, uint8 [height, width, 3].

    Raises:
      InputError: the file cannot be read as an 8-bit picture.
    """
    try:
        return decode_image(images.to_stored(files.read_bytes(path)).data).numpy()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): name a picture") from error
    except tf.errors.OpError as error:  # it lies elsewhere and cannot be read, or is not what Pillow takes it for
        raise InputError(f"{path} cannot be read ({error.message}): name a picture, or store it anew") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def as_pictures(picture) -> np.ndarray:
    """Returns what a caller takes for a picture, or for several of one size, as RGB pixels.

    Args:
      picture: the path of a file; or a Pillow image, array or tensor of integers in 0..255, [height, width],
        [height, width, channels] or [batch, height, width, channels], of 1 (grey), 3 (RGB) or 4 channels, of which the
        last, the opacity, does not count.

    Returns:
      uint8 [height, width, 3] or [batch, height, width, 3].

    Raises:
      InputError: it is none of these.
    """
    if isinstance(picture, str | os.PathLike):
        return read_picture(os.fspath(picture))
    if isinstance(picture, Image.Image) and not picture.mode.startswith(("I", "F")):  # those have more than 8 bits
        picture = picture.convert("RGB")
    pixels = np.asarray(picture)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim not in (3, 4) or pixels.shape[-1] not in (1, 3, 4) or not pixels.size:
        raise InputError(
            f"a picture of the shape {pixels.shape} cannot be segmented: give [height, width, 3], RGB, or several of "
            "one size as [batch, height, width, 3]"
        )
    if pixels.dtype.kind not in "iu" or pixels.min() < 0 or pixels.max() > 255:
        raise InputError(
            f"a picture of {pixels.dtype} from {pixels.min()} to {pixels.max()} cannot be segmented: give integers in "
            "0..255, uint8; of a picture in 0..1 they are np.rint(255 * picture).astype(np.uint8)"
        )
    colours = pixels[..., :3] if pixels.shape[-1] > 1 else np.repeat(pixels, 3, axis=-1)
    return colours.astype(np.uint8)


class Segments(Protocol):
    """Whoever segments pictures."""

    def segment(self, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields uint8 class ids [height, width] for each RGB picture, uint8 [height, width, 3], in order."""

    def check(self, picture: np.ndarray) -> None:
        """Raises `InputError` if a picture cannot be segmented because of its size."""


class Predictor:
    """Segments pictures of any size, resized to one size or at their own."""

    def __init__(
        self,
        segmenter: Segmenter,
        height: int,
        width: int,
        views: Views = SINGLE_VIEW,
        *,
        batch_size: int = 1,
        progress: Callable[[int, int], object] | None = None,
    ):
        """Sets up the predictor.

        Args:
          segmenter: the model.
          height: pixels, to which pictures are resized before the model; 0: they keep their own size.
          width: pixels, 0 where the height is.
          views: how the segmenter looks at the picture of that size.
          batch_size: pictures that the segmenter sees at a time; windows of one picture, where the views have them.
          progress: called with the number of windows of a picture that have been seen, and that of all it has.
        """
        self.segmenter = segmenter
        self.size = (height, width) if height and width else (None, None)
        self.views = views
        self.batch_size = batch_size
        self._progress, self._seen_windows, self._all_windows = progress, 0, 0
        self._resize = tf.function(self._resized, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
        batch = tf.TensorSpec([None, *self.size, 3], tf.uint8)
        self._logits = tf.function(self._seen, [batch], autograph=False)
        self._class_map = tf.function(self._class_map_of, autograph=False, reduce_retracing=True)

    def _resized(self, image: tf.Tensor) -> tf.Tensor:
        if None in self.size:
            return image
        with tf.device("CPU:0"):  # beside what a GPU does with the pictures before
            return tf.ensure_shape(resize_image(image, self.size), [*self.size, 3])

    def _seen(self, images: tf.Tensor) -> list[Seen]:
        progress = self._count if self._progress else None
        return self.views.logits(self.segmenter, images, at_once=self.batch_size, progress=progress)

    def _count(self, windows: int) -> None:
        self._seen_windows += windows
        self._progress(self._seen_windows, self._all_windows)

    def _class_map_of(self, seen: list[Seen], size: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.views.class_map(self.segmenter, seen, size)[0], tf.uint8)

    def segment(self, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields uint8 class ids [height, width] for each RGB picture, uint8 [height, width, 3], in order."""
        together = 1 if self.views.windows or None in self.size else self.batch_size
        prepared = map_ahead(lambda picture: (self._resize(picture), picture.shape[:2]), pictures, together + 1)
        while batch := list(itertools.islice(prepared, together)):
            self._seen_windows, self._all_windows = 0, self.views.number_of_windows(*batch[0][0].shape[:2])
            seen = self._logits(tf.stack([image for image, _ in batch]))
            for index, (_, size) in enumerate(batch):
                yield self._class_map(of_picture(seen, index), tf.constant(size)).numpy()

    def check(self, picture: np.ndarray) -> None:
        """Raises `InputError` if a picture that keeps its own size is one that the segmenter cannot see."""
        if None in self.size:
            self.views.check(self.segmenter.backbone, *picture.shape[:2])

    def __call__(self, picture) -> np.ndarray:
        """Returns uint8 class ids [height, width] for a picture, or [batch, height, width]; see `as_pictures`."""
        pixels = as_pictures(picture)
        maps = np.stack(list(self.segment(pixels.reshape(-1, *pixels.shape[-3:]))))
        return maps.reshape(pixels.shape[:-1])


@dataclasses.dataclass(frozen=True)
class SavedPredictor:
    """A `Predictor` by what it is made of, so that other processes can be given it.

    Attributes:
      checkpoint: run directory or checkpoint, which they can read.
      height: see `Predictor`.
      width: see `Predictor`.
      views: how the segmenter looks at a picture.
      batch_size: see `Predictor`.
      convolutions: their form, see `forms.chosen`.
    """

    checkpoint: str
    height: int
    width: int
    views: Views = SINGLE_VIEW
    batch_size: int = 1
    convolutions: str = "automatic"

    def segment(self, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields uint8 class ids [height, width] for each RGB picture, uint8 [height, width, 3], in order."""
        with forms.chosen(self.convolutions):
            yield from _loaded(self).segment(pictures)

    def check(self, picture: np.ndarray) -> None:
        """Raises `InputError` if a picture that keeps its own size is one that the segmenter cannot see."""
        if not self.height:
            self.views.check(run_config(self.checkpoint).model.backbone, *picture.shape[:2])


@functools.lru_cache(maxsize=1)
def _loaded(saved: SavedPredictor) -> Predictor:
    set_up_devices()
    segmenter = load_segmenter(saved.checkpoint)
    return Predictor(segmenter, saved.height, saved.width, saved.views, batch_size=saved.batch_size)


def segment_files(
    predictor: Segments, folder: str, names: Iterable[str], bad: Callable[[InputError], object] | None = None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yields name, RGB pixels, uint8 [height, width, 3], and class ids, uint8 [height, width], of picture files.

    Args:
      predictor: the segmenter.
      folder: where the pictures are.
      names: of the pictures, relative to `folder`.
      bad: called for each picture that cannot be read, which is left out; None: the first one is raised.

    Raises:
      InputError: a picture cannot be read.
    """
    waiting: collections.deque[tuple[str, np.ndarray]] = collections.deque()
    last: list[InputError] = []

    def read(name: str) -> tuple[str, np.ndarray | InputError]:
        path = os.path.join(folder, name)
        try:
            return name, checked(read_picture(path), predictor, path)
        except InputError as error:
            return name, error

    def pictures() -> Iterator[np.ndarray]:
        for name, picture in map_ahead(read, names):
            if not isinstance(picture, InputError):
                waiting.append((name, picture))
                yield picture
            elif bad:
                bad(picture)
            else:
                last.append(picture)  # to be raised when those before it, which are drawn ahead, are segmented
                return

    for class_map in predictor.segment(pictures()):
        yield (*waiting.popleft(), class_map)
    if last:
        raise last[0]


def checked(picture: np.ndarray, predictor: Segments, where: str) -> np.ndarray:
    """Returns a picture that `where` names; raises `InputError` if it cannot be segmented because of its size."""
    try:
        predictor.check(picture)
    except InputError as error:
        raise InputError(f"{where}: {error}; or give --height and --width") from error
    return picture


def write_predictions(
    predictor: Segments,
    label_space: LabelSpace,
    folder: str,
    names: Iterable[str],
    output: str,
    bad: Callable[[InputError], object] | None = None,
) -> Iterator[str]:
    """Writes three PNGs for every picture, each whole or not at all, and yields the picture's name when they are there.

    Args:
      predictor: the segmenter.
      label_space: the classes' colours.
      folder: where the pictures are.
      names: of the pictures, relative to `folder`.
      output: gets ids/NAME.png (class ids), masks/NAME.png (colours) and overlays/NAME.png; and legend.png, which
        names the colours.
      bad: see `segment_files`.

    Raises:
      InputError: a name leads out of `folder`, or two pictures would have one result: nothing is written. A picture
        cannot be read: the ones before that are written.
    """
    results = result_names(names, lambda name: files.join_inside("", os.path.splitext(name)[0] + ".png"))
    files.make_folder(output)
    files.write_atomically(os.path.join(output, "legend.png"), images.encode_png(legend(label_space)))

    def write(segmented: tuple[str, np.ndarray, np.ndarray]) -> str:
        name, image, class_map = segmented
        drawn = {
            "ids": class_map,
            "masks": colorize(class_map, label_space),
            "overlays": overlay(image, class_map, label_space),
        }
        for kind, pixels in drawn.items():
            path = os.path.join(output, kind, results[name])
            files.make_folder(os.path.dirname(path))
            files.write_atomically(path, images.encode_png(pixels))
        return name

    yield from map_ahead(write, segment_files(predictor, folder, results, bad))


def result_names(names: Iterable[str], result_of: Callable[[str], str]) -> dict[str, str]:
    """Returns the file that each picture's result goes to, by the picture's name.

    Raises:
      InputError: two pictures would have one.
    """
    results: dict[str, str] = {}
    owners: dict[str, str] = {}
    for name in names:
        results[name] = result_of(name)
        if owners.setdefault(results[name], name) != name:
            raise InputError(
                f"{owners[results[name]]} and {name} would both be written as {results[name]}: rename one of them"
            )
    return results
