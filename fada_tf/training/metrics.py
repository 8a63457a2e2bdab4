"""metrics.jsonl: losses and scores of a run, an object a line."""

import math
from collections.abc import Mapping

from fada_tf.data import files


class MetricsFile:
    """Appends one JSON object a line to metrics.jsonl; a run that resumes first drops the lines it will repeat.

    Attributes:
      mean_iou: of every evaluation so far, by iteration; NaN where none was labelled.
    """

    def __init__(self, path: str, step: int):
        """Opens the file.

        Args:
          path: of metrics.jsonl.
          step: the iteration that training starts from.
        """
        self.path = path
        records = read_metrics(path) if files.exists(path) else []
        records = [record for record in records if record["step"] <= step]
        evaluations = [record for record in records if record["kind"] == "evaluation"]
        self.mean_iou = {
            record["step"]: math.nan if record["mean_iou"] is None else record["mean_iou"] for record in evaluations
        }
        files.write_atomically(path, "".join(map(_line, records)).encode())

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Appends {"kind": kind, "step": step, **values}."""
        record = {"kind": kind, "step": step} | dict(values)
        with files.open_binary(self.path, "ab") as file:
            file.write(_line(record).encode())
        if kind == "evaluation":
            self.mean_iou[step] = record["mean_iou"]


def read_metrics(path: str) -> list[dict]:
    """Returns the records of a metrics.jsonl, without a last line that was cut short when the process was killed."""
    return [record for record in files.read_json_lines(path) if {"kind", "step"} <= record.keys()]


def _line(record: Mapping) -> str:
    return files.json_text(record)
