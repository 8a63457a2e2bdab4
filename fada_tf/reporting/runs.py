"""What a run directory says about its run."""

import dataclasses
import os
import statistics

from fada_tf.config import Config
from fada_tf.data import files
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
    def seconds_per_step(self) -> float:
        """Median over the log intervals, without the first one, which compiles the step, where there are more."""
        seconds = [line["speed/seconds_per_step"] for line in self.metrics if line["kind"] == "train"]
        return statistics.median(seconds[1:] or seconds)

    def curve(self, kind: str, name: str) -> tuple[list[int], list[float]]:
        """Returns iterations and values of one metric; kind is "train" or "evaluation"."""
        lines = [line for line in self.metrics if line["kind"] == kind and name in line]
        return [line["step"] for line in lines], [line[name] for line in lines]


def read_run(title: str, directory: str, records: str) -> Run:
    """Reads a run directory.

    Args:
      title: for people.
      directory: the run directory.
      records: the folder of records that the scores were made on; only its name counts.

    Raises:
      InputError: the run has not been scored on these records.
    """
    scores = os.path.join(results.scores_folder(directory, records), "scores.json")
    if not files.exists(scores):
        raise InputError(
            f"{scores} does not exist: run scripts/evaluate.py --checkpoint={directory} --records={records}"
        )
    multi_scale = os.path.join(results.scores_folder(directory, records, multi_scale=True), "scores.json")
    ccd = os.path.join(results.features_folder(directory, records), "ccd.json")
    return Run(
        title,
        directory,
        checkpoint.run_config(directory),
        files.read_json(scores),
        read_metrics(os.path.join(directory, "metrics.jsonl")),
        *(files.read_json(path) if files.exists(path) else None for path in (multi_scale, ccd)),
    )
