"""The pictures that a run segments best and worst, with truth, predictions, errors and the discriminator's view."""

import dataclasses
import heapq
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from matplotlib import colormaps

from fada_tf.data import pipeline
from fada_tf.data.labels import IGNORE, LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.evaluation.confusion import Scores, confusion_matrix
from fada_tf.evaluation.discrimination import DomainPredictor, has_discriminator
from fada_tf.evaluation.pictures import colorize
from fada_tf.evaluation.prediction import Predictor
from fada_tf.evaluation.views import Views
from fada_tf.reporting.runs import Run
from fada_tf.runs import checkpoint
from fada_tf.windows import Windows

RIGHT, WRONG = np.array([225, 235, 225]), np.array([200, 30, 30])


@dataclasses.dataclass(frozen=True)
class Example:
    """One row of pictures.

    Attributes:
      name: of the image.
      mean_iou: of the last run on this image, in 0..1.
      pictures: uint8 [height, width, 3], in the order of the titles.
    """

    name: str
    mean_iou: float
    pictures: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Examples:
    """The chosen images.

    Attributes:
      titles: of the columns.
      best: from the best one down.
      worst: from the worst one up.
    """

    titles: list[str]
    best: list[Example]
    worst: list[Example]


def number_of_images(records: str) -> int:
    """Returns how many images `choose` looks at."""
    return Manifest.load(records).num_records


def choose(
    runs: Sequence[Run],
    records: str,
    label_space: LabelSpace,
    count: int,
    progress: Callable[[], object] = lambda: None,
) -> Examples:
    """Scores the last run on every image, and draws those at both ends.

    Args:
      runs: the first one is shown as before, the last one as after.
      records: a folder of labelled shards.
      label_space: the classes.
      count: images at each end.
      progress: called after every image.
    """
    shown = [runs[0], runs[-1]] if len(runs) > 1 else [runs[0]]
    predictors = [_predictor(run) for run in shown]
    scored = []
    unlabelled = Manifest.load(records).unlabelled(label_space)
    for record, image, label in _images(records, label_space):
        scored.append((_mean_iou(label, predictors[-1](image), label_space, unlabelled), record))
        progress()
    scored = [(score, record) for score, record in scored if not np.isnan(score)]
    worst = heapq.nsmallest(min(count, len(scored) // 2), scored)
    best = heapq.nlargest(min(count, len(scored) - len(worst)), scored)

    titles = ["image", "truth", *(run.title for run in shown), f"errors, {shown[-1].title}"]
    # The discriminator sees whole images.
    adversarial = [run for run in runs if has_discriminator(run.checkpoint) and "window" not in run.scores]
    domains = None
    if adversarial:
        last = adversarial[-1]
        domains = DomainPredictor(last.checkpoint, last.scores["height"], last.scores["width"])
        titles.append(f"discriminator, {adversarial[-1].title}")
    names = Manifest.load(records).entries.filenames
    chosen, scores = {}, {record: score for score, record in (*best, *worst)}
    for record, image, label in _images(records, label_space):
        if record in scores:
            class_maps = [label, *(predictor(image) for predictor in predictors)]
            # What the truth leaves out is shown as it was predicted: that is what a user of the model gets.
            pictures = [image, *(colorize(class_map, label_space) for class_map in class_maps)]
            pictures.append(error_map(label, class_maps[-1]))
            if domains:
                pictures.append(domain_map(domains(image)))
            chosen[record] = Example(names[record], scores[record], pictures)
    return Examples(titles, [chosen[record] for _, record in best], [chosen[record] for _, record in worst])


def _predictor(run: Run) -> Predictor:
    """Returns what sees images as the run's scores were made."""
    texts = {name: run.scores[name] for name in ("window", "stride", "average") if name in run.scores}
    views = Views(windows=Windows.parse(**texts))
    segmenter = checkpoint.load_segmenter(run.checkpoint)
    return Predictor(segmenter, run.scores["height"], run.scores["width"], views)


def error_map(label: np.ndarray, class_map: np.ndarray) -> np.ndarray:
    """Returns uint8 [height, width, 3]: wrong pixels red, right ones pale, those without a label black."""
    errors = np.where((label == class_map)[..., None], RIGHT, WRONG)
    return np.where((label == IGNORE)[..., None], 0, errors).astype(np.uint8)


def domain_map(target_probability: np.ndarray) -> np.ndarray:
    """Returns uint8 [height, width, 3]: red is taken for target, blue for source, white for either."""
    return colormaps["RdBu_r"](target_probability, bytes=True)[..., :3]


def _images(records: str, label_space: LabelSpace) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields number, image and label of every record, at their own sizes."""
    sizes = set(map(tuple, Manifest.load(records).entries.sizes.tolist()))
    height, width = sizes.pop() if len(sizes) == 1 else max(sizes)
    dataset = pipeline.evaluation_dataset(
        records, label_space, batch_size=1, height=height, width=width, partial_labels=True
    )
    for batch in dataset:
        image, label = batch["image"][0].numpy().astype(np.uint8), batch["label"][0].numpy()
        if image.shape[:2] != label.shape:
            image = tf.cast(tf.image.resize(image, label.shape), tf.uint8).numpy()
        yield int(batch["record"][0]), image, label


def _mean_iou(label: np.ndarray, class_map: np.ndarray, label_space: LabelSpace, unlabelled: tuple[str, ...]) -> float:
    confusion = confusion_matrix(label, class_map, label_space.num_classes).numpy()
    return Scores(label_space.names, confusion, unlabelled).mean_iou
