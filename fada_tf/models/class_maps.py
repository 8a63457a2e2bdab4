"""Class maps at full resolution without full-resolution scores of all classes, of which rows come in blocks."""

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from fada_tf.models.interpolation import Interpolation

_BLOCK_VALUES = 1 << 21  # scores of a view in a block of rows; a few maps of this size are alive at once


def predict_class_map(logits: tf.Tensor | Sequence[tf.Tensor], size, *, align_corners: bool) -> tf.Tensor:
    """Returns the most likely class of every pixel.

    The scores of all classes at full size would need gigabytes for a large picture, so its rows come in blocks.

    Args:
      logits: float32 [batch, height, width, classes], at the segmenter's `stride`; or one such tensor for each view,
        whose probabilities at `size` are averaged, as by the authors: https://github.com/JDAI-CV/FADA/blob/a1c6403/test.py#L46-L62.
      size: height and width of the result, integers or an integer tensor [2].
      align_corners: the segmenter's.

    Returns:
      int32 [batch, *size].
    """
    views = [logits] if tf.is_tensor(logits) else list(logits)

    def likeliest(scores: list[tf.Tensor]) -> list[tf.Tensor]:
        if len(scores) > 1:
            scores = [tf.add_n([tf.nn.softmax(values) for values in scores])]
        return [tf.argmax(scores[0], axis=-1, output_type=tf.int32)]

    return _by_row_blocks(likeliest, (tf.int32,), views, size, align_corners)[0]


def predict_confident_map(logits: tf.Tensor, size, *, align_corners: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the most likely class of every pixel and its probability: pseudo labels, and how sure they are.

    Args:
      logits: float32 [batch, height, width, classes], at the segmenter's `stride`.
      size: as for `predict_class_map`.
      align_corners: the segmenter's.

    Returns:
      Classes int64 [batch, *size], and probabilities float32 [batch, *size] in 0..1.
    """

    def likeliest(scores: list[tf.Tensor]) -> list[tf.Tensor]:
        logits = scores[0]
        # The highest probability of a softmax, without a map of all of them.
        confidence = tf.exp(tf.reduce_max(logits, axis=-1) - tf.reduce_logsumexp(logits, axis=-1))
        # GPUs move int64, and leave int32 to the host.
        return [tf.argmax(logits, axis=-1, output_type=tf.int64), confidence]

    return tuple(_by_row_blocks(likeliest, (tf.int64, tf.float32), [logits], size, align_corners))


def _by_row_blocks(
    of_scores: Callable[[list[tf.Tensor]], list[tf.Tensor]],
    dtypes: Sequence[tf.DType],
    views: Sequence[tf.Tensor],
    size,
    align_corners: bool,
) -> list[tf.Tensor]:
    """Returns the maps [batch, *size] that `of_scores` makes of [batch, rows, width, classes] of each view."""
    # What is known when the graph is traced is known of all shapes, which benchmarks count operations and bytes by.
    known = tf.get_static_value(tf.convert_to_tensor(size))
    height, width = tf.unstack(tf.cast(size, tf.int32)) if known is None else map(int, known)
    batch, classes = views[0].shape[0] or tf.shape(views[0])[0], views[0].shape[-1]
    rows = _BLOCK_VALUES // (batch * width * classes)
    if tf.is_tensor(rows) or tf.is_tensor(height):
        rows = tf.clip_by_value(rows, 1, height)
    else:
        rows = min(max(rows, 1), height)
    blocks = -(-height // rows)
    # In width the maps grow at once, which leaves them a fraction of full size.
    interpolation = functools.partial(Interpolation, align_corners=align_corners)
    wide = [interpolation(tf.shape(view)[2], width).at(view, 2, tf.range(width)) for view in views]

    def block(first: tf.Tensor) -> list[tf.Tensor]:
        """Returns the maps of the rows from `first` on; below the last, it again."""
        block_rows = tf.minimum(first + tf.range(rows), height - 1)
        return of_scores([interpolation(tf.shape(view)[1], height).at(view, 1, block_rows) for view in wide])

    starts = rows * tf.range(blocks)
    specs = [tf.TensorSpec([None, None, None], dtype) for dtype in dtypes]
    maps = tf.map_fn(block, starts, fn_output_signature=specs)
    return [
        tf.reshape(tf.transpose(values, [1, 0, 2, 3]), [batch, blocks * rows, width])[:, :height] for values in maps
    ]
