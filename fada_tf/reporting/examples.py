"""The pictures that a run segments best and worst, with truth, predictions, errors and the discriminator's view."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from matplotlib import colormaps

from fada_tf.data import pipeline
from fada_tf.data.conditions import groups
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


# The two of each class and condition are left out from the place on at which there are so many times `count` pictures.
_MOST = 16


@dataclasses.dataclass(frozen=True)
class Example:
    """One row of pictures.

    Attributes:
      record: the place of the image among the records.
      name: of the image.
      conditions: its value of each of `Examples.conditions`; "" where it is unknown.
      before: mean IoU of the first run on this image, then the IoU of each class, in 0..1; NaN for a class that the
        image's labels lack; empty where there is one run.
      after: as `before`, of the last run.
      pictures: uint8 [height, width, 3], in the order of the titles.
    """

    record: int
    name: str
    conditions: tuple[str, ...]
    before: list[float]
    after: list[float]
    pictures: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Examples:
    """The chosen images.

    Attributes:
      titles: of the pictures of each.
      conditions: names of those that are not the same for all images.
      rows: from the worst one up.
      images: how many they were chosen from.
    """

    titles: list[str]
    conditions: list[str]
    rows: list[Example]
    images: int


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
    """Scores the last run on every image, and draws those at both ends: of all, of each class and of each condition.

    Args:
      runs: the first one is shown as before, the last one as after.
      records: a folder of labelled shards.
      label_space: the classes.
      count: images at each end of all; of each class and condition there is one at each end.
      progress: called after every image.
    """
    shown = [runs[0], runs[-1]] if len(runs) > 1 else [runs[0]]
    predictors = [_predictor(run) for run in shown]
    manifest = Manifest.load(records)
    unlabelled = manifest.unlabelled(label_space)
    scores = np.full((manifest.num_records, 1 + label_space.num_classes), np.nan)
    for record, image, label in _images(records, label_space):
        scores[record] = _scores(label, predictors[-1](image), label_space, unlabelled)
        progress()
    of_groups = list(groups(manifest.conditions))
    chosen = _chosen(scores, [members for _, _, members in of_groups], count)

    titles = ["image", "truth", *(run.title for run in shown), f"errors, {shown[-1].title}"]
    # The discriminator sees whole images.
    adversarial = [run for run in runs if has_discriminator(run.checkpoint) and "window" not in run.scores]
    domains = None
    if adversarial:
        last = adversarial[-1]
        domains = DomainPredictor(last.checkpoint, last.scores["height"], last.scores["width"])
        titles.append(f"discriminator, {adversarial[-1].title}")
    names, conditions = manifest.entries.filenames, list(dict.fromkeys(name for name, _, _ in of_groups))
    rows = []
    for record, image, label in _images(records, label_space):
        if record in chosen:
            class_maps = [label, *(predictor(image) for predictor in predictors)]
            # What the truth leaves out is shown as it was predicted: that is what a user of the model gets.
            pictures = [image, *(colorize(class_map, label_space) for class_map in class_maps)]
            pictures.append(error_map(label, class_maps[-1]))
            if domains:
                pictures.append(domain_map(domains(image)))
            before = list(_scores(label, class_maps[1], label_space, unlabelled)) if len(shown) > 1 else []
            values = tuple(manifest.conditions[name][record] for name in conditions)
            rows.append(Example(record, names[record], values, before, list(scores[record]), pictures))
    return Examples(titles, conditions, sorted(rows, key=lambda row: row.after[0]), manifest.num_records)


def _chosen(scores: np.ndarray, members: Sequence[np.ndarray], count: int) -> set[int]:
    """Returns the records at both ends.

    Args:
      scores: [records, 1 + K], the mean first; NaN where there is none.
      members: [records] bool of every condition.
      count: records at each end of all.
    """
    mean, *of_classes = scores.T
    chosen = set(_ends(mean, count))
    for values in (*of_classes, *(np.where(of_group, mean, np.nan) for of_group in members)):
        if len(chosen) < _MOST * count:
            chosen |= set(_ends(values, 1))
    return chosen


def _ends(values: np.ndarray, count: int) -> list[int]:
    """Returns the places of the lowest and of the highest values that exist."""
    order = [int(place) for place in np.argsort(values, kind="stable") if not np.isnan(values[place])]
    return order if len(order) <= 2 * count else order[:count] + order[-count:]


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


def _scores(
    label: np.ndarray, class_map: np.ndarray, label_space: LabelSpace, unlabelled: tuple[str, ...]
) -> np.ndarray:
    """Returns float64 [1 + K]: mean IoU of an image, then the IoU of the classes that its labels have; NaN without."""
    confusion = confusion_matrix(label, class_map, label_space.num_classes).numpy()
    scores = Scores(label_space.names, confusion, unlabelled)
    return np.array([scores.mean_iou, *np.where(confusion.sum(1) > 0, scores.class_iou, np.nan)])
