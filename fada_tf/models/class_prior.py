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

    def __init__(self, shares: Sequence[float] | np.ndarray, rate: float, first: int = 0):
        """Sets up the prior, which corrects nothing yet.

        Args:
          shares: [classes], of all pixels, that are expected of each class; if `first` is not 0, the least of them.
          rate: how much the bias moves in one update where a class is not predicted at all.
          first: for so many updates nothing is corrected, and what is predicted then is expected from then on.
        """
        super().__init__(name="class_prior", dtype="float32")
        self.shares, self.rate, self.first = np.asarray(shares, np.float32), rate, first
        state = {"initializer": "zeros", "trainable": False, "aggregation": "only_first_replica"}
        self.bias = self.add_weight(shape=self.shares.shape, name="bias", **state)
        self.seen = self.add_weight(shape=self.shares.shape, name="seen", **state)  # in the first updates, their mean
        self.updates = self.add_weight(shape=(), name="updates", **state)  # of the first ones
        self.built = True

    def get_config(self) -> dict:
        """Returns the arguments of `__init__`."""
        return {"shares": self.shares.tolist(), "rate": self.rate, "first": self.first}

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns corrected logits, float32 [..., classes]."""
        return logits + self.bias

    def expected(self) -> tf.Tensor:
        """Returns the shares that classes should have, float32 [classes]; they add up to 1."""
        shares = tf.maximum(tf.maximum(self.seen, self.shares), _RAREST)
        return shares / tf.reduce_sum(shares)

    def move(self, predicted: tf.Tensor) -> None:
        """Follows an update; call it in a replica, in `Method.after_update`.

        Args:
          predicted: float32 [classes], the share of this replica's pixels that each class has by corrected logits.
        """
        context = tf.distribute.get_replica_context()
        predicted = context.all_reduce(tf.distribute.ReduceOp.MEAN, predicted)
        looks = tf.cast(self.updates < self.first, tf.float32)
        moved = self.bias + (1 - looks) * self.rate * (1 - predicted / self.expected())
        self.bias.assign(tf.clip_by_value(moved, -_LARGEST, _LARGEST))
        self.seen.assign_add(looks * predicted / max(self.first, 1))
        self.updates.assign_add(looks)
