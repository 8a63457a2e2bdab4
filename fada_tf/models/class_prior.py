"""A correction of logits that holds how often each class is predicted: the prior of self-training."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

_LARGEST = 2.0  # of the correction, so that what is not there is made up where the teacher is unsure only
_RAREST = 1e-5  # the smallest share that is aimed at


@keras.saving.register_keras_serializable("fada_tf")
class ClassPrior(keras.Model):
    """Adds a bias to logits that rises while their class is predicted too seldom, and falls while too often.

    The bias b of each class moves by rate * (1 - predicted / expected) with every update, so that in the long run a
    class has its expected share of the pixels. A teacher whose student learns its labels prefers frequent classes more
    and more without it. Aligning predictions to the source's labels: Berthelot et al., ICLR 2022 (AdaMatch),
    https://arxiv.org/abs/2106.04732, which scales probabilities; of pixels those of rare classes are many and small,
    so that it is the share of the likeliest class that is held here.
    """

    def __init__(self, expected: Sequence[float] | np.ndarray, rate: float):
        """Sets up the prior, which corrects nothing yet.

        Args:
          expected: [classes], the share of all pixels that each class should have.
          rate: how much the bias moves in one update where a class is not predicted at all.
        """
        super().__init__(name="class_prior", dtype="float32")
        self.expected, self.rate = np.maximum(expected, _RAREST).astype(np.float32), rate
        self.bias = self.add_weight(
            shape=self.expected.shape,
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="bias",
        )
        self.built = True

    def get_config(self) -> dict:
        """Returns the arguments of `__init__`."""
        return {"expected": self.expected.tolist(), "rate": self.rate}

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns corrected logits, float32 [..., classes]."""
        return logits + self.bias

    def move(self, predicted: tf.Tensor) -> None:
        """Follows an update; call it in a replica, in `Method.after_update`.

        Args:
          predicted: float32 [classes], the share of this replica's pixels that each class has by corrected logits.
        """
        context = tf.distribute.get_replica_context()
        predicted = context.all_reduce(tf.distribute.ReduceOp.MEAN, predicted)
        moved = self.bias + self.rate * (1 - predicted / self.expected)
        self.bias.assign(tf.clip_by_value(moved, -_LARGEST, _LARGEST))
