"""SGD and Adam with torch's arithmetic, which differs from Keras's in ways that change a training run."""

import keras
import tensorflow as tf
from keras import ops


class TorchSGD(keras.optimizers.Optimizer):
    """g = gradient + weight_decay * w; v = momentum * v + g; w = w - learning_rate * v.

    Keras's own SGD keeps learning_rate * g in its velocity, so a later learning rate does not act on earlier gradients,
    and its `weight_decay` shrinks the weights apart from the momentum. Source: the formulas in the documentation of
    torch.optim.SGD, dampening 0, nesterov off.
    """

    def __init__(self, learning_rate, momentum: float = 0.9, weight_decay: float = 0.0, name: str = "torch_sgd"):
        """Sets up the optimizer.

        Args:
          learning_rate: a float or a `keras.optimizers.schedules.LearningRateSchedule`.
          momentum: >= 0.
          weight_decay: >= 0; weight_decay * w is added to every gradient.
          name: of the optimizer's variables.
        """
        # Keras must not see the decay: it would apply its own, decoupled one as well.
        super().__init__(learning_rate=learning_rate, name=name)
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay

    def build(self, variables):
        """Makes one velocity a variable."""
        if not self.built:
            super().build(variables)
            self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable."""
        velocity = self.velocities[self._get_variable_index(variable)]
        # Whatever needs no gradient would be computed for all variables at the start of a step, and kept to its end.
        with tf.control_dependencies([gradient]):
            gradient = ops.cast(gradient, variable.dtype) + self.coupled_weight_decay * variable
            # One pass over the weights instead of five.
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle,
                accum=velocity.value.handle,
                lr=ops.cast(learning_rate, variable.dtype),
                grad=gradient,
                momentum=ops.cast(self.momentum, variable.dtype),
            )

    def get_config(self):
        """Returns the constructor's arguments as Keras serialises them."""
        config = super().get_config()
        own = {"momentum": self.momentum, "weight_decay": self.coupled_weight_decay}
        return {"learning_rate": config["learning_rate"], "name": config["name"]} | own


class TorchAdam(keras.optimizers.Optimizer):
    """Adam whose epsilon is added to the bias-corrected root: w = w - learning_rate * m^ / (sqrt(v^) + epsilon).

    Keras adds epsilon before the correction, which damps the first steps where gradients are small. Source: the
    formulas in the documentation of torch.optim.Adam.
    """

    def __init__(
        self, learning_rate, beta_1: float = 0.9, beta_2: float = 0.99, epsilon: float = 1e-8, name: str = "torch_adam"
    ):
        """Sets up the optimizer.

        Args:
          learning_rate: a float or a `keras.optimizers.schedules.LearningRateSchedule`.
          beta_1: decay of the mean of gradients, 0..1.
          beta_2: decay of the mean of squared gradients, 0..1; the default is the authors', not Adam's.
          epsilon: > 0.
          name: of the optimizer's variables.
        """
        super().__init__(learning_rate=learning_rate, name=name)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables):
        """Makes the two means for every variable."""
        if not self.built:
            super().build(variables)
            self.means, self.squares = self.add_optimizer_variables(variables, ["mean", "square"])

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable."""
        dtype = variable.dtype
        mean = self.means[self._get_variable_index(variable)]
        square = self.squares[self._get_variable_index(variable)]
        with tf.control_dependencies([gradient]):  # as above
            gradient, count = ops.cast(gradient, dtype), ops.cast(self.iterations + 1, dtype)
            self.assign(mean, self.beta_1 * mean + (1.0 - self.beta_1) * gradient)
            self.assign(square, self.beta_2 * square + (1.0 - self.beta_2) * ops.square(gradient))
            corrected_mean = mean / (1.0 - ops.power(ops.cast(self.beta_1, dtype), count))
            corrected_square = square / (1.0 - ops.power(ops.cast(self.beta_2, dtype), count))
            step = ops.cast(learning_rate, dtype) * corrected_mean / (ops.sqrt(corrected_square) + self.epsilon)
            self.assign_sub(variable, step)

    def get_config(self):
        """Returns the constructor's arguments as Keras serialises them."""
        config = super().get_config()
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {"learning_rate": config["learning_rate"], "name": config["name"]} | own
