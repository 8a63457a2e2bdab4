"""Losses at full resolution without full-resolution maps: rows are upsampled, used and forgotten block by block."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fada_tf import forms
from fada_tf.models.interpolation import Interpolation

# Values of the largest upsampled map in a block; some ten maps of this size are alive at once.
_BLOCK_VALUES = 1 << 20  # where caches are what counts
_PLAIN_BLOCK_VALUES = 1 << 22  # on GPUs: at 3 TB/s one pass takes 10 µs, longer than the start of a kernel


def sum_over_row_blocks(
    losses_of: Callable[..., Any],
    maps: Sequence[tf.Tensor],
    size,
    pixels: Sequence[tf.Tensor] = (),
    *,
    align_corners: bool | Sequence[bool],
) -> Any:
    """Upsamples maps and sums losses of their row blocks, with exact gradients.

    The gradients are computed along with the losses, so that nothing of full size is kept for a backward pass.

    Args:
      losses_of: called with a block of rows of every map, [batch, rows, width, channels], and of every one of `pixels`;
        returns a structure of scalars, for example a dictionary, each a sum over pixels.
      maps: float32 [batch, low height, low width, channels], of low heights that are known as well and may differ;
        gradients reach them.
      size: (height, width) of the upsampled maps, known when the graph is traced.
      pixels: [batch, height, width]; other inputs of full size, for example labels and weights. Integers come as int64.
      align_corners: how the maps are upsampled, see `Interpolation`: the segmenter's for logits, True for the
        discriminator's. One for all maps, or one for each.

    Returns:
      The same structure of float32 scalars, the sums over all rows.
    """
    structure = []

    def listed(*blocks):
        structure[:] = [losses_of(*blocks)]
        return tf.nest.flatten(structure)

    height, width = size
    rows = _rows(height, (maps[0].shape[0] or 1) * width * max(values.shape[-1] for values in maps))
    # The maps grow in width at once, which leaves them a fraction of full size; only the rows come in blocks.
    aligned = [align_corners] * len(maps) if isinstance(align_corners, bool) else list(align_corners)
    wide = [_widened(values, width, each) for values, each in zip(maps, aligned, strict=True)]
    with tf.name_scope("row_blocks"):
        # GPUs cannot gather uint8, and leave comparisons of int32 to the host.
        pixels = [tf.cast(values, tf.int64) if values.dtype.is_integer else values for values in pixels]
        sums = _row_blocks(listed, height, rows, pixels, aligned)(*wide)
    return tf.nest.pack_sequence_as(structure, tf.nest.flatten(sums))[0]


def _widened(values: tf.Tensor, width: int, align_corners: bool) -> tf.Tensor:
    old_width = values.shape[2] or tf.shape(values)[2]
    columns = Interpolation(old_width, width, align_corners=align_corners)
    new, old = tf.range(width), tf.range(old_width)

    @tf.custom_gradient
    def widened(values):
        return columns.up(values, 2, new, old), lambda upstream: columns.down(upstream, 2, new, old)

    return widened(values)


def _rows(height: int, values_per_row: int) -> int:
    """Returns the rows of a block, of which the first may have fewer."""
    block_values = _BLOCK_VALUES if forms.for_cpu() else _PLAIN_BLOCK_VALUES
    blocks = min(-(-height * values_per_row // block_values), height)
    return -(-height // blocks)


def _row_blocks(losses_of, height, rows, pixels, aligned):
    """Returns the function from maps of full width to the losses, block of rows by block of rows."""
    first_rows = (height - 1) % rows + 1

    @tf.custom_gradient
    def summed(*wide):
        # An outer tape would record the loop, keep what its own gradient needs and so undo what this is for.
        wide = [tf.stop_gradient(values) for values in wide]
        interpolations = [
            Interpolation(values.shape[1], height, align_corners=each)
            for values, each in zip(wide, aligned, strict=True)
        ]
        batch = tf.range(tf.shape(wide[0])[0])

        def add_block(start, rows, losses, gradients):
            """Adds the losses of the rows from `start` and, by (loss, map) where there is one, their gradients."""
            # XLA knows how many rows are gathered, and not how many lie between two numbers of a loop.
            image_rows = start + tf.range(rows)
            map_rows = [interpolation.seen(start, rows) for interpolation in interpolations]
            own_pixels = [tf.gather(values, image_rows, axis=1) for values in pixels]
            grown = zip(interpolations, wide, map_rows, strict=True)
            upsampled = [interpolation.up(values, 1, image_rows, seen) for interpolation, values, seen in grown]
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(upsampled)
                own_losses = list(losses_of(*upsampled, *own_pixels))
            sums = {}
            for loss, value in enumerate(own_losses):
                for place, by_map in enumerate(tape.gradient(value, upsampled)):
                    if by_map is not None:
                        seen = map_rows[place]
                        total = gradients[loss, place] if gradients else tf.zeros_like(wide[place])
                        down = interpolations[place].down(by_map, 1, image_rows, seen)
                        where = tf.stack(tf.meshgrid(batch, seen, indexing="ij"), axis=-1)
                        sums[loss, place] = tf.tensor_scatter_nd_add(total, where, down)
            if losses:
                own_losses = [total + own for total, own in zip(losses, own_losses, strict=True)]
            return start + rows, own_losses, sums

        start, losses, gradients = add_block(0, first_rows, [], {})
        if first_rows < height:
            _, losses, gradients = tf.while_loop(
                lambda start, *_: start < height,
                lambda start, losses, gradients: add_block(start, rows, losses, gradients),
                (start, losses, gradients),
                parallel_iterations=1,
                maximum_iterations=height // rows,
            )

        def gradient(*upstream):
            return [_weighted_sum(upstream, gradients, place) for place in range(len(wide))]

        return losses, gradient

    return summed


def _weighted_sum(weights, gradients, place: int) -> tf.Tensor | None:
    """Returns the gradient by one map of the losses' weighted sum."""
    terms = [weight * gradients[loss, place] for loss, weight in enumerate(weights) if (loss, place) in gradients]
    return tf.add_n(terms) if terms else None
