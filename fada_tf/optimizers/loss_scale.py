"""Loss scaling for float16, whose smallest numbers are larger than many gradients."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Both are Keras's: https://github.com/keras-team/keras/blob/3422977a/keras/src/optimizers/loss_scale_optimizer.py#L49-L50
_INITIAL = 2.0**15
_GROWTH_INTERVAL = 2000  # updates without overflow after which the scale doubles


class LossScale(tf.Module):
    """A factor on losses that is taken out of their gradients again, as large as float16 allows.

    Where a gradient overflows, the update is skipped and the scale halved; after 2000 updates it doubles. Source:
    Micikevicius et al., Mixed Precision Training, ICLR 2018.

    Attributes:
      scale: float32 variable, a power of two, at least 1.
      updates: int64 variable, the updates since the scale changed.
    """

    def __init__(self):
        """Makes the variables, in the scope of the strategy."""
        super().__init__(name="loss_scale")
        self.scale = tf.Variable(_INITIAL, trainable=False, name="scale")
        self.updates = tf.Variable(0, dtype=tf.int64, trainable=False, name="updates")

    def gradient(self, tape: tf.GradientTape, loss: tf.Tensor, variables: Any) -> Any:
        """Returns the gradients of the loss, not those of the scaled one, by a structure of variables."""
        scaled = tape.gradient(loss, variables, output_gradients=self.scale)
        return tf.nest.map_structure(lambda value: None if value is None else value / self.scale, scaled)

    def update(self, apply: Callable[..., None], gradients: Any, *others: Any) -> None:
        """Calls `apply(gradients, *others)` where gradients are finite on all replicas, and adapts the scale.

        It runs in a replica.
        """
        context = tf.distribute.get_replica_context()
        finite = [tf.reduce_all(tf.math.is_finite(value)) for value in tf.nest.flatten(gradients)]
        overflows = context.all_reduce(tf.distribute.ReduceOp.SUM, 1 - tf.cast(tf.reduce_all(finite), tf.float32))

        def across_replicas(strategy, overflows, *args):
            # The optimizers leave the replica context, which only a condition outside of it allows.
            overflow = strategy.experimental_local_results(overflows)[0] > 0
            tf.cond(overflow, self._shrink, lambda: self._apply(strategy, apply, args))

        context.merge_call(across_replicas, args=(overflows, gradients, *others))

    def _apply(self, strategy, apply, args):
        strategy.extended.call_for_each_replica(apply, args=args)
        grows = self.updates + 1 >= _GROWTH_INTERVAL
        self.scale.assign(tf.where(grows, 2 * self.scale, self.scale))
        self.updates.assign(tf.where(grows, tf.zeros_like(self.updates), self.updates + 1))

    def _shrink(self):
        self.scale.assign(tf.maximum(self.scale / 2, 1))
        self.updates.assign(tf.zeros_like(self.updates))
