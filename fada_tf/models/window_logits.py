"""Logits of an image's windows, and from them scores of whole rows, of which few are alive at once."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import tensorflow as tf

from fada_tf.devices import inference_batch_size
from fada_tf.models.interpolation import Interpolation
from fada_tf.models.segmenter import Segmenter
from fada_tf.windows import Windows


class WindowLogits(NamedTuple):
    """What a segmenter says of each window of some images of one size.

    Attributes:
      logits: float32 [batch, rows of windows, height, columns of windows, width, classes], of each window at the
        segmenter's stride.
      tops: int32 [batch, rows of windows], where they begin in the image, ascending; the same for all images, as below.
      lefts: int32 [batch, columns of windows], likewise.
      window: int32 [batch, 2], height and width of the windows.
      size: int32 [batch, 2], height and width of the images.
    """

    logits: tf.Tensor
    tops: tf.Tensor
    lefts: tf.Tensor
    window: tf.Tensor
    size: tf.Tensor

    def mirrored(self) -> "WindowLogits":
        """Returns what was seen of mirrored images, turned back."""
        lefts = tf.reverse(self.size[:, 1:] - self.window[:, 1:] - self.lefts, [1])
        return self._replace(logits=tf.reverse(self.logits, [3, 4]), lefts=lefts)


def window_logits(
    segmenter: Segmenter,
    images: tf.Tensor,
    windows: Windows,
    *,
    at_once: int = 0,
    progress: Callable[[int], object] | None = None,
) -> WindowLogits:
    """Runs the segmenter on every window of images, chunk by chunk, so that few windows are alive at once.

    Args:
      segmenter: the model; all windows have one size, which is known when the graph is traced unless the images may be
        smaller.
      images: RGB [batch, height, width, 3] in 0..255.
      windows: where they lie.
      at_once: windows that the segmenter sees at a time; 0: `inference_batch_size()`.
      progress: called after each chunk with its number of windows, by the program that traced the graph.

    Returns:
      See `WindowLogits`.
    """
    at_once = at_once or inference_batch_size()
    known = zip(images.shape[:3], tf.unstack(tf.shape(images)[:3]), strict=True)
    batch, height, width = (size or here for size, here in known)
    side, tops = _placed(height, windows.window[0], windows.stride[0])
    across, lefts = _placed(width, windows.window[1], windows.stride[1])
    rows, columns = tf.size(tops), tf.size(lefts)
    number = batch * rows * columns

    def part(index: tf.Tensor) -> tf.Tensor:
        top, left = tops[index // columns % rows], lefts[index % columns]
        pixels = images[index // (rows * columns), top : top + side, left : left + across]
        # As float32, since GPUs do not stack uint8.
        return tf.ensure_shape(tf.cast(pixels, tf.float32), spec.shape)

    def chunk(first: tf.Tensor, place: tf.Tensor, done: tf.TensorArray):
        indices = tf.range(first, tf.minimum(first + at_once, number))
        logits = segmenter(tf.map_fn(part, indices, fn_output_signature=spec), training=False)
        if progress:
            tf.numpy_function(lambda count: progress(int(count)), [tf.size(indices)], [])
        return first + at_once, place + 1, done.write(place, logits)

    spec = tf.TensorSpec([*(each if isinstance(each, int) else None for each in (side, across)), 3], tf.float32)
    shape = [None, None, None, segmenter.num_classes]
    done = tf.TensorArray(tf.float32, -(-number // at_once), infer_shape=False, element_shape=shape)
    *_, done = tf.while_loop(lambda first, *_: first < number, chunk, (0, 0, done), parallel_iterations=1)
    logits = done.concat()
    old = [batch, rows, columns, *tf.unstack(tf.shape(logits)[1:3]), segmenter.num_classes]
    logits = tf.transpose(tf.reshape(logits, old), [0, 1, 3, 2, 4, 5])
    of_one = (tops, lefts, [side, across], [height, width])
    return WindowLogits(logits, *(tf.tile(tf.convert_to_tensor(each)[None], [batch, 1]) for each in of_one))


class WindowScores:
    """Scores of whole rows: means over the windows that hold a pixel, of logits or of their softmax.

    Attributes:
      values_a_row: how many scores a row of the result takes, as many as are alive at once.
    """

    def __init__(self, seen: WindowLogits, windows: Windows, height, width, *, align_corners: bool):
        """Sets up the scores.

        Args:
          seen: the windows of a batch of images.
          windows: what `window_logits` was given.
          height: of the result, pixels, an integer or integer tensor; scores at the images' size are interpolated.
          width: likewise.
          align_corners: the segmenter's, see `Interpolation`.
        """
        self._logits, self._softmax = seen.logits, windows.average == "softmax"
        self._tops, (self._side, self._across) = seen.tops[0], tf.unstack(seen.window[0])
        self._batch, _, self._low_rows, self._windows, self._low_columns, self._classes = (
            known or size for known, size in zip(seen.logits.shape, tf.unstack(tf.shape(seen.logits)), strict=True)
        )
        own_height, own_width = tf.unstack(seen.size[0])
        self._size_is_own = tf.equal(own_height, height) & tf.equal(own_width, width)
        interpolation = functools.partial(Interpolation, align_corners=align_corners)
        self._down, self._right = interpolation(own_height, height), interpolation(own_width, width)
        self._down_window = interpolation(self._low_rows, self._side)
        self._right_window = interpolation(self._low_columns, self._across)
        self._own_columns, self._columns = tf.range(own_width), tf.range(width)
        most = -(-windows.window[1] // windows.stride[1]) + 1  # hold a pixel, since the last window is moved back
        self._sources = list(self._sources_of_columns(seen.lefts[0], most))
        taken = tf.maximum(self._windows * self._across, width) * tf.maximum(-(-own_height // height), 1)
        self.values_a_row = self._batch * taken * self._classes

    def at(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns float32 [batch, rows, width, classes] of rows that follow one another; the last may be repeated."""

        def interpolated() -> tf.Tensor:
            first, last = self._down.first(rows[0]), self._down.first(rows[-1]) + 1
            own = self._own_rows(tf.range(first, tf.minimum(last, self._down.size - 1) + 1))
            return self._right.gathered(self._down.gathered(own, 1, rows, first), 2, self._columns)

        return tf.cond(self._size_is_own, lambda: self._own_rows(rows), interpolated)

    def _sources_of_columns(self, lefts: tf.Tensor, most: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Yields a pixel of the windows side by side for each column of the images, and its weight: 0 for no more."""
        first, count = _holding(self._own_columns, lefts, self._across)
        for nth in range(most):
            window = tf.minimum(first + nth, self._windows - 1)
            place = tf.clip_by_value(self._own_columns - tf.gather(lefts, window), 0, self._across - 1)
            weight = tf.where(nth < count, 1 / tf.cast(count, tf.float32), 0)
            yield window * self._across + place, weight[:, None]

    def _own_rows(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns float32 [batch, rows, width, classes] at the images' own size."""
        first, count = _holding(rows, self._tops, self._side)
        weights = 1 / tf.cast(count, tf.float32)

        def add(band: tf.Tensor, total: tf.Tensor):
            places = rows - self._tops[band]
            held = tf.where((places >= 0) & (places < self._side), weights, 0)
            scores = self._rows_of_band(band, tf.clip_by_value(places, 0, self._side - 1))
            return band + 1, total + scores * held[:, None, None]

        total = tf.zeros([self._batch, tf.size(rows), tf.size(self._own_columns), self._classes])
        last = first[-1] + count[-1]
        return tf.while_loop(lambda band, _: band < last, add, (first[0], total), parallel_iterations=1)[1]

    def _rows_of_band(self, band: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Returns those rows of windows beside each other, averaged where these overlap."""
        low = [self._batch, self._low_rows, self._windows * self._low_columns, self._classes]
        scores = self._down_window.at(tf.reshape(self._logits[:, band], low), 1, rows)
        shape = [self._batch * tf.size(rows), self._windows, self._low_columns, self._classes]
        scores = self._right_window.at(tf.reshape(scores, shape), 2, tf.range(self._across))
        if self._softmax:
            scores = tf.nn.softmax(scores)
        scores = tf.reshape(scores, [self._batch, tf.size(rows), self._windows * self._across, self._classes])
        return tf.add_n([tf.gather(scores, place, axis=2) * weight for place, weight in self._sources])


def _placed(size, window: int, stride: int):
    """Returns the side of windows along an axis, and where they begin, int32."""
    side = min(window, size) if isinstance(size, int) else tf.minimum(window, size)
    return side, tf.minimum(stride * tf.range((size - side + stride - 1) // stride + 1), size - side)


def _holding(pixels: tf.Tensor, starts: tf.Tensor, side) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the first window that holds each pixel, and how many do, int32."""
    begun = tf.reduce_sum(tf.cast(starts <= pixels[:, None], tf.int32), axis=1)
    ended = tf.reduce_sum(tf.cast(starts + side <= pixels[:, None], tf.int32), axis=1)
    return ended, begun - ended
