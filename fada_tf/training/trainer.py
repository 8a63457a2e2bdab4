"""The inner loop: orbit's StandardTrainer around a method's step."""

import time

import orbit
import tensorflow as tf

from fada_tf.methods.base import Method


class Trainer(orbit.StandardTrainer):
    """Runs `method.step` on every replica, many iterations a call of one compiled loop.

    Attributes:
      step: int64 variable, the iterations done.
    """

    def __init__(self, method: Method, strategy: tf.distribute.Strategy, batch_size: int):
        """Sets up the trainer; give it `train_dataset` before it trains.

        Args:
          method: what an iteration does.
          strategy: the replicas.
          batch_size: images a domain and iteration, over all replicas; for the throughput that is reported.
        """
        super().__init__(None, orbit.StandardTrainerOptions(use_tf_function=True, use_tf_while_loop=True))
        self.method = method
        self.strategy = strategy
        self.images_per_step = batch_size * len(method.domains)
        with strategy.scope():
            self.step = orbit.utils.create_global_step()
        self._loss_sums = {name: tf.Variable(0.0, trainable=False, name=name) for name in method.loss_names}

    def train_loop_begin(self):
        """Starts the means and the clock."""
        for total in self._loss_sums.values():
            total.assign(0.0)
        self._first_step, self._start = int(self.step.numpy()), time.monotonic()

    def train_step(self, iterator):
        """Runs one iteration on the next batch of every domain."""
        losses = self.strategy.run(self.method.step, args=next(iterator))
        for name, total in self._loss_sums.items():
            total.assign_add(self.strategy.reduce("MEAN", losses[name], axis=None))
        self.step.assign_add(1)

    def train_loop_end(self) -> dict[str, float]:
        """Returns mean losses ("loss/NAME"), learning rates and speed of the loop that ended."""
        steps, seconds = int(self.step.numpy()) - self._first_step, time.monotonic() - self._start
        output = {f"loss/{name}": float(total.numpy()) / steps for name, total in self._loss_sums.items()}
        for name, group in self.method.groups.items():
            output[f"learning_rate/{name}"] = float(group.optimizer.learning_rate)
        return output | {
            "speed/seconds_per_step": seconds / steps,
            "speed/images_per_second": steps * self.images_per_step / seconds,
        }
