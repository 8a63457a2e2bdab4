"""Scores as files: JSON with everything, CSV of classes and of conditions; of several checkpoints, CSV of these."""

import csv
import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from fada_tf.data import files
from fada_tf.evaluation.confusion import Scores
from fada_tf.runs import results


def write_scores(scores: Scores, origin: Mapping[str, Any], directory: str) -> None:
    """Writes scores.json, scores.csv and, with scores by condition, conditions.csv, each whole or not at all.

    Args:
      scores: the scores.
      origin: what was scored, and how, for the JSON file; see `results.origin`.
      directory: made if need be.
    """
    table = io.StringIO()
    writer = csv.writer(table)
    boundary = scores.boundary
    writer.writerow(["class", "iou", "labelled_pixels", "predicted_pixels", *(["boundary_iou"] if boundary else [])])
    labelled, predicted = scores.confusion.sum(1), scores.confusion.sum(0)
    columns = [scores.class_iou, labelled, predicted, *([boundary.class_iou] if boundary else [])]
    for name, iou, *row in zip(scores.class_names, *columns, strict=True):
        writer.writerow([name, _text(iou), *map(int, row[:2]), *map(_text, row[2:])])
    means = [_text(boundary.mean_iou)] if boundary else []
    writer.writerow(["mean", _text(scores.mean_iou), int(labelled.sum()), int(predicted.sum()), *means])
    files.make_folder(directory)
    files.write_atomically(os.path.join(directory, results.SCORES_TABLE), table.getvalue().encode())
    if scores.by_condition:
        content = _conditions_table(scores).encode()
        files.write_atomically(os.path.join(directory, results.CONDITIONS_TABLE), content)
    values = files.json_text({**origin, **scores.to_dict()}, indent=1)
    files.write_atomically(os.path.join(directory, results.SCORES_FILE), values.encode())


def _conditions_table(scores: Scores) -> str:
    table = io.StringIO()
    writer = csv.writer(table)
    head = ["condition", "value", "images", "mean_iou", "pixel_accuracy"]
    writer.writerow([*head, *scores.details, *scores.class_names])
    for name, value, part in scores.conditions():
        numbers = map(_text, [part.mean_iou, part.pixel_accuracy, *part.details.values(), *part.class_iou])
        writer.writerow([name, value, part.images, *numbers])
    return table.getvalue()


def write_checkpoint_scores(scores: Mapping[str, Scores], path: str) -> str:
    """Writes a CSV file with a line for each checkpoint of a run, whole or not at all.

    Args:
      scores: by checkpoint, at least one.
      path: of the file; its folder is made if need be.

    Returns:
      The checkpoint with the best mean IoU, which is marked in the file; of equal ones the first.
    """
    best = max(scores, key=lambda name: np.nan_to_num(scores[name].mean_iou, nan=-1))
    first = scores[best]
    table = io.StringIO()
    writer = csv.writer(table)
    subsets = [f"mean_iou_{count}" for count in first.subset_mean_iou]
    measured = ["mean_iou", *subsets, "pixel_accuracy", *first.details]
    writer.writerow(["checkpoint", "best", *measured, *first.class_names])
    for name, score in scores.items():
        values = [score.mean_iou, *score.subset_mean_iou.values(), score.pixel_accuracy, *score.details.values()]
        values += list(score.class_iou)
        writer.writerow([name, "best" if name == best else "", *(_text(value) for value in values)])
    files.make_folder(os.path.dirname(path))
    files.write_atomically(path, table.getvalue().encode())
    return best


def _text(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"
