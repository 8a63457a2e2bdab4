"""What methods with a teacher have in common: it labels the target, and the student learns its labels.

"code" names a place in https://github.com/lhoyer/MIC/blob/2f932a9.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from fada_tf import randomness
from fada_tf.augmentations import blur, classmix, color
from fada_tf.config import Config, MethodSettings
from fada_tf.data.labels import label_space
from fada_tf.data.manifest import Manifest
from fada_tf.errors import InputError
from fada_tf.losses.row_blocks import sum_over_row_blocks
from fada_tf.losses.segmentation import count_pixels, cross_entropy
from fada_tf.methods.base import Batch, Loss, Method, Watcher
from fada_tf.models import moving_average
from fada_tf.models.class_maps import predict_confident_map
from fada_tf.models.class_prior import ClassPrior
from fada_tf.optimizers.torch_optimizers import TorchOptimizer
from fada_tf.schema import option

Pass = dict[str, Loss | tf.Tensor]

# https://github.com/lhoyer/MIC/blob/2f932a9/seg/mmseg/models/utils/dacs_transforms.py#L52-L66
_BLURRED = 0.5  # share of the images
_SIGMAS = (0.15, 1.15)  # pixels

# Of frequent classes the start knows better than the source how many the target has; rare ones it overlooks.
_RARE = 0.02  # share of the pixels
_FIRST = 20  # updates; soon after them the teacher's classes are no longer those of the start


@dataclasses.dataclass
class TeacherSettings(MethodSettings):
    """What users choose of any method with a teacher that labels the target."""

    inference: str = option(
        "student", "what is scored and exported, of both the better", choices=("student", "teacher", "better")
    )
    teacher_decay: float = option(
        0.99, "a, the most that the teacher keeps of itself in an update; DAFormer and MIC: 0.999", minimum=0, maximum=1
    )
    confidence_threshold: float = option(
        0.968,
        "pixels whose likeliest class is at least as probable for the teacher are confident",
        minimum=0,
        maximum=1,
    )
    weight_per: str = option(
        "image", "whose share of confident pixels is the weight of its pseudo labels: each image's own, or (code) that "
        "of one replica's part of a batch, which then depends on how the batch is split", choices=("image", "batch"),
    )  # fmt: skip
    class_shares: str = option(
        "", "of the pixels, what each class's share of the pseudo labels is held to: 'start', what the teacher "
        "predicts at first, of rare classes at least the source's share; or numbers such as 0.3,0.5,0.2, one a class; "
        "empty: to nothing",
    )  # fmt: skip
    prior_rate: float = option(
        0.02, "how much an update raises the teacher's logits of a class that it sees nowhere; divide it by 10 for ten "
        "times as many iterations", above=0,
    )  # fmt: skip
    mix_weight: float = option(1.0, "of the loss on mixed images", minimum=0)
    color_jitter: float = option(
        0.2,
        "largest change of brightness, contrast, saturation and hue of mixed and masked images",
        minimum=0,
        maximum=1,
    )
    blur: bool = option(True, "blur half of the mixed and masked images")


class TeacherMethod(Method):
    """What all methods with a teacher have in common: pseudo labels, and losses by them.

    The teacher's weights are an average of the student's. It labels target images that are at most flipped, cropped
    and scaled; the student learns its labels on images that are harder to recognise.
    """

    def __init__(
        self,
        networks: Mapping[str, keras.Model],
        optimizers: Mapping[str, TorchOptimizer],
        settings: TeacherSettings,
        *,
        seed: int,
        accumulation_steps: int = 1,
        prior: ClassPrior | None = None,
    ):
        """Sets up the method.

        Args:
          networks: all but the teacher, which starts as a copy of the segmenter.
          optimizers: see `Method`.
          settings: what users choose.
          seed: of the method's own random numbers.
          accumulation_steps: see `Method`.
          prior: corrects the teacher's logits; None: they are as they are.
        """
        self.teacher, self.prior = moving_average.copy_of(networks["segmenter"]), prior
        added = {"teacher": self.teacher} | ({"class_prior": prior} if prior else {})
        super().__init__({**networks, **added}, optimizers, accumulation_steps)
        self.settings, self.seed = settings, seed
        self._histogram = tuple(f"pseudo_label_share/{k}" for k in range(self.segmenter.num_classes))
        self.reported: tuple[str, ...] = ("confident_share", "pseudo_label_entropy", "disagreement", *self._histogram)

    def after_update(self, iteration: tf.Tensor, measures: Mapping[str, tf.Tensor]) -> None:
        """Moves the teacher towards the student, at first in large steps, and its classes towards their shares."""
        ramp = 1 - 1 / (tf.cast(iteration, tf.float32) + 1)
        moving_average.update(self.teacher, self.segmenter, tf.minimum(ramp, self.settings.teacher_decay))
        if self.prior:
            self.prior.move(tf.stack([measures[name] for name in self._histogram]))

    def watchers(self) -> Sequence[Watcher]:
        """Returns what watches the pseudo labels."""
        return [NothingConfident(), Collapse(self.segmenter.num_classes)]

    def pseudo_labels(self, target: Batch) -> dict[str, tf.Tensor]:
        """Lets the teacher label a part of a batch.

        Returns:
          "label" int64 [batch, height, width]; "share" float32 [batch], that of confident pixels; and "weight" float32
          [batch, height, width], which is the share and, where "valid" of the target is 0, 0.
        """
        images = target["image"]
        logits = self.teacher(images, training=False)
        if self.prior:
            logits = self.prior(logits)
        labels, confidence = predict_confident_map(
            logits, images.shape[1:3], align_corners=self.segmenter.align_corners
        )
        confident = tf.cast(confidence >= self.settings.confidence_threshold, tf.float32)
        confident = tf.where(tf.math.is_nan(confidence), confidence, confident)  # a broken teacher must not go unseen
        shares = tf.reduce_mean(confident, axis=[1, 2])
        if self.settings.weight_per == "batch":
            shares = tf.fill(tf.shape(shares), tf.reduce_mean(shares))
        weights = shares[:, None, None] * tf.ones_like(confidence)
        if "valid" in target:
            weights *= tf.cast(target["valid"], tf.float32)
        return {"label": labels, "weight": weights, "share": shares}

    def statistics(self, pseudo: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns means over the images: the share of confident pixels, the histogram of pseudo labels, its entropy.

        An entropy of 1 is that of all classes alike, and of 0 that of one class alone.
        """
        classes = range(self.segmenter.num_classes)
        shares = [tf.reduce_mean(tf.cast(pseudo["label"] == k, tf.float32), axis=[1, 2]) for k in classes]
        entropies = -tf.add_n([tf.math.xlogy(share, share) for share in shares]) / math.log(max(len(classes), 2))
        return {
            "confident_share": tf.reduce_mean(pseudo["share"]),
            "pseudo_label_entropy": tf.reduce_mean(entropies),
        } | {f"pseudo_label_share/{k}": tf.reduce_mean(share) for k, share in enumerate(shares)}

    def strong(self, images: tf.Tensor, draws: tf.Tensor, purpose: str) -> tf.Tensor:
        """Changes colours and sharpness of float32 images in 0..255, by random numbers for the purpose."""
        if self.settings.color_jitter:
            numbers = randomness.uniform(self.seed, f"jitter, {purpose}", draws, (5,))
            images = color.jitter(images, numbers, self.settings.color_jitter)
        if self.settings.blur:
            chosen, place = tf.unstack(randomness.uniform(self.seed, f"blur, {purpose}", draws, (2,)), axis=1)
            low, high = _SIGMAS
            images = blur.gaussian_blur(images, tf.where(chosen < _BLURRED, low + (high - low) * place, 0.0))
        return images

    def mixed_of(self, above: Batch, below: Batch, mask: tf.Tensor, purpose: str) -> Batch:
        """Pastes what the mask shows of some images, labels and weights onto others, and makes the images harder.

        Args:
          above: "image", "label" and "weight", of one batch.
          below: the same of another batch of that size, and "draw".
          mask: bool [batch, height, width].
          purpose: of the random numbers.

        Returns:
          "image" float32 in 0..255, "label" int64, "weight" float32, "draw"; and "below", 1 where nothing was pasted,
          float32 [batch, height, width].
        """
        images = classmix.paste(mask, tf.cast(above["image"], tf.float32), tf.cast(below["image"], tf.float32))
        return {
            "image": self.strong(images, below.get("draw"), purpose),
            "label": classmix.paste(mask, tf.cast(above["label"], tf.int64), below["label"]),
            "weight": classmix.paste(mask, above["weight"], below["weight"]),
            "below": 1 - tf.cast(mask, tf.float32),
        } | ({"draw": below["draw"]} if "draw" in below else {})

    def mix_pass(self, mixed: Batch) -> Pass:
        """The student learns a mixed batch; "disagreement" is its share of errors where nothing was pasted."""
        counts = tf.reduce_sum(mixed["below"], axis=[1, 2], keepdims=True)
        of_image = tf.math.divide_no_nan(mixed["below"], counts) / tf.cast(tf.shape(counts)[0], tf.float32)
        loss, disagreement = self.consistency(mixed, of_image)
        return {"mix": Loss(loss, trains="segmenter", weight=self.settings.mix_weight), "disagreement": disagreement}

    def consistency(
        self, batch: Batch, compared: tf.Tensor | None = None, mask: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the weighted cross entropy of the student, a mean over ALL pixels, and where it errs.

        Args:
          batch: "image", "label", "weight", and "draw" for networks that are random in training.
          compared: float32 [batch, height, width], weights of the pixels in the second result; None: 0.
          mask: see `Segmenter.maps`.
        """
        pixels = count_pixels(batch["image"])
        compared = tf.zeros_like(batch["weight"]) if compared is None else compared

        def sums_of_block(logits, labels, weights, compared):
            wrong = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int64) != labels, tf.float32)
            return cross_entropy(logits, labels, pixels, weights), tf.reduce_sum(wrong * compared)

        draws = batch.get("draw")
        maps = self.segmenter.maps(batch["image"], training=True, draws=draws, mask=mask)
        logits = self.segmenter.classify(maps, training=True, draws=draws)
        return sum_over_row_blocks(
            sums_of_block,
            [logits],
            batch["image"].shape[1:3],
            [batch["label"], batch["weight"], compared],
            align_corners=self.segmenter.align_corners,
        )


class NothingConfident:
    """Warns when no pixel of the target is confident any more: then the teacher teaches nothing."""

    def __init__(self):
        self._silent = False

    def __call__(self, measures: Mapping[str, float]) -> str | None:
        """Looks at the mean share since the last report."""
        was_silent, self._silent = self._silent, measures["confident_share"] < 1e-4
        if was_silent or not self._silent:
            return None
        return (
            "the teacher is confident of no pixel of the target, so that nothing is learned of it: start from a "
            "segmenter that was trained longer, or lower config.method.confidence_threshold"
        )


class Collapse:
    """Warns when nearly all pseudo labels are of one class."""

    def __init__(self, num_classes: int, share: float = 0.95):
        """Sets up the watcher; it warns above `share`."""
        self._names = [f"pseudo_label_share/{k}" for k in range(num_classes)] if num_classes > 1 else []
        self._share, self._collapsed = share, False

    def __call__(self, measures: Mapping[str, float]) -> str | None:
        """Looks at the mean histogram since the last report."""
        shares = {name: measures[name] for name in self._names}
        largest = max(shares, key=shares.get, default=None)
        was_collapsed, self._collapsed = self._collapsed, largest is not None and shares[largest] > self._share
        if was_collapsed or not self._collapsed:
            return None
        return (
            f"{100 * shares[largest]:.0f} % of all pseudo labels are of class {largest.rpartition('/')[2]}: the "
            "teacher collapses; start from a segmenter that was trained longer, such as one of FADA's, or lower "
            "config.optimizer.learning_rate"
        )


def build_class_prior(config: Config, num_classes: int) -> ClassPrior | None:
    """Makes what holds the pseudo labels to the shares that the config asks for; None if it asks for none.

    Raises:
      InputError: the numbers are not a share for each class, or the source's labels lack a class of the config.
    """
    text, rate = config.method.class_shares, config.method.prior_rate
    if not text:
        return None
    if text != "start":
        return ClassPrior(_shares(text, num_classes), rate)
    least = np.minimum(_source_shares(config), _RARE) if config.data.source.records else np.zeros(num_classes)
    return ClassPrior(least, rate, _FIRST)


def _source_shares(config: Config) -> np.ndarray:
    """Returns what share of the source's pixels each class of the config has, whatever else its records know."""
    source, classes = Manifest.load(config.data.source.records), label_space(config.data.label_space)
    source.label_map(classes)  # which says what is lacking
    return source.with_classes(classes).pixel_shares


def _shares(text: str, num_classes: int) -> np.ndarray:
    try:
        shares = np.array([float(number) for number in text.split(",")])
    except ValueError:
        shares = np.array([])
    if len(shares) != num_classes or not (shares >= 0).all() or abs(shares.sum() - 1) > 0.02:
        raise InputError(
            f"config.method.class_shares is {text!r}: give 'start', or {num_classes} numbers of at least 0, one a "
            "class, that add up to 1"
        )
    return shares
