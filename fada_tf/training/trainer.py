"""The inner loop: orbit's StandardTrainer around a method's step."""

import math
import sys
import time
from typing import TextIO

import orbit
import tensorflow as tf

from fada_tf.errors import DivergenceError, Stopped
from fada_tf.methods.base import Method
from fada_tf.training.actions import tell
from fada_tf.training.signals import StopRequest


class Trainer(orbit.StandardTrainer):
    """Runs `method.step` on every replica, many iterations a call of one compiled loop.

    Attributes:
      step: int64 variable, the iterations done; those whose update float16 has skipped count.
      progress: float32 [measures + 1] variable, sums of the step's measures since the last report and, last, of how
        many steps. It is checkpointed: a signal may stop a run between two reports.
      stream: where lines for people go, such as why the first iteration takes long.
    """

    def __init__(self, method: Method, strategy: tf.distribute.Strategy, batch_size: int, stop: StopRequest):
        """Sets up the trainer; give it `train_dataset` before it trains.

        Args:
          method: what an iteration does.
          strategy: the replicas.
          batch_size: images a domain and iteration, over all replicas; for the throughput that is reported.
          stop: ends the loop between two iterations.
        """
        super().__init__(None, orbit.StandardTrainerOptions(use_tf_function=True, use_tf_while_loop=True))
        self.method = method
        self.strategy = strategy
        self.stop = stop
        self.stream: TextIO = sys.stdout
        self.images_per_step = batch_size * len(method.domains)
        with strategy.scope():
            self.step = orbit.utils.create_global_step()
        self._names = method.metric_names
        self.progress = tf.Variable(tf.zeros([len(self._names) + 1]), trainable=False, name="progress")
        self._latest = tf.Variable(tf.zeros([len(self._names)]), trainable=False, name="latest")
        self._stopped = tf.Variable(False, trainable=False, name="stopped")  # whether any worker's `stop.flag` is set

    @property
    def latest(self) -> dict[str, float]:
        """The measures of the last iteration, by name."""
        return dict(zip(self._names, self._latest.numpy().tolist(), strict=True))

    @property
    def learning_rates(self) -> dict[str, float]:
        """The learning rates of the next iteration, by parameter group."""
        optimizers = self.method.optimizers.values()
        return {name: rate for optimizer in optimizers for name, rate in optimizer.learning_rates().items()}

    def create_train_loop_fn(self):
        """Returns a compiled loop that also ends after a signal, and after values that are not finite.

        The first time, it says how long the first iteration takes, and begins to measure speed after it.
        """

        @tf.function
        def loop(iterator, num_steps):
            for _ in tf.range(num_steps):
                if self._stopped or not tf.reduce_all(tf.math.is_finite(self._latest)):
                    break
                with tf.name_scope(""):
                    self.train_step(iterator)

        def first_loop(iterator, num_steps):
            tell(self.stream, "compiling the training step")
            loop(iterator, tf.ones_like(num_steps))
            tell(self.stream, f"compiled in {time.monotonic() - self._start:.1f} s, with the first iteration")
            self._train_loop_fn = loop  # what orbit calls from now on
            self._start_clock()
            loop(iterator, num_steps - 1)

        return first_loop

    def train(self, num_steps: tf.Tensor) -> dict[str, float]:
        """Runs iterations; see `train_loop_end` for what comes back and what is raised."""
        self._last_step = int(self.step.numpy()) + int(num_steps)
        return super().train(num_steps)

    def train_loop_begin(self):
        """Starts the clock.

        Raises:
          Stopped: a signal came during the last iteration of the loop before.
        """
        if self._stopped.numpy():
            self._stop()
        self._start_clock()

    def _start_clock(self):
        self._first_step, self._start = int(self.step.numpy()), time.monotonic()

    def train_step(self, iterator):
        """Runs one iteration on the next batch of every domain."""
        measures = self.strategy.run(self.method.step, args=next(iterator))
        names = self.method.measure_names
        means = tf.stack([self.strategy.reduce("MEAN", measures[name], axis=None) for name in names])
        self._latest.assign(means)
        flags = self.strategy.run(lambda: tf.cast(self.stop.flag, tf.float32))
        self._stopped.assign(self.strategy.reduce("SUM", flags, axis=None) > 0)
        self.progress.assign_add(tf.concat([means, [1.0]], 0))
        self.step.assign_add(1)

    def train_loop_end(self) -> dict[str, float]:
        """Returns means of the measures since the last report, learning rates and speed of the loop that ended.

        There is no speed of a loop of one iteration that was also compiled.

        Raises:
          DivergenceError: a loss or gradient of the last iteration is infinite or NaN.
          Stopped: a signal ended the loop early.
        """
        step, seconds = int(self.step.numpy()), time.monotonic() - self._start
        if not all(math.isfinite(value) for value in self.latest.values()):
            listing = ", ".join(f"{name} {value:.4g}" for name, value in self.latest.items())
            raise DivergenceError(f"iteration {step} has losses or gradients that are not finite ({listing})")
        if step < self._last_step:
            self._stop()
        *sums, count = self.progress.numpy().tolist()
        self.progress.assign(tf.zeros_like(self.progress))
        output = {name: total / count for name, total in zip(self._names, sums, strict=True)}
        output |= {f"learning_rate/{name}": rate for name, rate in self.learning_rates.items()}
        if steps := step - self._first_step:
            output["speed/seconds_per_step"] = seconds / steps
            output["speed/images_per_second"] = steps * self.images_per_step / seconds
        return output

    def _stop(self):
        self.stop.check()
        raise Stopped("stopped with another worker")
