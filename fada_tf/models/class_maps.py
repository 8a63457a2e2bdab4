"""Class maps at full resolution without full-resolution scores of all classes, of which rows come in blocks."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fada_tf.models.interpolation import Interpolation
from fada_tf.models.layers import resize
from fada_tf.models.window_logits import WindowLogits, WindowScores
from fada_tf.windows import Windows

_BLOCK_VALUES = 1 << 21  # scores of a view in a block of rows; a few maps of this size are alive at once


Seen = (
    tf.Tensor | WindowLogits
)  # a view of some images: float32 [batch, height, width, classes] at the segmenter's stride


def predict_class_map(
    logits: tf.Tensor | Sequence[Seen], size, *, align_corners: bool, windows: Windows | None = None
) -> tf.Tensor:
    """Returns the most likely class of every pixel.

    The scores of all classes at full size would need gigabytes for a large picture, so its rows come in blocks.

    Args:
      logits: float32 [batch, height, width, classes], at the segmenter's `stride`; or one such tensor for each view,
        whose probabilities at `size` are averaged, as by the authors: https://github.com/JDAI-CV/FADA/blob/a1c6403/test.py#L46-L62;
        or, of images that were seen by windows, the `WindowLogits` of each view.
      size: height and width of the result, integers or an integer tensor [2].
      align_corners: the segmenter's.
      windows: by which the views were seen.

    Returns:
      int32 [batch, *size].
    """
    views = [logits] if tf.is_tensor(logits) else list(logits)

    def likeliest(scores: list[tf.Tensor]) -> list[tf.Tensor]:
        mean = mean_probabilities(scores, windows) if len(scores) > 1 else scores[0]
        return [tf.argmax(mean, axis=-1, output_type=tf.int32)]

    return _by_row_blocks(likeliest, [(tf.int32,)], views, size, align_corners, windows)[0]


def mean_probabilities(scores: Sequence[tf.Tensor], windows: Windows | None = None) -> tf.Tensor:
    """Returns the mean over the views of every class's probability, of the views' scores at full size."""
    if windows and windows.average == "softmax":  # which they are already
        return tf.add_n(list(scores)) / len(scores)
    return tf.add_n([tf.nn.softmax(values) for values in scores]) / len(scores)


def predict_probabilities(
    logits: Sequence[Seen], size, *, align_corners: bool, windows: Windows | None = None
) -> tf.Tensor:
    """Returns the probability of every class, float32 [batch, *size, classes]; see `predict_class_map`."""
    if windows is None:  # whole, which is simple enough for all converters of graphs
        return mean_probabilities([resize(view, size, align_corners=align_corners) for view in logits])

    def mean(scores: list[tf.Tensor]) -> list[tf.Tensor]:
        return [mean_probabilities(scores, windows)]

    kind = (tf.float32, logits[0].logits.shape[-1])
    return _by_row_blocks(mean, [kind], logits, size, align_corners, windows)[0]


def predict_confident_map(
    logits: tf.Tensor | Sequence[Seen], size, *, align_corners: bool, windows: Windows | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the most likely class of every pixel and its probability: pseudo labels, and how sure they are.

    Args:
      logits: as for `predict_class_map`.
      size: likewise.
      align_corners: the segmenter's.
      windows: by which the views were seen.

    Returns:
      Classes int64 [batch, *size], and probabilities float32 [batch, *size] in 0..1.
    """
    views = [logits] if tf.is_tensor(logits) else list(logits)
    are_probabilities = len(views) > 1 or (windows is not None and windows.average == "softmax")

    def likeliest(scores: list[tf.Tensor]) -> list[tf.Tensor]:
        mean = mean_probabilities(scores, windows) if len(scores) > 1 else scores[0]
        confidence = tf.reduce_max(mean, axis=-1)
        if not are_probabilities:  # the highest one of a softmax, without a map of all of them
            confidence = tf.exp(confidence - tf.reduce_logsumexp(mean, axis=-1))
        # GPUs move int64, and leave int32 to the host.
        return [tf.argmax(mean, axis=-1, output_type=tf.int64), confidence]

    classes, confidence = _by_row_blocks(likeliest, [(tf.int64,), (tf.float32,)], views, size, align_corners, windows)
    return classes, confidence


def _by_row_blocks(
    of_scores: Callable[[list[tf.Tensor]], list[tf.Tensor]],
    kinds: Sequence[tuple[Any, ...]],
    views: Sequence[Seen],
    size,
    align_corners: bool,
    windows: Windows | None = None,
) -> list[tf.Tensor]:
    """Returns the maps [batch, *size, ...] that `of_scores` makes of [batch, rows, width, classes] of each view.

    Of each, `kinds` have the dtype and the dimensions beyond the size.
    """
    # What is known when the graph is traced is known of all shapes, which benchmarks count operations and bytes by.
    known = tf.get_static_value(tf.convert_to_tensor(size))
    height, width = tf.unstack(tf.cast(size, tf.int32)) if known is None else map(int, known)
    batch = tf.nest.flatten(views)[0].shape[0] or tf.shape(tf.nest.flatten(views)[0])[0]
    scores = [
        WindowScores(view, windows, height, width, align_corners=align_corners)
        if windows
        else _WholeScores(view, height, width, align_corners=align_corners)
        for view in views
    ]
    values = [each.values_a_row for each in scores]
    rows = _BLOCK_VALUES // (tf.reduce_max(values) if any(map(tf.is_tensor, values)) else max(values))
    if tf.is_tensor(rows) or tf.is_tensor(height):
        rows = tf.clip_by_value(rows, 1, height)
    else:
        rows = min(max(rows, 1), height)
    blocks = -(-height // rows)

    def block(first: tf.Tensor) -> list[tf.Tensor]:
        """Returns the maps of the rows from `first` on; below the last, it again."""
        block_rows = tf.minimum(first + tf.range(rows), height - 1)
        return of_scores([each.at(block_rows) for each in scores])

    starts = rows * tf.range(blocks)
    specs = [tf.TensorSpec([None, None, None, *more], dtype) for dtype, *more in kinds]
    maps = tf.map_fn(block, starts, fn_output_signature=specs)
    return [
        tf.reshape(
            tf.transpose(values, [1, 0, *range(2, values.shape.rank)]), [batch, blocks * rows, width, *spec.shape[3:]]
        )[:, :height]
        for values, spec in zip(maps, specs, strict=True)
    ]


class _WholeScores:
    """Scores of whole rows of images that were seen at once.

    Attributes:
      values_a_row: how many scores a row of the result takes, as many as are alive at once.
    """

    def __init__(self, logits: tf.Tensor, height, width, *, align_corners: bool):
        """Sets up the scores of [batch, low height, low width, classes] at another height and width."""
        batch, low_height, low_width, classes = (
            known or size for known, size in zip(logits.shape, tf.unstack(tf.shape(logits)), strict=True)
        )
        self.values_a_row = batch * width * classes
        interpolation = functools.partial(Interpolation, align_corners=align_corners)
        # In width the maps grow at once, which leaves them a fraction of full size.
        self._wide = interpolation(low_width, width).at(logits, 2, tf.range(width))
        self._down = interpolation(low_height, height)

    def at(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns float32 [batch, rows, width, classes]."""
        return self._down.at(self._wide, 1, rows)
