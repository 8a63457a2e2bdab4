"""Scoring a segmenter on labelled images, each label at its own size (as the authors do)."""

from collections.abc import Callable, Mapping

import numpy as np
import orbit
import tensorflow as tf

from fada_tf.evaluation.confusion import Scores, confusion_matrix
from fada_tf.evaluation.views import SINGLE_VIEW, Views, of_picture
from fada_tf.models.segmenter import Segmenter
from fada_tf.runs.metrics import better_network


class Evaluator(orbit.AbstractEvaluator):
    """Runs the segmenter over a data set and sums one exact confusion matrix, over any number of replicas.

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
        """
        self.segmenter = segmenter
        self.class_names = class_names
        self.strategy = strategy
        self.progress = progress
        self.views = views
        self.unlabelled = unlabelled
        self.scores: Scores | None = None
        self._dataset = dataset.map(lambda batch: {key: batch[key] for key in ("image", "label", "label_size")})
        self._distributed_step = tf.function(self._step_on_all, reduce_retracing=True)

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, float]:
        """Scores the whole data set; `num_steps` is ignored (orbit's interface)."""
        del num_steps
        total = np.zeros([len(self.class_names)] * 2, np.int64)
        for batch in self.strategy.experimental_distribute_dataset(self._dataset):
            confusion, images = self._distributed_step(batch)
            total += confusion.numpy()
            self.progress(int(images))
        self.scores = Scores(self.class_names, total, self.unlabelled)
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
        total = tf.zeros([num_classes] * 2, tf.int64)
        # Labels of a batch may differ in size: each is compared at its own.
        for index in tf.range(tf.shape(batch["image"])[0]):
            size = batch["label_size"][index]
            class_map = self.views.class_map(self.segmenter, of_picture(seen, index), size)[0]
            label = batch["label"][index, : size[0], : size[1]]
            total += confusion_matrix(label, class_map, num_classes)
        return total, tf.shape(batch["image"])[0]


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
