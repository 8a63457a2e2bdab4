"""Scoring a segmenter on labelled images, each label at its own size (as the authors do)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import orbit
import tensorflow as tf

from fada_tf.data import pipeline
from fada_tf.data.conditions import Columns, groups
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.evaluation.confusion import Scores, confusion_matrix
from fada_tf.evaluation.views import SINGLE_VIEW, Views, of_picture
from fada_tf.models.segmenter import Segmenter
from fada_tf.runs.metrics import better_network


class Evaluator(orbit.AbstractEvaluator):
    """Runs the segmenter over a data set and sums exact confusion matrices, over any number of replicas.

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
        """
        self.segmenter = segmenter
        self.class_names = class_names
        self.strategy = strategy
        self.progress = progress
        self.views = views
        self.unlabelled = unlabelled
        self.scores: Scores | None = None
        self._groups = list(groups(conditions or {}))
        members = [mask for _, _, mask in self._groups]
        self._dataset = dataset.map(lambda batch: _for_step(batch, members))
        self._distributed_step = tf.function(self._step_on_all, reduce_retracing=True)

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, float]:
        """Scores the whole data set; `num_steps` is ignored (orbit's interface)."""
        del num_steps
        total = np.zeros([1 + len(self._groups), *[len(self.class_names)] * 2], np.int64)
        for batch in self.strategy.experimental_distribute_dataset(self._dataset):
            confusion, images = self._distributed_step(batch)
            total += confusion.numpy()
            self.progress(int(images))
        by_condition: dict[str, dict[str, Scores]] = {}
        for (name, value, mask), confusion in zip(self._groups, total[1:], strict=True):
            of_group = Scores(self.class_names, confusion, self.unlabelled, images=int(mask.sum()))
            by_condition.setdefault(name, {})[value] = of_group
        self.scores = Scores(self.class_names, total[0], self.unlabelled, by_condition=by_condition)
        classes = zip(self.class_names, self.scores.class_iou, strict=True)
        return {
            "mean_iou": self.scores.mean_iou,
            "pixel_accuracy": self.scores.pixel_accuracy,
        } | {f"class_iou/{name}": float(iou) for name, iou in classes if not np.isnan(iou)}

    def _step_on_all(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        confusion, images = self.strategy.run(self._step, args=(batch,))
        return self.strategy.reduce("SUM", confusion, axis=None), self.strategy.reduce("SUM", images, axis=None)

    def _step(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        num_classes = len(self.class_names)
        # A replica's last batch may be empty; of such a one, oneDNN's convolutions return another shape.
        empty = tf.cast(tf.equal(tf.shape(batch["image"])[0], 0), tf.int32)
        images = tf.pad(batch["image"], [[0, empty], [0, 0], [0, 0], [0, 0]])
        seen = self.views.logits(self.segmenter, images)
        # The first group is all images.
        total = tf.zeros([1 + len(self._groups), num_classes, num_classes], tf.int64)
        # Labels of a batch may differ in size: each is compared at its own.
        for index in tf.range(tf.shape(batch["image"])[0]):
            size = batch["label_size"][index]
            class_map = self.views.class_map(self.segmenter, of_picture(seen, index), size)[0]
            label = batch["label"][index, : size[0], : size[1]]
            confusion = confusion_matrix(label, class_map, num_classes)[None]
            if self._groups:
                confusion = tf.concat([confusion, batch["groups"][index, :, None, None] * confusion], axis=0)
            total += confusion
        return total, tf.shape(batch["image"])[0]


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

    Raises:
      InputError: the records cannot be read, or have labels of other classes.
    """
    strategy = strategy or tf.distribute.get_strategy()
    batch_size = batch_size or strategy.num_replicas_in_sync
    dataset = pipeline.evaluation_dataset(
        manifest.folder, label_space, batch_size=batch_size, height=height, width=width, partial_labels=True
    )
    unlabelled = manifest.unlabelled(label_space)
    return Evaluator(segmenter, dataset, label_space.names, strategy, progress, views, unlabelled, manifest.conditions)


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
