"""What the discriminator makes of an image: which pixels it still tells to be of the target domain."""

import numpy as np
import tensorflow as tf

from fada_tf import registry
from fada_tf.data.transforms import resize_image
from fada_tf.errors import InputError
from fada_tf.evaluation.prediction import as_pictures
from fada_tf.models.layers import resize_align_corners
from fada_tf.runs import checkpoint
from fada_tf.runs.literal_paths import literal_file


class DomainPredictor:
    """P(target | F(x)) for every pixel, by the segmenter and discriminator of one checkpoint."""

    def __init__(self, trained: str, height: int, width: int):
        """Loads both.

        Args:
          trained: a checkpoint of an adversarial run, see `checkpoint.checkpoint_path`.
          height: pixels, to which pictures are resized before the model.
          width: pixels.

        Raises:
          InputError: the run has no discriminator.
        """
        config = checkpoint.run_config(trained)
        self.segmenter = checkpoint.load_segmenter(trained, "student")  # whose features it saw
        method = registry.load("fada_tf.methods", config.method.name).build(config, self.segmenter)
        if "discriminator" not in method.networks:
            raise InputError(f"{trained} has no discriminator: it is a run of {config.method.name}")
        self.discriminator = method.networks["discriminator"]
        path = literal_file(checkpoint.checkpoint_path(trained))
        restored = tf.train.Checkpoint(discriminator=self.discriminator).restore(path)
        restored.expect_partial().assert_existing_objects_matched()
        self.size = (height, width)
        self._run = tf.function(self._predict, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])

    def _predict(self, image: tf.Tensor) -> tf.Tensor:
        resized = tf.ensure_shape(resize_image(image, self.size), [*self.size, 3])
        logits = self.discriminator(self.segmenter.features(resized[None]))
        # As in training: one softmax over the domains' classes, at the size of the image.
        joint = tf.nn.softmax(resize_align_corners(logits, tf.shape(image)[:2]))
        return tf.reduce_sum(tf.split(joint[0], 2, axis=-1)[1], axis=-1)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns float32 [height, width] in 0..1 for one picture; see `as_pictures`."""
        return self._run(as_pictures(image)).numpy()


def has_discriminator(trained: str) -> bool:
    """Tells whether a checkpoint holds a discriminator."""
    # A weight has the name of the first object that leads to it: the discriminator's own, or its optimizer's.
    names = tf.train.list_variables(literal_file(checkpoint.checkpoint_path(trained)))
    return any(name.startswith("discriminator") for name, _ in names)
