"""SGD, Adam and AdamW with torch's arithmetic, which differs from Keras's in ways that change a training run."""

import abc
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from keras import ops

from fada_tf.optimizers.groups import ParameterGroup, is_norm_or_position
from fada_tf.optimizers.schedules import Schedule

# Added to the norm that is divided by, as in torch.nn.utils.clip_grad_norm_:
# https://github.com/pytorch/pytorch/blob/20592e4d/torch/nn/utils/clip_grad.py#L162
_CLIP_EPSILON = 1e-6


class TorchOptimizer(keras.optimizers.Optimizer, abc.ABC):
    """The optimizer of one network, whose weights may have different learning rates and weight decays.

    Attributes:
      groups: the parameter groups, in the order of the gradients.
      weight_decays: of every weight, in the same order.
      clip_norm: the gradients of all groups together are scaled down to this L2 norm; 0: never.
    """

    slots: tuple[str, ...]  # what is kept for every weight

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        schedule: Callable[[float], Schedule],
        *,
        weight_decay: float = 0.0,
        decay_all: bool = True,
        clip_norm: float = 0.0,
        name: str | None = None,
    ):
        """Makes the optimizer's variables, in the scope of the strategy.

        Args:
          groups: all weights that are trained, each in one group.
          schedule: from a multiplier of the network's learning rate to its schedule.
          weight_decay: >= 0, of the groups that have none of their own.
          decay_all: whether normalizations and position embeddings decay too.
          clip_norm: see above.
          name: of the optimizer's variables.
        """
        weights = [variable for group in groups for variable in group.variables]
        if len({id(variable) for variable in weights}) < len(weights):
            raise ValueError(f"a weight is in two of the groups {[group.name for group in groups]}")

        def decay(variable, group):
            if not decay_all and is_norm_or_position(variable):
                return 0.0
            return weight_decay if group.weight_decay is None else group.weight_decay

        multipliers = [multiplier for group in groups for multiplier in group.multipliers()]
        distinct = sorted({*multipliers, *(group.multiplier for group in groups)})
        super().__init__(learning_rate=_Rates([schedule(multiplier) for multiplier in distinct]), name=name)
        self.clip_norm = clip_norm
        self.groups = tuple(groups)
        self._rate_of_group = {group.name: distinct.index(group.multiplier) for group in groups}
        self._rate_of_weight = tuple(map(distinct.index, multipliers))
        self.weight_decays = tuple(decay(variable, group) for group in groups for variable in group.variables)
        self.build(weights)

    def learning_rates(self) -> dict[str, float]:
        """Returns the learning rates of the next update by group, without the multipliers of single weights."""
        rates = self.learning_rate
        return {name: float(rates[place]) for name, place in self._rate_of_group.items()}

    def build(self, variables):
        """Makes one variable a weight for each of the slots."""
        if not self.built:
            super().build(variables)
            self._slots = self.add_optimizer_variables(variables, list(self.slots))

    def update_step(self, gradient, variable, learning_rate):
        """Updates one weight."""
        index = self._get_variable_index(variable)
        rate, dtype = learning_rate[self._rate_of_weight[index]], variable.dtype
        # TensorFlow computes what needs no gradient for all variables at the start of a step, and keeps it to the end:
        # so all of it waits for the gradient.
        with tf.control_dependencies([gradient]):
            rate, gradient = ops.cast(rate, dtype), ops.cast(gradient, dtype)
            slots = (slot[index] for slot in self._slots)
            self.update_weight(variable, gradient, rate, self.weight_decays[index], *slots)

    @abc.abstractmethod
    def update_weight(self, weight, gradient, rate, decay, *slots):
        """Assigns the new values of a weight and of its slots."""

    def _all_reduce_sum_gradients(self, grads_and_vars):
        """Sums over the replicas, then clips. Keras clips before the sum, each replica by a norm of its own."""
        summed = super()._all_reduce_sum_gradients(grads_and_vars)
        if not self.clip_norm:
            return summed
        gradients, variables = zip(*summed, strict=True)
        factor = tf.minimum(self.clip_norm / (tf.linalg.global_norm(gradients) + _CLIP_EPSILON), 1.0)
        return [(factor * gradient, variable) for gradient, variable in zip(gradients, variables, strict=True)]


class TorchSGD(TorchOptimizer):
    """g = gradient + weight_decay * w; v = momentum * v + g; w = w - learning_rate * v.

    Keras's own SGD keeps learning_rate * g in its velocity, so a later learning rate does not act on earlier gradients,
    and its `weight_decay` shrinks the weights apart from the momentum. Source: the formulas in the documentation of
    torch.optim.SGD, dampening 0, nesterov off.
    """

    slots = ("velocity",)

    def __init__(self, groups, schedule, *, momentum: float = 0.9, **settings):
        """Sets up the optimizer.

        Args:
          groups: see `TorchOptimizer`.
          schedule: see `TorchOptimizer`.
          momentum: >= 0.
          **settings: see `TorchOptimizer`.
        """
        super().__init__(groups, schedule, **settings)
        self.momentum = momentum

    def update_weight(self, weight, gradient, rate, decay, velocity):
        """See `TorchOptimizer`."""
        if decay:
            gradient = gradient + decay * weight
        # Operations one by one would go over the weights five times, this one does so once.
        tf.raw_ops.ResourceApplyMomentum(
            var=weight.handle,
            accum=velocity.value.handle,
            lr=rate,
            grad=gradient,
            momentum=ops.cast(self.momentum, weight.dtype),
        )


class TorchAdam(TorchOptimizer):
    """Adam whose epsilon is added to the bias-corrected root: w = w - learning_rate * m^ / (sqrt(v^) + epsilon).

    Keras adds epsilon before the correction, which damps the first steps where gradients are small. Weight decay is
    added to the gradient, as in SGD. Source: the formulas in the documentation of torch.optim.Adam.
    """

    slots = ("mean", "square")

    def __init__(
        self, groups, schedule, *, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, **settings
    ):
        """Sets up the optimizer.

        Args:
          groups: see `TorchOptimizer`.
          schedule: see `TorchOptimizer`.
          beta_1: decay of the mean of gradients, 0..1.
          beta_2: decay of the mean of squared gradients, 0..1.
          epsilon: > 0.
          **settings: see `TorchOptimizer`.
        """
        super().__init__(groups, schedule, **settings)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def update_weight(self, weight, gradient, rate, decay, mean, square):
        """See `TorchOptimizer`."""
        if decay:
            gradient = gradient + decay * weight
        count = ops.cast(self.iterations + 1, weight.dtype)
        self.assign(mean, self.beta_1 * mean + (1.0 - self.beta_1) * gradient)
        self.assign(square, self.beta_2 * square + (1.0 - self.beta_2) * ops.square(gradient))
        corrected_mean = mean / (1.0 - ops.power(ops.cast(self.beta_1, weight.dtype), count))
        corrected_square = square / (1.0 - ops.power(ops.cast(self.beta_2, weight.dtype), count))
        self.assign_sub(weight, rate * corrected_mean / (ops.sqrt(corrected_square) + self.epsilon))


class TorchAdamW(TorchAdam):
    """Adam whose weight decay shrinks the weights first, by learning_rate * weight_decay, and enters neither mean.

    Source: the formulas in the documentation of torch.optim.AdamW.
    """

    def update_weight(self, weight, gradient, rate, decay, mean, square):
        """See `TorchOptimizer`."""
        if decay:
            self.assign(weight, weight * (1.0 - rate * decay))
        super().update_weight(weight, gradient, rate, 0.0, mean, square)


class _Rates(Schedule):
    """Several schedules at once; a list of rates is what `update_step` is given."""

    def __init__(self, schedules: Sequence[Schedule]):
        self.schedules = schedules

    def __call__(self, step):
        return [schedule(step) for schedule in self.schedules]
