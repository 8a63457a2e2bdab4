"""What a run directory says about its run."""

import dataclasses
import math
import os
import statistics
from collections.abc import Iterator, Sequence

import numpy as np

from fada_tf.config import Config
from fada_tf.data import files, manifest
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError
from fada_tf.evaluation.prediction import read_picture
from fada_tf.runs import checkpoint, layout, results
from fada_tf.runs.metrics import read_metrics


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run, read from its directory.

    Attributes:
      title: for people.
      directory: the run directory.
      checkpoint: the one that was scored, or the same weights saved a second time.
      config: of the run.
      scores: what fada-tf evaluate wrote of one checkpoint and one set of records.
      metrics: the records of metrics.jsonl, in order.
      multi_scale: what it wrote for the paper's multi-scale test of the same; None without one.
      ccd: what fada-tf analyze_features wrote of the same; None if it did not.
    """

    title: str
    directory: str
    checkpoint: str
    config: Config
    scores: dict
    metrics: list[dict]
    multi_scale: dict | None = None
    ccd: dict | None = None

    @property
    def iterations(self) -> int:
        """The iterations of the checkpoint that was scored."""
        return checkpoint.iteration(self.checkpoint)

    @property
    def seconds_per_step(self) -> float | None:
        """Median over the log intervals, without the first one, which compiles the step, where there are more.

        None for a run that was not trained here.
        """
        _, seconds = self.curve("train", "speed/seconds_per_step")
        return statistics.median(seconds[1:] or seconds) if seconds else None

    @property
    def made_pictures(self) -> dict[str, np.ndarray]:
        """What its method made of a few images the last time, and learned there: uint8 [height, width, 3], by name.

        Raises:
          InputError: one cannot be read.
        """
        folder = os.path.join(self.directory, layout.PICTURES)
        names = sorted(files.list_folder(folder)) if files.exists(folder) else []
        paths = {name.removesuffix(".png"): os.path.join(folder, name) for name in names if name.endswith(".png")}
        return {name: read_picture(path) for name, path in paths.items()}

    def curve(self, kind: str, name: str) -> tuple[list[int], list[float]]:
        """Returns iterations and values of one metric; kind is "train" or "evaluation"."""
        lines = [line for line in self.metrics if line["kind"] == kind and line.get(name) is not None]
        return [line["step"] for line in lines], [line[name] for line in lines]


def read_run(title: str, run: str, records: str, height: int = 0, width: int = 0) -> Run:
    """Reads a run directory, but for its class center distances.

    Args:
      title: for people.
      run: the run directory, for its newest checkpoint, its `best` folder or a checkpoint in it.
      records: the folder of records that the scores were made on.
      height: pixels that images were resized to; 0: the run's own evaluation height.
      width: as `height`.

    Raises:
      InputError: the checkpoint has not been scored on these records, at this size.
    """
    path = checkpoint.checkpoint_path(run)
    directory, iteration = checkpoint.run_directory(path), checkpoint.iteration(path)
    height, width, windows = checkpoint.sight(path, height, width)
    scoring = results.Scoring(records, height, width, windows=windows)
    weights = {"weights_sha256": checkpoint.weights_digest(path)}
    scores = results.find(scoring, directory, iteration, **weights)
    if scores is None:
        raise InputError(_not_scored(path, directory, scoring))
    return Run(
        title,
        directory,
        path,
        checkpoint.run_config(directory),
        scores,
        read_metrics(directory),
        results.find(results.multi_scale(scoring), directory, iteration, **weights),
    )


def _not_scored(path: str, directory: str, scoring: results.Scoring) -> str:
    """Returns what to do about a checkpoint without scores."""
    older = results.undescribed(scoring, directory)
    note = f" ({older}, of an earlier version, does not say what decided it)" if files.exists(older) else ""
    return (
        f"{path} has no scores on {scoring.records} at {scoring.size}{note}: "
        f"run fada-tf evaluate --checkpoint={path} --records={scoring.records} "
        f"--height={scoring.height} --width={scoring.width}"
    )


def with_distances(runs: Sequence[Run], records: str) -> list[Run]:
    """Adds the class center distances to runs, which can be compared only where all were measured alike.

    Of several ways in which all were measured, that with the most and largest images counts.

    Args:
      runs: as read.
      records: the folder of the target's labelled records.

    Raises:
      InputError: a file of distances cannot be read.
    """
    measured = [{_settings(values): values for values in _distances(run, records)} for run in runs]
    common = set.intersection(*(set(distances) for distances in measured if distances)) if any(measured) else set()
    chosen = max(common, default=())
    return [dataclasses.replace(run, ccd=distances.get(chosen)) for run, distances in zip(runs, measured, strict=True)]


def _distances(run: Run, records: str) -> Iterator[dict]:
    """Yields the class center distances of a run's checkpoint, in whatever ways they were measured."""
    folder = results.analyses_folder(run.directory, records)
    for name in files.list_folder(folder) if files.exists(folder) else []:
        path = os.path.join(folder, name, str(run.iterations), results.CCD_FILE)
        if files.exists(path):
            key = {"target_sha256": manifest.digest(records), "iteration": run.iterations}
            yield results.read(path, key | {"weights_sha256": run.scores["weights_sha256"]})


def _settings(ccd: dict) -> tuple:
    """Returns how distances were measured; the runs' own map comes last, of one map more and larger images."""
    stride = ccd.get("feature_stride", 0)
    size = ccd["height"] * ccd["width"], ccd["height"]
    return not stride, stride, ccd["images"] or math.inf, *size, ccd["source_sha256"]


def common_label_space(runs: Sequence[Run]) -> LabelSpace:
    """Returns the classes of the runs.

    Raises:
      InputError: they are not the same for all.
    """
    first, *others = (checkpoint.run_label_space(run.directory) for run in runs)
    for run, label_space in zip(runs[1:], others, strict=True):
        if label_space.names != first.names:
            raise InputError(
                f"{run.title} has other classes than {runs[0].title} ({', '.join(label_space.names)}; "
                f"{', '.join(first.names)}): compare runs of the same classes"
            )
    return first
