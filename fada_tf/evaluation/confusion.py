"""Confusion matrix and what follows from it: IoU, mean IoU, pixel accuracy; and the scores beside these."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from fada_tf.data.labels import CITYSCAPES13, CITYSCAPES16, CITYSCAPES19, IGNORE
from fada_tf.evaluation.calibration import expected_calibration_error

# What people call the scores of all classes together.
TITLES = {
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "boundary_iou": "boundary IoU",
    "expected_calibration_error": "ECE",
}


def confusion_matrix(labels: tf.Tensor, predictions: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Counts the pixels of every pair of true and predicted class.

    Args:
      labels: integers of any shape, class ids or 255 for pixels that do not count.
      predictions: integers of the same shape, class ids.
      num_classes: K.

    Returns:
      int64 [K, K]: rows are true classes, columns predicted ones.
    """
    # GPUs count in int32, of fewer pixels than 2^31, and do all else in int64: the rest would be the host's.
    labels, predictions = (tf.reshape(tf.cast(values, tf.int64), [-1]) for values in (labels, predictions))
    pairs = num_classes**2
    places = tf.where(labels == IGNORE, tf.constant(pairs, tf.int64), labels * num_classes + predictions)
    counts = tf.math.bincount(places, minlength=pairs + 1, maxlength=pairs + 1, dtype=tf.int32)
    return tf.cast(tf.reshape(counts[:pairs], [num_classes, num_classes]), tf.int64)


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of one confusion matrix, and of what else was counted of the same images.

    Attributes:
      class_names: K names.
      confusion: int64 [K, K], rows are true classes.
      unlabelled: names of classes that the labels cannot hold: they are not scored, and the means leave them out.
      images: how many were scored; 0 where that is not told.
      by_condition: the scores of parts of the images, by condition, such as "weather", and its value.
      boundary: the scores of the pixels near boundaries, see `near_boundary`; None: not measured.
      calibration: int64 [3, bins], see `calibration_counts`; None: not measured.
    """

    class_names: tuple[str, ...]
    confusion: np.ndarray
    unlabelled: tuple[str, ...] = ()
    images: int = 0
    by_condition: Mapping[str, Mapping[str, "Scores"]] = dataclasses.field(default_factory=dict)
    boundary: "Scores | None" = None
    calibration: np.ndarray | None = None

    @property
    def class_iou(self) -> np.ndarray:
        """float64 [K] in 0..1: true positives / (true positives + false positives + false negatives).

        NaN for a class that is neither in the labels nor in the predictions, or that is not scored.
        """
        hits = np.diag(self.confusion).astype(np.float64)
        union = self.confusion.sum(0) + self.confusion.sum(1) - hits
        scored = (union > 0) & ~np.isin(self.class_names, self.unlabelled)
        return np.divide(hits, union, out=np.full(len(hits), np.nan), where=scored)

    @property
    def mean_iou(self) -> float:
        """Mean of the class IoUs that exist, in 0..1; NaN without any labelled pixel."""
        return _mean(self.class_iou)

    @property
    def subset_mean_iou(self) -> dict[int, float]:
        """Mean IoU by number of classes, of Cityscapes' 19, the 16 and the 13 that papers report, where all are scored.

        The predictions are those of all K classes; only the mean is over fewer.
        """
        scored = set(self.class_names) - set(self.unlabelled)
        return {
            space.num_classes: _mean(self.class_iou[np.isin(self.class_names, space.names)])
            for space in (CITYSCAPES19, CITYSCAPES16, CITYSCAPES13)
            if set(space.names) <= scored
        }

    @property
    def pixel_accuracy(self) -> float:
        """Share of the labelled pixels that are right, in 0..1; NaN without any."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")

    @property
    def details(self) -> dict[str, float]:
        """Of what was measured, "boundary_iou", mean IoU near boundaries, and "expected_calibration_error", 0..1."""
        boundary = {} if self.boundary is None else {"boundary_iou": self.boundary.mean_iou}
        if self.calibration is None:
            return boundary
        return boundary | {"expected_calibration_error": expected_calibration_error(self.calibration)}

    def to_dict(self) -> dict:
        """Returns all scores as plain Python values; NaN becomes None."""
        images = {"images": self.images} if self.images else {}
        parts = {
            name: {value: scores.to_dict() for value, scores in values.items()}
            for name, values in self.by_condition.items()
        }
        return (
            images
            | {
                "mean_iou": self.mean_iou,
                "subset_mean_iou": {str(count): value for count, value in self.subset_mean_iou.items()},
                "pixel_accuracy": self.pixel_accuracy,
                **self.details,
                "class_iou": self._by_class(),
                **({"boundary_class_iou": self.boundary._by_class()} if self.boundary else {}),
                "unlabelled": list(self.unlabelled),
                "confusion": self.confusion.tolist(),
            }
            | ({"by_condition": parts} if parts else {})
        )

    def _by_class(self) -> dict[str, float | None]:
        iou = [None if np.isnan(value) else float(value) for value in self.class_iou]
        return dict(zip(self.class_names, iou, strict=True))

    def conditions(self) -> Iterator[tuple[str, str, "Scores"]]:
        """Yields condition, value and scores of every part."""
        for name, values in self.by_condition.items():
            yield from ((name, value, scores) for value, scores in values.items())

    def table(self) -> str:
        """Returns lines "class, IoU in %, share of the labelled pixels in %" and the summary lines."""
        shares = self.confusion.sum(1) / max(self.confusion.sum(), 1)
        subsets = {f"mean of {count} classes": value for count, value in self.subset_mean_iou.items()}
        width = max(len(name) for name in (*self.class_names, *subsets, "pixel accuracy"))
        lines = [f"{'class':<{width}}  IoU %  pixels %"]
        for name, iou, share in zip(self.class_names, self.class_iou, shares, strict=True):
            lines.append(f"{name:<{width}}  {'    -' if np.isnan(iou) else f'{100 * iou:5.1f}'}  {100 * share:8.2f}")
        summary = {"mean IoU": self.mean_iou} | subsets | {"pixel accuracy": self.pixel_accuracy}
        summary |= {TITLES[name]: value for name, value in self.details.items()}
        lines += [f"{name:<{width}}  {100 * value:5.1f}" for name, value in summary.items()]
        if self.unlabelled:
            lines.append(f"not scored, since the labels do not know them: {', '.join(self.unlabelled)}")
        parts = {f"{name} {value}": scores for name, value, scores in self.conditions()}
        if parts:
            width = max(map(len, parts))
            lines += ["", f"{'condition':<{width}}  mean IoU %  images"]
            lines += [f"{name:<{width}}  {_percent(s.mean_iou):>10}  {s.images:>6}" for name, s in parts.items()]
        return "\n".join(lines)


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.1f}"


def _mean(values: np.ndarray) -> float:
    existing = values[~np.isnan(values)]
    return float(existing.mean()) if existing.size else float("nan")
