"""What every method has in common: parameter groups, gradient accumulation and the update."""

import abc
from typing import Any

import keras
import tensorflow as tf

from fada_tf.optimizers.loss_scale import LossScale
from fada_tf.optimizers.parameter_groups import ParameterGroup

Batch = dict[str, tf.Tensor]
Gradients = dict[str, list[tf.Tensor]]


class Method(abc.ABC):
    """A way to train a segmenter; one file in this folder, with a function `build(config, segmenter)`.

    Attributes:
      domains: the domains it trains on, in the order of the arguments of `losses_and_gradients`.
      labelled_domains: those of them whose labels it needs.
      loss_names: the keys of the losses it returns, and of their lowest values if those are not 0.
      segmenter: the model that is trained for use.
      helpers: other models that are trained along, by name; they are saved in checkpoints.
      groups: the optimizer of every trained weight.
      loss_scale: where the segmenter computes in float16; else None.
    """

    domains: tuple[str, ...]
    labelled_domains: tuple[str, ...]
    loss_names: tuple[str, ...]

    def __init__(
        self,
        segmenter: keras.Model,
        groups: dict[str, ParameterGroup],
        helpers: dict[str, keras.Model] | None = None,
        accumulation_steps: int = 1,
    ):
        self.segmenter = segmenter
        self.groups = groups
        self.helpers = helpers or {}
        self.accumulation_steps = accumulation_steps
        self.loss_scale = LossScale() if segmenter.compute_dtype == "float16" else None

    @property
    def measure_names(self) -> tuple[str, ...]:
        """The keys of what `step` returns."""
        norms = (f"gradient_norm/{name}" for name in self.groups)
        return (*self.loss_names, *norms, *(("loss_scale",) if self.loss_scale else ()))

    @abc.abstractmethod
    def losses_and_gradients(self, *batches: Batch) -> tuple[dict[str, tf.Tensor], Gradients]:
        """Returns the mean losses over the batches of one replica, and the gradient by every variable of each group.

        AutoGraph does not convert it: conditions and loops on tensors are written as tf.cond and tf.while_loop.
        """

    def use_xla(self) -> None:
        """Compiles `losses_and_gradients` with XLA from now on."""
        self.losses_and_gradients = tf.function(self.losses_and_gradients, jit_compile=True)

    @tf.autograph.experimental.do_not_convert  # which would take seconds, and finds nothing to convert here or below
    def step(self, *batches: Batch) -> dict[str, tf.Tensor]:
        """Makes one update of every group; runs in a replica.

        Args:
          *batches: this replica's images of each domain: "image" [batch, height, width, 3] in 0..255, "label"
            integers [batch, height, width] where the domain has labels.

        Returns:
          float32 scalars of this replica: the losses, means over its images, and "gradient_norm/GROUP", L2 norms. With
          loss scaling also "loss_scale", and 0 for a norm that is not finite, whose update is skipped.
        """
        losses, gradients = self._accumulate(batches)
        norms = {f"gradient_norm/{name}": tf.linalg.global_norm(gradients[name]) for name in self.groups}
        if self.loss_scale is None:
            self.update(gradients)
            return losses | norms
        scale = tf.identity(self.loss_scale.scale)
        self.loss_scale.update(self.update, gradients)
        # At the lowest scale an overflow is a divergence, which the norm shows.
        norms = {name: tf.where(tf.math.is_finite(norm) | (scale <= 1), norm, 0) for name, norm in norms.items()}
        return losses | norms | {"loss_scale": scale}

    def gradient(self, tape: tf.GradientTape, loss: tf.Tensor, variables: Any) -> Any:
        """Returns the gradients of a loss by a structure of variables; None where it does not reach."""
        if self.loss_scale is None:
            return tape.gradient(loss, variables)
        return self.loss_scale.gradient(tape, loss, variables)

    def update(self, gradients: Gradients) -> None:
        """Updates every group once, by the mean over the replicas of what `losses_and_gradients` returned on each."""
        # The optimizers sum over the replicas, and each replica's losses are means over its own images.
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        before = []
        for name, group in self.groups.items():
            # Without the order, the update of D would take its memory when the activations of F take most.
            with tf.control_dependencies(before):
                mean = [gradient / replicas if replicas > 1 else gradient for gradient in gradients[name]]
                group.optimizer.apply(mean, group.variables)
            before.append(tf.group(gradients[name]))

    def _accumulate(self, batches: tuple[Batch, ...]) -> tuple[dict[str, tf.Tensor], Gradients]:
        """Returns the means of the parts' losses and gradients; the parts come one after the other, in a loop."""
        parts = self.accumulation_steps
        if parts == 1:
            return self.losses_and_gradients(*batches)
        # Synchronized batch norm leaves the replica context in every part, which a loop inside of it does not allow.
        totals = tf.distribute.get_replica_context().merge_call(self._accumulate_across_replicas, args=(batches,))
        return tf.nest.map_structure(lambda total: total / parts, totals)

    def _accumulate_across_replicas(self, strategy, batches):
        each_replica = strategy.extended.call_for_each_replica

        def add_part(part, totals):
            return part + 1, each_replica(self._add_part, args=(part, totals, batches))

        _, totals = tf.while_loop(
            lambda part, totals: part < self.accumulation_steps,
            add_part,
            (0, each_replica(self._zeros)),
            parallel_iterations=1,
            maximum_iterations=self.accumulation_steps,
        )
        return totals

    def _zeros(self):
        losses = {name: tf.zeros([]) for name in self.loss_names}
        return losses, {
            name: [tf.zeros(variable.shape) for variable in group.variables] for name, group in self.groups.items()
        }

    def _add_part(self, part, totals, batches):
        def portion(values):
            return tf.reshape(values, [self.accumulation_steps, -1, *values.shape[1:]])[part]

        result = self.losses_and_gradients(*tf.nest.map_structure(portion, batches))
        return tf.nest.map_structure(tf.add, totals, result)
