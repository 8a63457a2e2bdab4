"""Learning rates by iteration; that of an update is set before it.

The authors': https://github.com/JDAI-CV/FADA/blob/a1c6403/core/solver/build.py#L5.
"""

import keras
from keras import ops

Schedule = keras.optimizers.schedules.LearningRateSchedule


def build_schedule(
    learning_rate: float,
    name: str = "poly",
    *,
    horizon: int,
    power: float,
    warmup_iterations: int = 0,
    warmup_start: float = 0.0,
) -> Schedule:
    """Returns a learning rate's schedule.

    Args:
      learning_rate: at iteration 0, but for the warm-up.
      name: "poly" is learning_rate * (1 - iteration / horizon) ** power, "linear" the same with power 1, and "constant"
        with power 0.
      horizon: see `ScheduleConfig`.
      power: see `ScheduleConfig`.
      warmup_iterations: for so many iterations, the rate is multiplied by what rises linearly from `warmup_start` to 1.
      warmup_start: 0..1.
    """
    power = {"poly": power, "linear": 1.0, "constant": 0.0}[name]
    schedule = keras.optimizers.schedules.PolynomialDecay(learning_rate, horizon, end_learning_rate=0.0, power=power)
    return WarmUp(schedule, warmup_iterations, warmup_start) if warmup_iterations else schedule


class WarmUp(Schedule):
    """Multiplies the first rates of another schedule by a factor that rises linearly to 1."""

    def __init__(self, schedule: Schedule, iterations: int, start: float):
        """Sets up the warm-up.

        Args:
          schedule: of the rates.
          iterations: how many have a lower rate, at least 1.
          start: the factor at iteration 0, 0..1.
        """
        self.schedule, self.iterations, self.start = schedule, iterations, start

    def __call__(self, step):
        """Returns the rate of one iteration, a float32 scalar."""
        rate = self.schedule(step)
        passed = ops.cast(step, rate.dtype) / self.iterations
        return ops.where(passed < 1, rate * (self.start + (1 - self.start) * passed), rate)
