"""Scores as files: JSON with everything, CSV with a line a class."""

import csv
import io
import json
import os

import numpy as np

from fada_tf.data import files
from fada_tf.evaluation.confusion import Scores


def write_scores(scores: Scores, origin: dict[str, str | int], directory: str) -> None:
    """Writes scores.json and scores.csv, each whole or not at all.

    Args:
      scores: the scores.
      origin: what was scored, for the JSON file: checkpoint, records, sizes.
      directory: made if need be.
    """
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["class", "iou", "labelled_pixels", "predicted_pixels"])
    labelled, predicted = scores.confusion.sum(1), scores.confusion.sum(0)
    for row in zip(scores.class_names, scores.class_iou, labelled, predicted, strict=True):
        writer.writerow([row[0], "" if np.isnan(row[1]) else f"{row[1]:.6f}", int(row[2]), int(row[3])])
    writer.writerow(["mean", f"{scores.mean_iou:.6f}", int(labelled.sum()), int(predicted.sum())])
    files.make_folder(directory)
    files.write_atomically(os.path.join(directory, "scores.csv"), table.getvalue().encode())
    values = json.dumps(origin | scores.to_dict(), indent=1) + "\n"
    files.write_atomically(os.path.join(directory, "scores.json"), values.encode())
