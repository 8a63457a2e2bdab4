"""Losses and scores of a run, in its directory: an object a line."""

import math
import os
from collections.abc import Mapping

from fada_tf.config import NETWORKS
from fada_tf.data import files
from fada_tf.runs import layout


class MetricsFile:
    """Appends one JSON object a line to a run's metrics; a run that resumes first drops the lines it will repeat.

    Attributes:
      mean_iou: of every evaluation so far, by iteration; NaN where none was labelled.
    """

    def __init__(self, run: str, step: int):
        """Opens the file.

        Args:
          run: the run directory.
          step: the iteration that training starts from.
        """
        self.path = os.path.join(run, layout.METRICS)
        records = [record for record in read_metrics(run) if record["step"] <= step]
        evaluations = [record for record in records if record["kind"] == "evaluation"]
        self.mean_iou = {
            record["step"]: math.nan if record["mean_iou"] is None else record["mean_iou"] for record in evaluations
        }
        files.write_atomically(self.path, "".join(map(_line, records)).encode())

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Appends {"kind": kind, "step": step, **values}."""
        record = {"kind": kind, "step": step} | dict(values)
        with files.open_binary(self.path, "ab") as file:
            file.write(_line(record).encode())
        if kind == "evaluation":
            self.mean_iou[step] = record["mean_iou"]


def read_metrics(run: str) -> list[dict]:
    """Returns the metrics of a run, in order; none of one that was not trained here, but converted.

    A last line that was cut short, when the process was killed, is not among them.
    """
    path = os.path.join(run, layout.METRICS)
    lines = files.read_json_lines(path) if files.exists(path) else []
    return [record for record in lines if {"kind", "step"} <= record.keys()]


def better_network(scores: Mapping[str, float | None]) -> str:
    """Returns "student" or "teacher": of which an evaluation of both says the higher mean IoU; of equal ones student.

    Args:
      scores: "student/mean_iou" and "teacher/mean_iou", NaN, None or missing where it has none.
    """
    values = {name: scores.get(f"{name}/mean_iou") for name in NETWORKS}
    known = {name: value for name, value in values.items() if value is not None and not math.isnan(value)}
    return max(known, key=lambda name: known[name], default="student")


def _line(record: Mapping) -> str:
    return files.json_text(record)
