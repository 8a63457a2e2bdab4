"""A network whose weights are a moving average of another one's: the teacher of self-training."""

import keras
import tensorflow as tf


def copy_of(network: keras.Model) -> keras.Model:
    """Returns a network of the same config and weights that is not trained; call it in a method's `build`."""
    copy = type(network).from_config(network.get_config())
    copy.trainable = False
    for variable, original in zip(copy.variables, network.variables, strict=True):
        variable.assign(original)
    return copy


def update(average: keras.Model, network: keras.Model, decay: tf.Tensor | float) -> None:
    """Moves an average to decay * average + (1 - decay) * network; call it in a replica, in `Method.after_update`.

    What is not trained is copied: the statistics of batch norms are averages themselves.

    Args:
      average: a `copy_of` the network.
      network: that is trained.
      decay: float32 scalar in 0..1.
    """
    trained = {variable.path for variable in network.trainable_variables}
    pairs = list(zip(average.variables, network.variables, strict=True))

    def assign(variable, value, decay):
        variable.assign(decay * variable + (1 - decay) * value)

    def across_replicas(strategy, decay):
        for variable, value in pairs:
            keep = decay if value.path in trained else tf.zeros([])
            strategy.extended.update(variable.value, assign, args=(value.value, keep), group=False)

    tf.distribute.get_replica_context().merge_call(across_replicas, args=(tf.convert_to_tensor(decay, tf.float32),))
