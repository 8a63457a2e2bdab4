"""Linear interpolation along one axis, corners aligned, and its adjoint, which takes gradients back.

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

    def __init__(self, size, new_size):
        """Sets up the map; the arguments are integers or integer tensors."""
        self.size, self.new_size = size, new_size
        # New pixel i lies at i * step / steps; after `steps` of them, at the other corner.
        self._step, self._steps = size - 1, _bound(max, tf.maximum, new_size - 1, 1)

    def weights(self, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
        """Returns the weights of old pixels in new ones, float32, of two integer tensors that broadcast."""
        # The float64 keeps the places of large images exact.
        places = tf.cast(new, tf.float64) * tf.cast(self._step, tf.float64) / tf.cast(self._steps, tf.float64)
        return tf.cast(tf.maximum(1 - tf.abs(places - tf.cast(old, tf.float64)), 0), tf.float32)

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
        first = new * self._step // self._steps
        neighbours = ((tf.minimum(first + shift, self.size - 1), self.weights(new, first + shift)) for shift in (0, 1))
        return tf.add_n([tf.gather(values, old, axis=axis) * _along(axis, weights) for old, weights in neighbours])

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
        # Old pixel i has weights in the new ones between (i - 1) * steps / step and (i + 1) * steps / step.
        step = _bound(max, tf.maximum, self._step, 1)
        first = tf.maximum(-((1 - old) * self._steps // step), new[0])
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
