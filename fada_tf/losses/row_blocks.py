"""Losses at full resolution without full-resolution maps: rows are upsampled, used and forgotten block by block."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fada_tf.models import convolutions
from fada_tf.models.interpolation import Interpolation

# Values of the largest upsampled map in a block; some ten maps of this size are alive at once.
_BLOCK_VALUES = 1 << 20  # where caches are what counts
_PLAIN_BLOCK_VALUES = 1 << 22  # on GPUs: at 3 TB/s one pass takes 10 µs, longer than the start of a kernel


def sum_over_row_blocks(
    losses_of: Callable[..., Any], maps: Sequence[tf.Tensor], size, pixels: Sequence[tf.Tensor] = ()
) -> Any:
    """Upsamples maps (corners aligned) and sums losses of their row blocks, with exact gradients.

    The gradients are computed along with the losses, so that nothing of full size is kept for a backward pass.

    Args:
      losses_of: called with a block of rows of every map, [batch, rows, width, channels], and of every one of `pixels`;
        returns a structure of scalars, for example a dictionary, each a sum over pixels.
      maps: float32 [batch, low height, low width, channels], of a low height known as well; gradients reach them.
      size: (height, width) of the upsampled maps, known when the graph is traced.
      pixels: [batch, height, width]; other inputs of full size, for example labels and weights. Integers come as int64.

    Returns:
      The same structure of float32 scalars, the sums over all rows.
    """
    structure = []

    def listed(*blocks):
        structure[:] = [losses_of(*blocks)]
        return tf.nest.flatten(structure)

    height, width = size
    rows = _rows(height, (maps[0].shape[0] or 1) * width * max(values.shape[-1] for values in maps))
    # The maps grow in width at once, which leaves them an eighth of full size; only the rows come in blocks.
    wide = [_widened(values, width) for values in maps]
    with tf.name_scope("row_blocks"):
        # GPUs cannot gather uint8, and leave comparisons of int32 to the host.
        pixels = [tf.cast(values, tf.int64) if values.dtype.is_integer else values for values in pixels]
        sums = _row_blocks(listed, height, rows, pixels)(*wide)
    return tf.nest.pack_sequence_as(structure, tf.nest.flatten(sums))[0]


def _widened(values: tf.Tensor, width: int) -> tf.Tensor:
    old_width = values.shape[2] or tf.shape(values)[2]
    columns, new, old = Interpolation(old_width, width), tf.range(width), tf.range(old_width)

    @tf.custom_gradient
    def widened(values):
        return columns.up(values, 2, new, old), lambda upstream: columns.down(upstream, 2, new, old)

    return widened(values)


def _rows(height: int, values_per_row: int) -> int:
    """Returns the rows of a block, of which the first may have fewer."""
    block_values = _BLOCK_VALUES if convolutions.for_cpu() else _PLAIN_BLOCK_VALUES
    blocks = min(-(-height * values_per_row // block_values), height)
    return -(-height // blocks)


def _row_blocks(losses_of, height, rows, pixels):
    """Returns the function from maps of full width to the losses, block of rows by block of rows."""
    first_rows = (height - 1) % rows + 1

    @tf.custom_gradient
    def summed(*wide):
        # An outer tape would record the loop, keep what its own gradient needs and so undo what this is for.
        wide = [tf.stop_gradient(values) for values in wide]
        low_height = wide[0].shape[1]
        interpolation = Interpolation(low_height, height)
        step, steps = low_height - 1, max(height - 1, 1)  # row r of the image is row r * step / steps of the maps

        def block(start, rows):
            """Returns losses, and by loss and map gradients (None where there is none), of the rows from `start`."""
            seen = min(-(-(rows - 1) * step // steps) + 2, low_height)  # rows of the maps that the block is made of
            # XLA knows how many rows are gathered, and not how many lie between two numbers of a loop.
            image_rows = start + tf.range(rows)
            map_rows = tf.minimum(start * step // steps, low_height - seen) + tf.range(seen)
            own_pixels = [tf.gather(values, image_rows, axis=1) for values in pixels]
            upsampled = [interpolation.up(values, 1, image_rows, map_rows) for values in wide]
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(upsampled)
                losses = list(losses_of(*upsampled, *own_pixels))
            gradients = [tape.gradient(loss, upsampled) for loss in losses]
            down = [
                [None if value is None else interpolation.down(value, 1, image_rows, map_rows) for value in by_map]
                for by_map in gradients
            ]
            return losses, down, map_rows

        def add(totals, gradients, map_rows):
            """Adds a block's gradients to the sums, in the rows of the maps that it is made of."""
            places = tf.stack(tf.meshgrid(tf.range(tf.shape(wide[0])[0]), map_rows, indexing="ij"), axis=-1)
            values = [value for value in tf.nest.flatten(gradients) if value is not None]
            return [tf.tensor_scatter_nd_add(total, places, value) for total, value in zip(totals, values, strict=True)]

        def next_block(start, losses, totals):
            own_losses, gradients, map_rows = block(start, rows)
            losses = [one + other for one, other in zip(losses, own_losses, strict=True)]
            return start + rows, losses, add(totals, gradients, map_rows)

        losses, first, map_rows = block(0, first_rows)
        zeros = [
            tf.zeros_like(values)
            for by_map in first
            for values, value in zip(wide, by_map, strict=True)
            if value is not None
        ]
        totals = add(zeros, first, map_rows)
        if first_rows < height:
            _, losses, totals = tf.while_loop(
                lambda start, *_: start < height,
                next_block,
                (first_rows, losses, totals),
                parallel_iterations=1,
                maximum_iterations=height // rows,
            )
        remaining = iter(totals)
        gradients = [[None if value is None else next(remaining) for value in by_map] for by_map in first]

        def gradient(*upstream):
            by_map = zip(*gradients, strict=True)
            return [_weighted_sum(upstream, by_loss) for by_loss in by_map]

        return losses, gradient

    return summed


def _weighted_sum(weights, values) -> tf.Tensor | None:
    terms = [weight * value for weight, value in zip(weights, values, strict=True) if value is not None]
    return tf.add_n(terms) if terms else None
