"""Losses at full resolution without full-resolution maps: rows are upsampled, used and forgotten block by block."""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from fada_tf.models.layers import interpolation_matrix

_BLOCK_VALUES = 1 << 20  # of the largest upsampled map in a block; some ten maps of this size are alive at once


def sum_over_row_blocks(
    losses_of: Callable[..., Sequence[tf.Tensor]], maps: Sequence[tf.Tensor], size, pixels: Sequence[tf.Tensor] = ()
) -> list[tf.Tensor]:
    """Upsamples maps (corners aligned) and sums losses of their row blocks, with exact gradients.

    The gradients are computed along with the losses, so that nothing of full size is kept for a backward pass.

    Args:
      losses_of: called with a block of rows of every map, [batch, rows, width, channels], and of every one of `pixels`;
        returns scalars, each a sum over pixels.
      maps: float32 [batch, low height, low width, channels]; gradients reach them.
      size: (height, width) of the upsampled maps, known when the graph is traced.
      pixels: [batch, height, width]; other inputs of full size, for example labels.

    Returns:
      float32 scalars, the sums over all rows.
    """
    height, width = size
    rows = _rows(height, (maps[0].shape[0] or 1) * width * max(values.shape[-1] for values in maps))
    # The maps grow in width at once, which leaves them an eighth of full size; only the rows come in blocks.
    wide = [tf.einsum("nw,bhwc->bhnc", interpolation_matrix(tf.shape(values)[2], width), values) for values in maps]
    return list(_row_blocks(losses_of, height, rows, pixels)(*wide))


def _rows(height: int, values_per_row: int) -> int:
    """Returns the divisor of `height` that comes nearest to the size of a block."""
    wanted = max(_BLOCK_VALUES / values_per_row, 1)
    divisors = [rows for rows in range(1, height + 1) if height % rows == 0]
    return min(divisors, key=lambda rows: abs(math.log(rows / wanted)))


def _row_blocks(losses_of, height, rows, pixels):
    """Returns the function from maps of full width to the losses, which runs through the blocks of rows."""

    @tf.custom_gradient
    def summed(*wide):
        # An outer tape would record the loop, keep what its own gradient needs and so undo what this is for.
        wide = [tf.stop_gradient(values) for values in wide]
        weights = interpolation_matrix(tf.shape(wide[0])[1], height)

        def block(start):
            """Returns losses, and by loss and map gradients (None where there is none), of the rows from `start`."""
            own_weights = weights[start : start + rows]
            own_pixels = [values[:, start : start + rows] for values in pixels]
            upsampled = [tf.einsum("nh,bhwc->bnwc", own_weights, values) for values in wide]
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(upsampled)
                losses = list(losses_of(*upsampled, *own_pixels))
            gradients = [tape.gradient(loss, upsampled) for loss in losses]
            down = [
                [None if value is None else tf.einsum("nh,bnwc->bhwc", own_weights, value) for value in by_map]
                for by_map in gradients
            ]
            return losses, down

        losses, gradients = total = block(0)
        is_there = [value is not None for value in tf.nest.flatten(total)]

        def add(start, sums):
            values = [value for value in tf.nest.flatten(block(start)) if value is not None]
            return start + rows, [one + other for one, other in zip(sums, values, strict=True)]

        sums = [value for value in tf.nest.flatten(total) if value is not None]
        _, sums = tf.while_loop(lambda start, _: start < height, add, (rows, sums), parallel_iterations=1)
        remaining = iter(sums)
        flat = [next(remaining) if there else None for there in is_there]
        losses, gradients = tf.nest.pack_sequence_as(total, flat)

        def gradient(*upstream):
            by_map = zip(*gradients, strict=True)
            return [_weighted_sum(upstream, by_loss) for by_loss in by_map]

        return losses, gradient

    return summed


def _weighted_sum(weights, values) -> tf.Tensor | None:
    terms = [weight * value for weight, value in zip(weights, values, strict=True) if value is not None]
    return tf.add_n(terms) if terms else None
