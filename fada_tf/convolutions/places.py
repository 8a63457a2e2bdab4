"""Which pixels the taps of a convolution read, and images taken apart into tiles: gathers, with zeros outside."""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

Offsets = Sequence[tuple[int, int]]
Size = int | tf.Tensor

# Rows and columns of a tile at most: those of one tile stay in a core's cache while all of its taps are computed. The
# size matters little on a CPU with AVX-512 alone, where the gradient by a 3x3 kernel of 128x256 pixels takes, with
# tiles of 8x16, 16x32, 32x64 and 64x128: 15.9, 16.6, 18.3 and 14.7 ms for 64 channels and filters; 56.4, 56.2, 54.4 and
# 55.8 ms for 128.
_TILE = 16, 32


def tap_offsets(size: int, dilation: int) -> Offsets:
    """Returns (rows, columns) between the pixel that a tap reads and the one it adds to, by row of the kernel.

    Args:
      size: of the kernel, odd.
      dilation: of its rows and columns.
    """
    steps = [dilation * (index - size // 2) for index in range(size)]
    return [(row, column) for row in steps for column in steps]


def shape_of(tensor: tf.Tensor) -> list[Size]:
    """Returns the sizes of the dimensions: integers where they are known when the graph is traced."""
    if tensor.shape.is_fully_defined():
        return tensor.shape.as_list()
    return [known or size for known, size in zip(tensor.shape, tf.unstack(tf.shape(tensor)), strict=True)]


def pixels(images: tf.Tensor) -> tf.Tensor:
    """Returns [batch, height, width, channels] as [pixels, channels]."""
    return tf.reshape(images, [-1, images.shape[-1]])


def seen_by_taps(upstream: tf.Tensor, offsets: Offsets) -> tf.Tensor:
    """Returns the upstream gradient where each tap of each input pixel added to: [pixels, taps * filters]."""
    if list(offsets) == [(0, 0)]:
        return pixels(upstream)
    batch, height, width, filters = shape_of(upstream)
    seen_places = pixel_places(height, width, [(-row, -column) for row, column in offsets])
    # One gather is faster than putting shifted copies side by side: three times on a CPU with AVX-512 and AMX, twice on
    # one with AVX-512 alone.
    seen = tf.gather(with_zero(tf.reshape(upstream, [batch, -1, filters])), seen_places, axis=1)
    return tf.reshape(seen, [-1, len(offsets) * filters])


def pixel_places(height: Size, width: Size, offsets: Offsets) -> tf.Tensor:
    """Returns int32 [height, width, taps]: the pixel at each offset, height * width where there is none."""
    if isinstance(height, int) and isinstance(width, int):
        return tf.constant(_constant_places(height, width, tuple(offsets)))
    return _compute_places(height, width, offsets)


@functools.lru_cache(maxsize=128)
def _constant_places(height: int, width: int, offsets: Offsets) -> np.ndarray:
    """Computes outside of the graph, once for all layers of one size: what is not traced starts a run earlier."""
    with tf.init_scope():
        return _compute_places(height, width, offsets).numpy()


def _compute_places(height: Size, width: Size, offsets: Offsets) -> tf.Tensor:
    rows = tf.range(height)[:, None, None] + [row for row, _ in offsets]
    columns = tf.range(width)[None, :, None] + [column for _, column in offsets]
    return _places_of(rows, columns, height, width)


@functools.lru_cache(maxsize=128)
def _tile_places(height: int, width: int, halo: int) -> np.ndarray:
    """Returns int32 [tiles, rows, columns]: the pixel at each place of a tile, height * width where there is none."""

    def positions(length: int, most: int) -> tf.Tensor:
        tiles = -(-length // most)
        size = -(-length // tiles)
        return size * tf.range(tiles)[:, None] + tf.range(-halo, size + halo)

    with tf.init_scope():
        rows, columns = positions(height, _TILE[0]), positions(width, _TILE[1])
        places = _places_of(rows[:, None, :, None], columns[None, :, None, :], height, width)
        return tf.reshape(places, [-1, *places.shape[2:]]).numpy()


def _places_of(rows: tf.Tensor, columns: tf.Tensor, height: Size, width: Size) -> tf.Tensor:
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return tf.where(inside, rows * width + columns, height * width)


def with_zero(rows: tf.Tensor) -> tf.Tensor:
    """Appends zeros to the rows of [batch, rows, channels]."""
    return tf.pad(rows, [[0, 0], [0, 1], [0, 0]])


def tiles(images: tf.Tensor, halo: int) -> tf.Tensor:
    """Returns a batch of tiles with the pixels around them, zeros outside the image: each [rows, columns, channels]."""
    _, height, width, channels = images.shape
    places = _tile_places(height, width, halo)
    tiles = tf.gather(with_zero(tf.reshape(images, [-1, height * width, channels])), places, axis=1)
    return tf.reshape(tiles, [-1, *places.shape[1:], channels])
