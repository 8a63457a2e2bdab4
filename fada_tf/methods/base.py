"""What every method has in common: parameter groups, gradient accumulation and the update."""

import abc

import keras
import tensorflow as tf

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

    @property
    def measure_names(self) -> tuple[str, ...]:
        """The keys of what `step` returns."""
        return (*self.loss_names, *(f"gradient_norm/{name}" for name in self.groups))

    @abc.abstractmethod
    def losses_and_gradients(self, *batches: Batch) -> tuple[dict[str, tf.Tensor], Gradients]:
        """Returns the mean losses over the batches of one replica, and each group's gradients."""

    def use_xla(self) -> None:
        """Compiles `losses_and_gradients` with XLA from now on."""
        self.losses_and_gradients = tf.function(self.losses_and_gradients, jit_compile=True)

    def step(self, *batches: Batch) -> dict[str, tf.Tensor]:
        """Makes one update of every group; runs in a replica.

        Args:
          *batches: this replica's images of each domain: "image" [batch, height, width, 3] in 0..255, "label"
            integers [batch, height, width] where the domain has labels.

        Returns:
          float32 scalars of this replica: the losses, means over its images, and "gradient_norm/GROUP", L2 norms.
        """
        losses, gradients = self._accumulate(batches)
        # The optimizers sum over the replicas, and each replica's losses are means over its own images.
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        norms = {f"gradient_norm/{name}": tf.linalg.global_norm(gradients[name]) for name in self.groups}
        for name, group in self.groups.items():
            mean = [gradient / replicas if replicas > 1 else gradient for gradient in gradients[name]]
            group.optimizer.apply(mean, group.variables)
        return losses | norms

    def _accumulate(self, batches: tuple[Batch, ...]) -> tuple[dict[str, tf.Tensor], Gradients]:
        parts = self.accumulation_steps
        total = None
        for part in range(parts):
            # Without the order, TensorFlow would run the parts side by side, in the memory of the whole batch.
            with tf.control_dependencies([tf.group(tf.nest.flatten(total))] if total else []):
                portion = tf.nest.map_structure(lambda values, part=part: tf.split(values, parts)[part], batches)
                result = self.losses_and_gradients(*portion)
                total = tf.nest.map_structure(tf.add, total, result) if total else result
        return tf.nest.map_structure(lambda values: values / parts, total)
