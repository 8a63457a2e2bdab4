"""What a run directory says about its run."""

import dataclasses
import os
import statistics
from collections.abc import Sequence

from fada_tf.config import Config
from fada_tf.data import files
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError
from fada_tf.evaluation import results
from fada_tf.models import checkpoint
from fada_tf.training.metrics import read_metrics


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run, read from its directory.

    Attributes:
      title: for people.
      directory: the run directory.
      config: of the run.
      scores: what scripts/evaluate.py wrote for one set of records.
      metrics: the records of metrics.jsonl, in order.
      multi_scale: what it wrote for its multi-scale test; None without one.
      ccd: what scripts/analyze_features.py wrote for these records; None if it did not.
    """

    title: str
    directory: str
    config: Config
    scores: dict
    metrics: list[dict]
    multi_scale: dict | None = None
    ccd: dict | None = None

    @property
    def iterations(self) -> int:
        """The iterations of the checkpoint that was scored."""
        return int(self.scores["checkpoint"].rpartition("-")[2])

    @property
    def checkpoint(self) -> str:
        """The checkpoint that was scored, wherever the run directory is now.

        Raises:
          InputError: the run has deleted it since.
        """
        path = os.path.join(self.directory, *self.scores["checkpoint"].split("/")[-2:])
        if not files.exists(path + ".index"):
            raise InputError(f"{path}, which was scored, is gone: score the run again with scripts/evaluate.py")
        return path

    @property
    def seconds_per_step(self) -> float | None:
        """Median over the log intervals, without the first one, which compiles the step, where there are more.

        None for a run that was not trained here.
        """
        seconds = [line["speed/seconds_per_step"] for line in self.metrics if line["kind"] == "train"]
        return statistics.median(seconds[1:] or seconds) if seconds else None

    def curve(self, kind: str, name: str) -> tuple[list[int], list[float]]:
        """Returns iterations and values of one metric; kind is "train" or "evaluation"."""
        lines = [line for line in self.metrics if line["kind"] == kind and name in line]
        return [line["step"] for line in lines], [line[name] for line in lines]


def read_run(title: str, directory: str, records: str) -> Run:
    """Reads a run directory.

    Args:
      title: for people.
      directory: the run directory, its `best` folder or a checkpoint in it.
      records: the folder of records that the scores were made on; only its name counts.

    Raises:
      InputError: the run has not been scored on these records.
    """
    directory = checkpoint.run_directory(directory)
    scores = os.path.join(results.scores_folder(directory, records), "scores.json")
    if not files.exists(scores):
        raise InputError(
            f"{scores} does not exist: run scripts/evaluate.py --checkpoint={directory} --records={records}"
        )
    multi_scale = os.path.join(results.scores_folder(directory, records, multi_scale=True), "scores.json")
    ccd = os.path.join(results.features_folder(directory, records), "ccd.json")
    metrics = os.path.join(directory, "metrics.jsonl")
    return Run(
        title,
        directory,
        checkpoint.run_config(directory),
        files.read_json(scores),
        read_metrics(metrics) if files.exists(metrics) else [],  # converted weights have none
        *(files.read_json(path) if files.exists(path) else None for path in (multi_scale, ccd)),
    )


def common_label_space(runs: Sequence[Run]) -> LabelSpace:
    """Returns the classes of the runs.

    Raises:
      InputError: they are not the same for all.
    """
    first, *others = (checkpoint.run_label_space(run.directory) for run in runs)
    for run, other in zip(runs[1:], others, strict=True):
        if other.names != first.names:
            raise InputError(
                f"{run.title} has other classes than {runs[0].title} ({', '.join(other.names)}; "
                f"{', '.join(first.names)}): compare runs of the same classes"
            )
    return first
