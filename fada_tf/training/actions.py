"""What happens between the loops: the log line, metrics.jsonl, pictures, the best checkpoint."""

import collections
import contextlib
import datetime
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import TextIO

import numpy as np
import tensorflow as tf

from fada_tf.config import NETWORKS
from fada_tf.data import files
from fada_tf.data.images import encode_png
from fada_tf.data.labels import LabelSpace
from fada_tf.evaluation.pictures import colorize, grey, side_by_side
from fada_tf.evaluation.views import SINGLE_VIEW, Views
from fada_tf.methods.base import Method, Watcher
from fada_tf.models.segmenter import Segmenter
from fada_tf.runs import layout
from fada_tf.runs.metrics import MetricsFile

_WINDOW = 20  # log lines that a loss is compared with
_SPIKE = 3.0
_HIDDEN = 127.0  # the grey of what a mask hides, which networks see as the mean colour
_LOSS, _WATCHED = "loss/", "watched/"  # see `Method.metric_names`
_TOLD = f"{_WATCHED}confident_share"  # of all that is watched, what the log line has room for


def _named(output: Mapping[str, float], kind: str) -> dict[str, float]:
    return {name.removeprefix(kind): value for name, value in output.items() if name.startswith(kind)}


def tell(stream: TextIO, line: str) -> None:
    """Writes a line for people; where a closed terminal cannot take it any more, a run goes on to its checkpoint."""
    with contextlib.suppress(OSError):
        stream.write(f"{line}\n")
        stream.flush()


class LogTraining:
    """After every loop: writes metrics.jsonl and one line for people."""

    def __init__(self, step: tf.Variable, iterations: int, metrics: MetricsFile, stream: TextIO):
        self.step, self.iterations, self.metrics, self.stream = step, iterations, metrics, stream

    def __call__(self, output: dict[str, float]) -> None:
        """Reports what `Trainer.train_loop_end` returned."""
        step = int(self.step.numpy())
        told = _named(output, _LOSS) | ({_TOLD.removeprefix(_WATCHED): output[_TOLD]} if _TOLD in output else {})
        listing = "  ".join(f"{name} {value:.4f}" for name, value in told.items())
        self.metrics.write("train", step, output)
        speed = ""
        if seconds := output.get("speed/seconds_per_step"):
            remaining = datetime.timedelta(seconds=round(seconds * (self.iterations - step)))
            images = output["speed/images_per_second"]
            speed = f"  {1 / seconds:.2f} steps/s  {images:.2f} images/s  ETA {remaining}"
        tell(self.stream, f"{step:>6}/{self.iterations}  {listing}{speed}")


class WarnOfLosses:
    """After every loop: warns of a loss that jumped, and of what the method watches."""

    def __init__(self, step: tf.Variable, watchers: Sequence[Watcher], stream: TextIO):
        self.step, self.stream = step, stream
        self._spikes, self._watchers = LossSpikes(), watchers

    def __call__(self, output: dict[str, float]) -> None:
        """Looks at what `Trainer.train_loop_end` returned."""
        losses = _named(output, _LOSS)
        measured = losses | _named(output, _WATCHED)
        for warning in (self._spikes(losses), *(watcher(measured) for watcher in self._watchers)):
            if warning:
                tell(self.stream, f"warning: iteration {int(self.step.numpy())}: {warning}")


class LossSpikes:
    """Warns of losses that are far above what they were lately."""

    def __init__(self):
        self._earlier: dict[str, collections.deque] = {}

    def __call__(self, losses: Mapping[str, float]) -> str | None:
        """Compares each loss with its median of the last lines."""
        warnings = []
        for name, value in losses.items():
            earlier = self._earlier.setdefault(name, collections.deque(maxlen=_WINDOW))
            if len(earlier) >= _WINDOW // 4 and value > _SPIKE * statistics.median(earlier):
                median = f"{_SPIKE:g} times its median of the last {len(earlier)} lines"
                warnings.append(f"loss {name} {value:.4g} is over {median}")
            earlier.append(value)
        return "; ".join(warnings) or None


class LogEvaluation:
    """After every evaluation: keeps the best checkpoint, writes metrics.jsonl and one line for people."""

    def __init__(self, step: tf.Variable, metrics: MetricsFile, best: tf.train.CheckpointManager, stream: TextIO):
        """Sets up the action.

        Args:
          step: the iterations done.
          metrics: says which evaluation was the best so far.
          best: keeps one checkpoint, the one with the highest mean IoU.
          stream: for people.
        """
        self.step, self.metrics, self.best, self.stream = step, metrics, best, stream

    def __call__(self, output: dict[str, float]) -> None:
        """Reports what `Evaluator.evaluate` returned."""
        step = int(self.step.numpy())
        # Before the line in metrics.jsonl: a process killed between the two evaluates this iteration again.
        if all(output["mean_iou"] > earlier for earlier in self.metrics.mean_iou.values() if not math.isnan(earlier)):
            self.best.save(step)
        self.metrics.write("evaluation", step, output)
        each = [f"  {name} {100 * output[key]:.2f} %" for name in NETWORKS if (key := f"{name}/mean_iou") in output]
        tell(
            self.stream,
            f"{step:>6}  evaluation: mean IoU {100 * output['mean_iou']:.2f} %{''.join(each)}  "
            f"pixel accuracy {100 * output['pixel_accuracy']:.2f} %",
        )


class WritePictures:
    """Every `interval` iterations: a few images of every domain, and what the method makes of them.

    TensorBoard has them with labels and predictions, and RUN/pictures, whole or not at all, the last of the method's.
    """

    def __init__(
        self,
        method: Method,
        segmenters: Mapping[str, Segmenter],
        step: tf.Variable,
        interval: int,
        batches: Mapping[str, Mapping[str, np.ndarray]],
        label_space: LabelSpace,
        run: str,
        views: Views = SINGLE_VIEW,
    ):
        """Sets up the pictures.

        Args:
          method: that is trained.
          segmenters: those of its networks that are scored, by name.
          step: the iterations done.
          interval: iterations between pictures, a multiple of the loop's length or the next one after it.
          batches: of each domain of the method, and perhaps more: what it trains on, or "image" uint8
            [n, height, width, 3] and perhaps "label" [n, height, width].
          label_space: the classes.
          run: the run directory.
          views: how predictions see an image.
        """
        self.step, self.interval, self.batches, self.label_space = step, interval, batches, label_space
        self.writer = tf.summary.create_file_writer(os.path.join(run, layout.EVENTS, layout.PICTURES))
        self._folder = os.path.join(run, layout.PICTURES)
        self._next = (int(step.numpy()) // interval + 1) * interval
        self._predictions = tuple(segmenters) if len(segmenters) > 1 else ("prediction",)
        self._predict = tf.function(
            lambda images: [
                views.class_map(segmenter, views.logits(segmenter, images), tf.shape(images)[1:3])
                for segmenter in segmenters.values()
            ]
        )
        trained_on = tf.nest.map_structure(tf.constant, [dict(batches[domain]) for domain in method.domains])
        self._made = tf.function(lambda: method.pictures(*method.adapted(*trained_on)), autograph=False)

    def __call__(self, output: dict[str, float]) -> None:
        """Writes the pictures when their time has come."""
        del output
        if int(self.step.numpy()) < self._next:
            return
        self._next += self.interval
        with self.writer.as_default(step=int(self.step.numpy())):
            for domain, batch in self.batches.items():
                shown = ("image", *(["label"] if "label" in batch else []), *self._predictions)
                tf.summary.image(f"{domain}: {', '.join(shown)}", self.rows(batch), max_outputs=8)
            for name, batch in self._made().items():
                rows = self.rows_made(batch)
                tf.summary.image(f"{name}: image, label, weight", rows, max_outputs=8)
                files.make_folder(self._folder)
                below = np.pad(rows, [[0, 0], [0, 4], [0, 0], [0, 0]], constant_values=255)  # as wide as gaps beside
                files.write_atomically(os.path.join(self._folder, f"{name}.png"), encode_png(np.concatenate(below)))
        self.writer.flush()

    def rows(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns uint8 [n, height, wide, 3]: image, label where there is one, predictions, side by side."""
        class_maps = [*([batch["label"]] if "label" in batch else []), *self._predict(batch["image"])]
        return np.stack(
            [
                side_by_side([image, *(colorize(of_batch[index], self.label_space) for of_batch in class_maps)])
                for index, image in enumerate(np.asarray(batch["image"]))
            ]
        )

    def rows_made(self, batch: Mapping[str, tf.Tensor]) -> np.ndarray:
        """Returns uint8 [n, height, wide, 3] of what `Method.pictures` returns: image, label, weight, side by side."""
        images = tf.cast(batch["image"], tf.float32)
        if "mask" in batch:
            images = images * batch["mask"] + _HIDDEN * (1 - batch["mask"])
        images = np.rint(np.clip(images, 0, 255)).astype(np.uint8)
        triples = zip(images, np.asarray(batch["label"]), np.asarray(batch["weight"]), strict=True)
        return np.stack(
            [side_by_side([image, colorize(label, self.label_space), grey(weight)]) for image, label, weight in triples]
        )
