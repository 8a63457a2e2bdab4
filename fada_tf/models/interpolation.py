"""Linear interpolation along one axis, corners or borders aligned, and its adjoint, which takes gradients back.

On CPUs a product with the matrix of all weights is fastest. GPUs round the operands of such a product to the 10 bits of
TF32: there, and wherever `forms.chosen` says "plain", pixels are gathered, weighted and added up.
"""

import tensorflow as tf

from fada_tf import forms

# Products of the matrix of weights and values, by axis.
_UP = {1: "nh,bhwc->bnwc", 2: "nw,bhwc->bhnc"}
_DOWN = {1: "nh,bnwc->bhwc", 2: "nw,bhnc->bhwc"}


class Interpolation:
    """The map from `size` pixels to `new_size`, each the weighted sum of the two around its place, or of one."""

    def __init__(self, size, new_size, *, align_corners: bool):
        """Sets up the map.

        Args:
          size: an integer or integer tensor.
          new_size: likewise.
          align_corners: whether the centres of the pixels at the ends fall on each other; otherwise the borders do, as
            in torch's `align_corners=False`, and what lies beyond the last centre is the last pixel.
        """
        self.size, self.new_size = size, new_size
        # New pixel i lies at (i * step + offset) / steps of the old ones, as far as there are any.
        if align_corners:
            self._step, self._offset, self._steps = size - 1, 0, _bound(max, tf.maximum, new_size - 1, 1)
        else:
            self._step, self._offset, self._steps = 2 * size, size - new_size, 2 * new_size

    def weights(self, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
        """Returns the weights of old pixels in new ones, float32, of two integer tensors that broadcast."""
        # The float64 keeps the places of large images exact.
        step, offset, steps, last = (
            tf.cast(value, tf.float64) for value in (self._step, self._offset, self._steps, self.size - 1)
        )
        places = tf.clip_by_value((tf.cast(new, tf.float64) * step + offset) / steps, 0, last)
        return tf.cast(tf.maximum(1 - tf.abs(places - tf.cast(old, tf.float64)), 0), tf.float32)

    def first(self, new):
        """Returns the first old pixel of the two that a new one lies between; of an integer or integer tensor."""
        return tf.maximum((new * self._step + self._offset) // self._steps, 0)

    def seen(self, start, count: int) -> tf.Tensor:
        """Returns the old pixels that new ones are made of, as many for every start.

        Args:
          start: the first new pixel, an integer or integer tensor.
          count: of new pixels, one after the other; the sizes are integers too.

        Returns:
          int32, one after the other.
        """
        seen = min(-(-(count - 1) * self._step // self._steps) + 2, self.size)
        return tf.minimum(self.first(start), self.size - seen) + tf.range(seen)

    def at(self, values: tf.Tensor, axis: int, new: tf.Tensor) -> tf.Tensor:
        """Returns new pixels.

        Args:
          values: float32 [batch, height, width, channels], with `size` pixels along the axis.
          axis: 1 or 2.
          new: int32, the pixels that are wanted.

        Returns:
          float32, like `values` with the pixels `new` along the axis.
        """
        if forms.for_cpu():
            weights = self.weights(new[:, None], tf.range(self.size))
            if axis == 2:
                return tf.matmul(weights, values)
            batch, height, width, channels = (
                known or size for known, size in zip(values.shape, tf.unstack(tf.shape(values)), strict=True)
            )
            values = tf.matmul(weights, tf.reshape(values, [batch, height, width * channels]))
            return tf.reshape(values, [batch, new.shape[0] or tf.size(new), width, channels])
        return self.gathered(values, axis, new)

    def gathered(self, values: tf.Tensor, axis: int, new: tf.Tensor, begin=0) -> tf.Tensor:
        """Returns what `at` does, in the form for many old pixels, whose weights would make a large matrix.

        Args:
          values: see `at`; or only the pixels from `begin` on that are needed.
          axis: see `at`.
          new: see `at`.
          begin: the old pixel that `values` begin with.

        Returns:
          See `at`.
        """
        first = self.first(new)
        neighbours = ((tf.minimum(first + shift, self.size - 1), self.weights(new, first + shift)) for shift in (0, 1))
        return tf.add_n(
            [tf.gather(values, old - begin, axis=axis) * _along(axis, weights) for old, weights in neighbours]
        )

    def up(self, values: tf.Tensor, axis: int, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
        """Returns what `at` does, of few pixels of many.

        Args:
          values: see `at`.
          axis: see `at`.
          new: int32, the pixels that are wanted, one after the other.
          old: int32, those of `values` that they are made of, likewise.

        Returns:
          See `at`.
        """
        if forms.for_cpu():
            return tf.einsum(_UP[axis], self.weights(new[:, None], old), tf.gather(values, old, axis=axis))
        return self.at(values, axis, new)

    def down(self, values: tf.Tensor, axis: int, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
        """Returns what new pixels contribute to old ones: the gradient by what `up` was given.

        Args:
          values: float32 [batch, height, width, channels], with the pixels `new` along the axis.
          axis: 1 or 2.
          new: int32, one after the other.
          old: int32, the pixels that are wanted, likewise.

        Returns:
          float32, like `values` with the pixels `old` along the axis.
        """
        if forms.for_cpu():
            return tf.einsum(_DOWN[axis], self.weights(new[:, None], old), values)
        # Old pixel i has weights in the new ones that lie between the old ones i - 1 and i + 1.
        step = _bound(max, tf.maximum, self._step, 1)
        first = tf.maximum(-(((1 - old) * self._steps + self._offset) // step), new[0])
        seen = first[:, None] + tf.range(
            _bound(min, tf.minimum, 2 * self._steps // step + 1, new.shape[0] or tf.size(new))
        )
        weights = tf.where(seen <= new[-1], self.weights(seen, old[:, None]), 0)
        pixels = tf.gather(values, tf.minimum(seen, new[-1]) - new[0], axis=axis)
        return tf.reduce_sum(pixels * _along(axis, weights), axis=axis + 1)


def _bound(of_integers, of_tensors, value, limit):
    """Returns the smaller or larger one, as an integer where both are: shapes are known then."""
    return (of_integers if isinstance(value, int) and isinstance(limit, int) else of_tensors)(value, limit)


def _along(axis: int, weights: tf.Tensor) -> tf.Tensor:
    """Adds the dimensions that follow an axis of [batch, height, width, channels]."""
    return weights[(..., *[tf.newaxis] * (3 - axis))]
