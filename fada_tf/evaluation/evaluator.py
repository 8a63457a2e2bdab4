"""Scoring a segmenter on labelled images, each label at its own size (as the authors do)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orbit
import tensorflow as tf

from fada_tf.data import pipeline
from fada_tf.data.conditions import Columns, groups
from fada_tf.data.labels import IGNORE, LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.evaluation.boundaries import near_boundary
from fada_tf.evaluation.calibration import BINS, calibration_counts
from fada_tf.evaluation.confusion import Scores, confusion_matrix
from fada_tf.evaluation.views import SINGLE_VIEW, Views, of_picture
from fada_tf.models.class_maps import Seen
from fada_tf.models.segmenter import Segmenter
from fada_tf.runs.metrics import better_network


class Evaluator(orbit.AbstractEvaluator):
    """Runs the segmenter over a data set and sums exact counts, over any number of replicas.

    Attributes:
      scores: the `Scores` of the last evaluation.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        dataset: tf.data.Dataset,
        class_names: tuple[str, ...],
        strategy: tf.distribute.Strategy,
        progress: Callable[[int], object] = lambda images: None,
        views: Views = SINGLE_VIEW,
        unlabelled: tuple[str, ...] = (),
        conditions: Columns | None = None,
        detailed: bool = False,
    ):
        """Sets up the evaluator.

        Args:
          segmenter: the model.
          dataset: batches of `fada_tf.data.pipeline.evaluation_dataset`.
          class_names: K names.
          strategy: the replicas.
          progress: called after every batch with its number of images.
          views: how the segmenter looks at each image.
          unlabelled: those of the names that the data set's labels cannot hold.
          conditions: of the data set's records; there are scores by those that are not the same for all.
          detailed: whether boundaries and calibration are scored too, which takes longer.
        """
        self.segmenter = segmenter
        self.class_names = class_names
        self.strategy = strategy
        self.progress = progress
        self.views = views
        self.unlabelled = unlabelled
        self.detailed = detailed
        self.scores: Scores | None = None
        self._groups = list(groups(conditions or {}))
        members = [mask for _, _, mask in self._groups]
        self._dataset = dataset.map(lambda batch: _for_step(batch, members))
        self._distributed_step = tf.function(self._step_on_all, reduce_retracing=True)

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, float]:
        """Scores the whole data set; `num_steps` is ignored (orbit's interface)."""
        del num_steps
        total = {name: np.zeros(shape, np.int64) for name, shape in self._shapes.items()}
        for batch in self.strategy.experimental_distribute_dataset(self._dataset):
            counts, images = self._distributed_step(batch)
            total = {name: total[name] + counts[name].numpy() for name in total}
            self.progress(int(images))
        by_condition: dict[str, dict[str, Scores]] = {}
        for index, (name, value, mask) in enumerate(self._groups, start=1):
            of_group = self._scores(total, index, images=int(mask.sum()))
            by_condition.setdefault(name, {})[value] = of_group
        self.scores = self._scores(total, 0, by_condition=by_condition)
        classes = zip(self.class_names, self.scores.class_iou, strict=True)
        return {
            "mean_iou": self.scores.mean_iou,
            "pixel_accuracy": self.scores.pixel_accuracy,
        } | {f"class_iou/{name}": float(iou) for name, iou in classes if not np.isnan(iou)}

    @property
    def _shapes(self) -> dict[str, list[int]]:
        """Shapes of what is counted, by name: of all images first, then of each group of them."""
        groups, matrix = 1 + len(self._groups), [len(self.class_names)] * 2
        shapes = {"confusion": [groups, *matrix]}
        return shapes | ({"boundary": [groups, *matrix], "calibration": [groups, 3, BINS]} if self.detailed else {})

    def _scores(self, total: Mapping[str, np.ndarray], index: int, **more: Any) -> Scores:
        """Returns the scores of all images, or of a group of them."""
        if self.detailed:
            more["boundary"] = Scores(self.class_names, total["boundary"][index], self.unlabelled)
            more["calibration"] = total["calibration"][index]
        return Scores(self.class_names, total["confusion"][index], self.unlabelled, **more)

    def _step_on_all(self, batch: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        counts, images = self.strategy.run(self._step, args=(batch,))
        # One by one: a worker of several cannot add up a structure.
        counts = {name: self.strategy.reduce("SUM", each, axis=None) for name, each in counts.items()}
        return counts, self.strategy.reduce("SUM", images, axis=None)

    def _step(self, batch: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        # A replica's last batch may be empty; of such a one, oneDNN's convolutions return another shape.
        empty = tf.cast(tf.equal(tf.shape(batch["image"])[0], 0), tf.int32)
        images = tf.pad(batch["image"], [[0, empty], [0, 0], [0, 0], [0, 0]])
        seen = self.views.logits(self.segmenter, images)
        total = {name: tf.zeros(shape, tf.int64) for name, shape in self._shapes.items()}
        # Labels of a batch may differ in size: each is compared at its own.
        for index in tf.range(tf.shape(batch["image"])[0]):
            size = batch["label_size"][index]
            counts = self._counts(of_picture(seen, index), batch["label"][index, : size[0], : size[1]], size)
            if self._groups:
                member = batch["groups"][index, :, None, None]
                counts = {name: tf.concat([each, member * each], axis=0) for name, each in counts.items()}
            total = {name: total[name] + counts[name] for name in total}
        return total, tf.shape(batch["image"])[0]

    def _counts(self, seen: Sequence[Seen], label: tf.Tensor, size: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what is counted of one picture, int64 [1, ...]."""
        num_classes = len(self.class_names)
        if not self.detailed:
            class_map = self.views.class_map(self.segmenter, seen, size)[0]
            return {"confusion": confusion_matrix(label, class_map, num_classes)[None]}
        class_map, confidence = (each[0] for each in self.views.confident_map(self.segmenter, seen, size))
        near = tf.where(near_boundary(label), label, tf.constant(IGNORE, label.dtype))
        return {
            "confusion": confusion_matrix(label, class_map, num_classes)[None],
            "boundary": confusion_matrix(near, class_map, num_classes)[None],
            "calibration": calibration_counts(label, class_map, confidence)[None],
        }


def evaluator_of_records(
    segmenter: Segmenter,
    manifest: Manifest,
    label_space: LabelSpace,
    *,
    height: int,
    width: int,
    batch_size: int = 0,
    strategy: tf.distribute.Strategy | None = None,
    progress: Callable[[int], object] = lambda images: None,
    views: Views = SINGLE_VIEW,
    detailed: bool = False,
) -> Evaluator:
    """Returns what scores a segmenter on the labelled images of records, and by their conditions.

    Args:
      segmenter: the model.
      manifest: of the records, whose labels may know only some of the classes.
      label_space: the classes.
      height: pixels that images are resized to; 0: they keep their own size.
      width: as `height`.
      batch_size: images a step, over all replicas; 0: one a replica.
      strategy: the replicas; None: the one that is in scope.
      progress: see `Evaluator`.
      views: see `Evaluator`.
      detailed: see `Evaluator`.

    Raises:
      InputError: the records cannot be read, or have labels of other classes.
    """
    strategy = strategy or tf.distribute.get_strategy()
    batch_size = batch_size or strategy.num_replicas_in_sync
    dataset = pipeline.evaluation_dataset(
        manifest.folder, label_space, batch_size=batch_size, height=height, width=width, partial_labels=True
    )
    unlabelled = manifest.unlabelled(label_space)
    return Evaluator(
        segmenter, dataset, label_space.names, strategy, progress, views, unlabelled, manifest.conditions, detailed
    )


def _for_step(batch: dict[str, tf.Tensor], members: Sequence[np.ndarray]) -> dict[str, tf.Tensor]:
    """Returns what a step takes: no strings, and 'groups' [batch, groups] int64, 1 where an image is a member."""
    kept = {key: batch[key] for key in ("image", "label", "label_size")}
    if members:
        own = [tf.cast(tf.gather(mask, batch["record"]), tf.int64) for mask in members]
        kept["groups"] = tf.stack(own, axis=1)
    return kept


class BetterOf(orbit.AbstractEvaluator):
    """Scores a student and its teacher, or one of them."""

    def __init__(self, evaluators: Mapping[str, Evaluator]):
        """Sets up the evaluator from one of each network, by the names of `fada_tf.config.NETWORKS`."""
        self.evaluators = dict(evaluators)

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, float]:
        """Returns the scores of the one; of both those of the better, and each one's own as NAME/SCORE."""
        scores = {name: evaluator.evaluate(num_steps) for name, evaluator in self.evaluators.items()}
        if len(scores) == 1:
            return next(iter(scores.values()))
        own = {f"{name}/{score}": value for name, values in scores.items() for score, value in values.items()}
        return scores[better_network(own)] | own
