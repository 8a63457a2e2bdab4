"""How well the features of F separate the classes over both domains: class center distance (paper eq. 9)."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fada_tf.data import pipeline
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.data.transforms import resize_label
from fada_tf.models.segmenter import Segmenter, check_size


class ClassStatistics:
    """Count, sum and sum of squares of the feature vectors of every class: all that CCD needs, in constant memory.

    Attributes:
      counts: int64 [K], feature vectors of each class.
      sums: float64 [K, channels], their sums.
      squares: float64 [K], sums of their squared lengths.
    """

    def __init__(self, num_classes: int, channels: int):
        self.counts = np.zeros(num_classes, np.int64)
        self.sums = np.zeros([num_classes, channels])
        self.squares = np.zeros(num_classes)

    def add(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Takes in feature vectors, float [n, channels], and their classes, integers [n]; 255 does not count."""
        features = features.astype(np.float64)
        classes = (labels[:, None] == np.arange(len(self.counts))).astype(np.float64)
        self.counts += classes.sum(0).astype(np.int64)
        self.sums += classes.T @ features
        self.squares += classes.T @ np.square(features).sum(1)

    @property
    def class_center_distance(self) -> np.ndarray:
        """float64 [K]: mean over the other classes of variance / squared distance of the means; lower is better.

        NaN for a class without vectors, which counts as no other class either.
        """
        seen = np.flatnonzero(self.counts)
        centers = self.sums[seen] / self.counts[seen, None]
        variances = self.squares[seen] / self.counts[seen] - np.square(centers).sum(1)
        distances = np.square(centers[:, None] - centers[None]).sum(-1)
        np.fill_diagonal(distances, np.inf)
        values = np.full(len(self.counts), np.nan)
        if len(seen) > 1:
            values[seen] = (np.maximum(variances, 0)[:, None] / distances).sum(1) / (len(seen) - 1)
        return values

    @property
    def mean_class_center_distance(self) -> float:
        """Mean over the classes that exist; NaN with fewer than two."""
        values = self.class_center_distance
        return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


class Sample:
    """A random sample of at most `size` feature vectors of every class."""

    def __init__(self, num_classes: int, size: int, seed: int = 0):
        self.size = size
        self._rng = np.random.default_rng(seed)
        self._kept: list[tuple[np.ndarray, np.ndarray] | None] = [None] * num_classes

    def add(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Takes in feature vectors, float [n, channels], and their classes, integers [n]; 255 does not count."""
        # Every vector draws a number, and those with the smallest numbers are kept: a fair draw from the whole stream.
        keys = self._rng.random(len(labels))
        for index in np.intersect1d(labels, np.arange(len(self._kept))):
            of_class = labels == index
            drawn, vectors = keys[of_class], features[of_class]
            if self._kept[index] is not None:
                drawn = np.concatenate([self._kept[index][0], drawn])
                vectors = np.concatenate([self._kept[index][1], vectors])
            smallest = np.argsort(drawn)[: self.size]
            self._kept[index] = drawn[smallest], vectors[smallest]

    def vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the feature vectors, float32 [n, channels], and their classes, int64 [n]."""
        kept = [(index, entry[1]) for index, entry in enumerate(self._kept) if entry is not None]
        classes = np.concatenate([np.full(len(vectors), index) for index, vectors in kept])
        return np.concatenate([vectors for _, vectors in kept]), classes


@dataclasses.dataclass(frozen=True)
class FeatureAnalysis:
    """What a segmenter's features say of the two domains.

    Attributes:
      both: statistics over source and target.
      counts: by domain, int64 [K], feature vectors of each class.
      samples: by domain, a sample of the feature vectors.
    """

    both: ClassStatistics
    counts: dict[str, np.ndarray]
    samples: dict[str, Sample]


def analyze(
    segmenter: Segmenter,
    records: dict[str, str],
    label_space: LabelSpace,
    size: tuple[int, int],
    *,
    images: int,
    sample_size: int,
    progress: Callable[[], object] = lambda: None,
    batch_size: int = 1,
) -> FeatureAnalysis:
    """Computes F on labelled images of every domain, with each label reduced to the size of the features.

    Args:
      segmenter: the model; what it calls its features, the map of `feature_stride`, is analysed.
      records: by domain, a folder of labelled shards.
      label_space: the classes.
      size: height and width that the images are resized to, pixels.
      images: of each domain, evenly taken from the records; 0 for all.
      sample_size: feature vectors of each class and domain to keep.
      progress: called after every image.
      batch_size: images that the segmenter sees at a time.

    Raises:
      InputError: records without labels, or with others; the backbone cannot see images of that size.
    """
    check_size(segmenter.backbone, *size, "the image")
    both = ClassStatistics(label_space.num_classes, segmenter.feature_channels)
    counts, samples = {}, {}
    compute = tf.function(lambda images: tf.cast(segmenter.features(images), tf.float32), reduce_retracing=True)
    reduce = tf.function(resize_label, reduce_retracing=True)
    for domain, folder in records.items():
        before = both.counts.copy()
        samples[domain] = Sample(label_space.num_classes, sample_size)
        for batch in _some_images(folder, label_space, size, images, batch_size):
            maps = compute(batch["image"]).numpy()
            for features, label, (height, width) in zip(maps, batch["label"], batch["label_size"].numpy(), strict=True):
                # Beyond its own size lies what a batch of several sizes was filled up with.
                labels = reduce(label[:height, :width], tf.constant(features.shape[:2])).numpy().ravel()
                vectors = features.reshape(-1, features.shape[-1])
                both.add(vectors, labels)
                samples[domain].add(vectors, labels)
                progress()
        counts[domain] = both.counts - before
    return FeatureAnalysis(both, counts, samples)


def number_of_images(folder: str, images: int) -> int:
    """Returns how many images of a folder of shards `analyze` looks at."""
    total = Manifest.load(folder).num_records
    return min(images, total) if images else total


def _some_images(
    folder: str, label_space: LabelSpace, size: tuple[int, int], images: int, batch_size: int
) -> tf.data.Dataset:
    last = Manifest.load(folder).num_records - 1
    evenly = np.linspace(0, last, number_of_images(folder, images)).round().astype(np.int64)
    return pipeline.evaluation_dataset(
        folder, label_space, batch_size=batch_size, height=size[0], width=size[1], partial_labels=True, only=evenly
    )
