"""`fada_tf.load`: from a folder on disk to a segmenter that takes pictures."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fada_tf.api.exported import ExportedPredictor, find_export
from fada_tf.api.mask import Mask
from fada_tf.data import files
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.devices import inference_batch_size, set_up_devices
from fada_tf.errors import InputError
from fada_tf.evaluation import prediction
from fada_tf.evaluation.confusion import Scores
from fada_tf.evaluation.evaluator import evaluator_of_records
from fada_tf.evaluation.views import Views
from fada_tf.runs import checkpoint
from fada_tf.windows import AVERAGES


class TrainedSegmenter:
    """A trained segmenter, which sees all pictures in one way; `load` and `adapt` return it.

    Attributes:
      classes: `classes.names` and `classes.colors`, in the order of the ids.
      path: of what was loaded.
    """

    def __init__(
        self, path: str, classes: LabelSpace, predictor: prediction.Predictor | ExportedPredictor, records: str = ""
    ):
        """Sets up the segmenter; users call `load`.

        Args:
          path: of what was loaded.
          classes: of its ids.
          predictor: segments.
          records: the labelled records of the run's own evaluation; empty: none are known.
        """
        self.path, self.classes = path, classes
        self._predictor, self._records = predictor, records

    def segment(self, pictures: Any) -> Any:
        """Segments a picture, or several.

        Args:
          pictures: the path of a picture; a Pillow image, array or tensor of integers in 0..255, [height, width],
            [height, width, channels] of 1 (grey), 3 (RGB) or 4 channels (the last, opacity, does not count); the path
            of a folder of pictures, an array [batch, height, width, channels], or a list of any of these.

        Returns:
          A `Mask` of the picture's own size; for a folder, a batch or a list, a list of them in order.

        Raises:
          InputError: what was given is no picture, or cannot be read; the message names it.

        Example:
          >>> street = fada_tf.load("runs/street")
          >>> street.segment("street.png").ids.shape
          (48, 64)
          >>> len(street.segment(["street.png", np.zeros([20, 30, 3], np.uint8)]))
          2
        """
        read = list(_read(pictures))
        for name, pixels in read:
            try:
                self._predictor.check(pixels)
            except InputError as error:
                raise InputError(f"{name}: {error}" if name else str(error)) from error
        class_maps = self._predictor.segment(pixels for _, pixels in read)
        masks = [Mask(ids, pixels, self.classes, name) for ids, (name, pixels) in zip(class_maps, read, strict=True)]
        return masks if _are_several(pictures) else masks[0]

    def evaluate(self, records: str | os.PathLike = "") -> Scores:
        """Scores the segmenter on labelled images, each at its own size, on one device.

        Args:
          records: folder that `fada-tf make_tfrecords` wrote, or several with commas between them; empty: those of the
            run's own evaluation.

        Returns:
          Scores with `mean_iou` and `pixel_accuracy`, 0..1, `class_iou`, float64 [classes], and `table()`, a text.

        Raises:
          InputError: there are no such records, their labels are of other classes, or none were given and the run
            names none.

        Example:
          >>> scores = fada_tf.load("runs/street").evaluate("records/street_val")
          >>> bool(0 <= scores.mean_iou <= 1)
          True
        """
        records = os.path.expanduser(os.fspath(records)) or self._records
        if not records:
            raise InputError(
                f"{self.path} names no evaluation records: give a folder that fada-tf make_tfrecords wrote"
            )
        height, width = (side or 0 for side in self._predictor.size)
        evaluator = evaluator_of_records(
            self._predictor.segmenter, Manifest.load(records), self.classes,
            height=height, width=width, batch_size=self._predictor.batch_size, views=self._predictor.views,
        )  # fmt: skip
        evaluator.evaluate(-1)
        return evaluator.scores

    def __repr__(self) -> str:
        return f"<TrainedSegmenter of {self.path}: {', '.join(self.classes.names)}>"


def load(
    path: str | os.PathLike,
    *,
    network: str | None = None,
    height: int = 0,
    width: int = 0,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: str = "",
    stride: str = "",
    average: str = AVERAGES[0],
    batch_size: int = 0,
) -> TrainedSegmenter:
    """Loads a trained segmenter. What is not given is as the run was evaluated, or as the model was exported.

    Only of what `fada-tf export_model` wrote is a graph executed, so load exports of people whom you trust. From runs
    and packages, settings and weights are read, and no code.

    Args:
      path: a run directory (its newest checkpoint), RUN/best or a checkpoint; a folder of `fada-tf package`; or one of
        `fada-tf export_model`, MODELS/NAME (its highest version) or MODELS/NAME/VERSION.
      network: "student" or "teacher", of a run that has both; None: the one that its config says.
      height: pixels that pictures are resized to before the network sees them.
      width: as `height`.
      scales: factors on that size, whose results are averaged (the paper's test: 0.7, 1, 1.3).
      flip: average with the mirrored picture, at every scale.
      window: "HEIGHTxWIDTH" in pixels: see pictures by sliding windows, at their own size unless a side is given;
        "none": whole, where the run was evaluated by windows.
      stride: "HEIGHTxWIDTH" in pixels, from window to window; empty: two thirds of the window.
      average: "logits" or "softmax", what is averaged where windows overlap.
      batch_size: pictures, or windows of one, at a time; 0: 4 on a GPU, 1 on a CPU.

    Raises:
      InputError: there is no trained segmenter, or it cannot see pictures in this way.

    Example:
      >>> fada_tf.load("runs/street")
      <TrainedSegmenter of runs/street: sky, road, car>
      >>> careful = fada_tf.load("runs/street", scales=[0.7, 1, 1.3], flip=True)
    """
    place = os.path.expanduser(os.fspath(path)).rstrip("/") or os.fspath(path)
    views = {"scales": scales, "flip": flip, "window": window, "stride": stride, "average": average}
    if folder := find_export(place):
        _refuse_options({"network": network, "height": height, "width": width, "batch_size": batch_size} | views, place)
        predictor = ExportedPredictor(folder)
        return TrainedSegmenter(place, predictor.classes, predictor)
    if not (files.is_folder(place) or files.exists(f"{place}.index")):
        raise InputError(
            f"{place} is no folder and no checkpoint: name a run directory of fada-tf train, RUN/best, a checkpoint, "
            "or a folder of fada-tf package or fada-tf export_model"
        )
    set_up_devices()
    with _options_as_arguments():
        height, width, windows = checkpoint.sight(place, height, width, window, stride, average)
        chosen = Views.parse([str(scale) for scale in scales], flip, windows)
    config = checkpoint.run_config(place)
    chosen.check(config.model.backbone, height, width)
    segmenter = checkpoint.load_segmenter(place, network)
    loaded = prediction.Predictor(segmenter, height, width, chosen, batch_size=batch_size or inference_batch_size())
    return TrainedSegmenter(place, checkpoint.run_label_space(place), loaded, config.data.evaluation.records)


_DEFAULTS = {"scales": (1.0,), "average": AVERAGES[0]}  # of options that are else nothing when not given


def _refuse_options(options: dict[str, Any], path: str) -> None:
    """Raises an `InputError` if one was given, for a model whose views are fixed."""
    given = [name for name, value in options.items() if value and value != _DEFAULTS.get(name)]
    if given:
        raise InputError(
            f"{given[0]}={options[given[0]]!r} cannot be changed in {path}, which was exported: leave it out, or load "
            "the run that it was exported from"
        )


@contextlib.contextmanager
def _options_as_arguments() -> Iterator[None]:
    """Names, in errors of what programs share, arguments such as `height` where those say --height."""
    try:
        yield
    except InputError as error:
        raise InputError(re.sub(r"--(?=[a-z])", "", str(error))) from error


def _are_several(pictures: Any) -> bool:
    if isinstance(pictures, str | os.PathLike):
        return files.is_folder(_expanded(pictures))
    return isinstance(pictures, list | tuple) or getattr(pictures, "ndim", 0) == 4


def _read(pictures: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the path, empty where there is none, and the pixels, RGB uint8 [height, width, 3], of each picture."""
    if isinstance(pictures, str | os.PathLike):
        folder, names = prediction.find_pictures(_expanded(pictures))
        for path in (os.path.join(folder, name) for name in names):
            yield path, prediction.read_picture(path)
    elif isinstance(pictures, list | tuple):
        for picture in pictures:
            yield from _read(picture)
    else:
        pixels = prediction.as_pictures(pictures)
        yield from (("", each) for each in pixels.reshape(-1, *pixels.shape[-3:]))


def _expanded(path: str | os.PathLike) -> str:
    return os.path.expanduser(os.fspath(path))
