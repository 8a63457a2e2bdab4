"""What happens between the loops: the log line, metrics.jsonl, pictures, the best checkpoint."""

import datetime
import json
import math
import os
from collections.abc import Callable, Mapping
from typing import TextIO

import numpy as np
import orbit
import tensorflow as tf

from fada_tf.data import files
from fada_tf.data.labels import LabelSpace
from fada_tf.evaluation.pictures import colorize, side_by_side
from fada_tf.evaluation.views import predict_class_map
from fada_tf.models.segmenter import Segmenter


class MetricsFile:
    """Appends one JSON object a line to metrics.jsonl; a run that resumes first drops the lines it will repeat."""

    def __init__(self, path: str, step: int):
        """Opens the file.

        Args:
          path: of metrics.jsonl.
          step: the iteration that training starts from.
        """
        lines = []
        if tf.io.gfile.exists(path):
            with tf.io.gfile.GFile(path) as file:
                lines = [line for line in file if _complete_record(line) and json.loads(line)["step"] <= step]
        files.write_atomically(path, "".join(lines).encode())
        self.path = path

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Appends {"kind": kind, "step": step, **values}."""
        with tf.io.gfile.GFile(self.path, "a") as file:
            file.write(json.dumps({"kind": kind, "step": step} | dict(values)) + "\n")


def _complete_record(line: str) -> bool:
    try:
        return "step" in json.loads(line)
    except json.JSONDecodeError:  # the last line of a run that was killed while it wrote
        return False


class LogTraining:
    """After every loop: stops on losses that are not finite, writes metrics.jsonl and one line for people."""

    def __init__(self, step: tf.Variable, iterations: int, metrics: MetricsFile, stream: TextIO):
        self.step, self.iterations, self.metrics, self.stream = step, iterations, metrics, stream

    def __call__(self, output: dict[str, float]) -> None:
        """Reports what `Trainer.train_loop_end` returned.

        Raises:
          FloatingPointError: a loss is not finite.
        """
        step = int(self.step.numpy())
        losses = {name.removeprefix("loss/"): value for name, value in output.items() if name.startswith("loss/")}
        listing = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        if not all(math.isfinite(value) for value in losses.values()):
            raise FloatingPointError(
                f"losses are not finite in the iterations up to {step}: {listing}; "
                "the last checkpoint is whole: lower config.optimizer.learning_rate and start a new run"
            )
        self.metrics.write("train", step, output)
        seconds = output["speed/seconds_per_step"]
        remaining = datetime.timedelta(seconds=round(seconds * (self.iterations - step)))
        self.stream.write(
            f"{step:>6}/{self.iterations}  {listing}  {1 / seconds:.2f} steps/s  "
            f"{output['speed/images_per_second']:.2f} images/s  ETA {remaining}\n"
        )
        self.stream.flush()


class LogEvaluation:
    """After every evaluation: writes metrics.jsonl and one line for people."""

    def __init__(self, step: tf.Variable, metrics: MetricsFile, stream: TextIO):
        self.step, self.metrics, self.stream = step, metrics, stream

    def __call__(self, output: dict[str, float]) -> None:
        """Reports what `Evaluator.evaluate` returned."""
        step = int(self.step.numpy())
        self.metrics.write("evaluation", step, output)
        self.stream.write(
            f"{step:>6}  evaluation: mean IoU {100 * output['mean_iou']:.2f} %  "
            f"pixel accuracy {100 * output['pixel_accuracy']:.2f} %\n"
        )
        self.stream.flush()


def keep_best(checkpoint: tf.train.Checkpoint, step: tf.Variable, directory: str) -> Callable[[dict], None]:
    """Returns an action that keeps the checkpoint with the highest "mean_iou" in `directory`."""
    manager = tf.train.CheckpointManager(checkpoint, directory, max_to_keep=1)
    improved = orbit.actions.NewBestMetric("mean_iou", filename=os.path.join(directory, "mean_iou.json"))
    return orbit.actions.ConditionalAction(improved, lambda _: manager.save(int(step.numpy())))


class WritePictures:
    """Every `interval` iterations: image, label and prediction of a few images of both domains, for TensorBoard."""

    def __init__(
        self,
        segmenter: Segmenter,
        step: tf.Variable,
        interval: int,
        batches: Mapping[str, Mapping[str, np.ndarray]],
        label_space: LabelSpace,
        directory: str,
    ):
        """Sets up the pictures.

        Args:
          segmenter: the model that is trained.
          step: the iterations done.
          interval: iterations between pictures, a multiple of the loop's length or the next one after it.
          batches: by domain: "image" float32 [n, height, width, 3] in 0..255 and perhaps "label" [n, height, width].
          label_space: the classes.
          directory: of the TensorBoard events.
        """
        self.segmenter, self.step, self.interval, self.batches = segmenter, step, interval, batches
        self.label_space = label_space
        self.writer = tf.summary.create_file_writer(directory)
        self._next = int(step.numpy()) + interval
        self._predict = tf.function(
            lambda images: predict_class_map(self.segmenter(images, training=False), tf.shape(images)[1:3])
        )

    def __call__(self, output: dict[str, float]) -> None:
        """Writes the pictures when their time has come."""
        del output
        if int(self.step.numpy()) < self._next:
            return
        self._next += self.interval
        with self.writer.as_default(step=int(self.step.numpy())):
            for domain, batch in self.batches.items():
                tf.summary.image(f"{domain}: image, label, prediction", self.rows(batch), max_outputs=8)
        self.writer.flush()

    def rows(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns uint8 [n, height, wide, 3]: image, label where there is one, prediction, side by side."""
        rows = []
        for index, class_map in enumerate(self._predict(batch["image"]).numpy()):
            pictures = [np.clip(np.rint(batch["image"][index]), 0, 255).astype(np.uint8)]
            if "label" in batch:
                pictures.append(colorize(batch["label"][index], self.label_space))
            rows.append(side_by_side([*pictures, colorize(class_map, self.label_space)]))
        return np.stack(rows)
