"""Scaled dot-product attention, whose scores, one of every pair of tokens, need not exist all at once."""

import math

import tensorflow as tf

from fada_tf.convolutions.places import shape_of

# Scores at a time, of all heads of a batch: 512 MB in float32. At 1120x1120 pixels, patches of 14 make 40 million for
# each head of each image.
_SCORES = 1 << 27


def attend_by_heads(
    queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, heads: int, angles: tf.Tensor | None = None
) -> tf.Tensor:
    """Attends with several heads, whose channels lie side by side; see `attend`.

    Args:
      queries: of tokens [batch, count, channels], or of a map [batch, height, width, channels].
      keys: of as many channels; their tokens may be others.
      values: like the keys.
      heads: a divisor of the number of channels.
      angles: float32 [count, channels of a head / 2], by which queries and keys are turned.

    Returns:
      Like the queries.
    """

    def of_heads(tokens: tf.Tensor) -> tf.Tensor:
        batch, *sides, channels = shape_of(tokens)
        return tf.transpose(tf.reshape(tokens, [batch, math.prod(sides), heads, channels // heads]), [0, 2, 1, 3])

    split_queries, split_keys = of_heads(queries), of_heads(keys)
    if angles is not None:
        split_queries, split_keys = _turned(split_queries, angles), _turned(split_keys, angles)
    attended = attend(split_queries, split_keys, of_heads(values))
    return tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), shape_of(queries))


def _turned(tokens: tf.Tensor, angles: tf.Tensor) -> tf.Tensor:
    """Turns, in float32, every channel of the first half together with that of the second half."""
    one, other = tf.split(tf.cast(tokens, tf.float32), 2, axis=-1)
    cosines, sines = tf.cos(angles), tf.sin(angles)
    turned = tf.concat([one * cosines - other * sines, other * cosines + one * sines], axis=-1)
    return tf.cast(turned, tokens.dtype)


def attend(queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns softmax(q k^T / sqrt(channels)) v, the softmax in float32.

    Of many tokens, queries come in blocks, whose scores the gradient computes again, as in Rabe and Staats,
    https://arxiv.org/abs/2112.05682.

    Args:
      queries: [batch, heads, count, channels of a head].
      keys: [batch, heads, other count, channels of a head].
      values: like the keys.

    Returns:
      Like the queries.
    """
    queries *= queries.shape[-1] ** -0.5
    batch, heads, count, _ = shape_of(queries)
    rows = _SCORES // (batch * heads * shape_of(keys)[2])
    if isinstance(rows, int) and isinstance(count, int):
        return _whole(queries, keys, values) if count <= rows else _by_blocks(queries, keys, values, max(rows, 1))
    return _by_blocks(queries, keys, values, tf.clip_by_value(rows, 1, count))


def _weights(queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    return tf.nn.softmax(tf.cast(tf.matmul(queries, keys, transpose_b=True), tf.float32))


def _whole(queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    return tf.matmul(tf.cast(_weights(queries, keys), values.dtype), values)


def _by_blocks(queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, rows) -> tf.Tensor:
    """Attends with `rows` queries at a time."""

    @tf.custom_gradient
    def attended(queries, keys, values):
        def gradient(upstream):
            blocks = _blocks(queries, rows), _blocks(upstream, rows)
            number = shape_of(blocks[0])[0]

            def add_block(index, by_queries, by_keys, by_values):
                of_queries, of_keys, of_values = _gradients(blocks[0][index], keys, values, blocks[1][index])
                return index + 1, by_queries.write(index, of_queries), by_keys + of_keys, by_values + of_values

            arrays = tf.TensorArray(queries.dtype, size=number, element_shape=blocks[0].shape[1:])
            zeros = [tf.zeros(shape_of(given)) for given in (keys, values)]
            _, by_queries, *sums = tf.while_loop(
                lambda index, *_: index < number, add_block, (0, arrays, *zeros), parallel_iterations=1
            )
            return _joined(by_queries.stack(), queries), *(tf.cast(total, keys.dtype) for total in sums)

        blocks = _blocks(queries, rows)
        outputs = tf.map_fn(lambda block: _whole(block, keys, values), blocks, parallel_iterations=1)
        return _joined(outputs, queries), gradient

    return attended(queries, keys, values)


def _gradients(queries, keys, values, upstream) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the gradients of `_whole` by queries, in their type, and by keys and values, in float32."""
    weights = _weights(queries, keys)
    by_weights = tf.cast(tf.matmul(upstream, values, transpose_b=True), tf.float32)
    by_scores = weights * (by_weights - tf.reduce_sum(by_weights * weights, -1, keepdims=True))
    by_scores = tf.cast(by_scores, queries.dtype)
    by_keys = tf.matmul(by_scores, queries, transpose_a=True)
    by_values = tf.matmul(tf.cast(weights, upstream.dtype), upstream, transpose_a=True)
    return tf.matmul(by_scores, keys), tf.cast(by_keys, tf.float32), tf.cast(by_values, tf.float32)


def _blocks(tokens: tf.Tensor, rows) -> tf.Tensor:
    """Returns [blocks, batch, heads, rows, channels] of [batch, heads, count, channels], with zeros at the end."""
    batch, heads, count, channels = shape_of(tokens)
    number = -(-count // rows)
    padded = tf.pad(tokens, [[0, 0], [0, 0], [0, number * rows - count], [0, 0]])
    return tf.transpose(tf.reshape(padded, [batch, heads, number, rows, channels]), [2, 0, 1, 3, 4])


def _joined(blocks: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Undoes `_blocks`."""
    batch, heads, count, channels = shape_of(like)
    return tf.reshape(tf.transpose(blocks, [1, 2, 0, 3, 4]), [batch, heads, -1, channels])[:, :, :count]
