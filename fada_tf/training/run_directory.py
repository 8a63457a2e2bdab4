"""A run directory from its first file to its checkpoints: whose it is, what is in it."""

import json
import os

import tensorflow as tf

from fada_tf import config as config_lib
from fada_tf.data import files
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError
from fada_tf.methods.base import Method
from fada_tf.models.checkpoint import CONFIG_FILE, LABEL_SPACE_FILE


def check_run_directory(directory: str, config: config_lib.Config) -> None:
    """Checks that the directory is new or belongs to this very run.

    Raises:
      InputError: the directory is another run's; the message names the first fields that differ.
    """
    path = os.path.join(directory, CONFIG_FILE)
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as file:
            earlier = config_lib.from_json(file.read(), path)
        different = [
            line for line in config_lib.differences(earlier, config) if not line.startswith(config_lib.FREE_FIELDS)
        ]
        if different:
            raise InputError(
                f"{directory} holds another run ({'; '.join(different[:3])}{' ...' if len(different) > 3 else ''}): "
                "choose another --run_dir, or the same config to continue it"
            )


def write_run_directory(directory: str, config: config_lib.Config, label_space: LabelSpace) -> None:
    """Makes the directory with its config.json and label_space.json."""
    files.make_folder(directory)
    classes = json.dumps(label_space.to_json(), indent=2) + "\n"
    files.write_atomically(os.path.join(directory, LABEL_SPACE_FILE), classes.encode())
    files.write_atomically(os.path.join(directory, CONFIG_FILE), config_lib.to_json(config).encode())


def make_checkpoint(method: Method, step: tf.Variable) -> tf.train.Checkpoint:
    """Returns everything that a run needs to continue: models, optimizers and the iteration count."""
    optimizers = {f"{name}_optimizer": group.optimizer for name, group in method.groups.items()}
    return tf.train.Checkpoint(segmenter=method.segmenter, step=step, **method.helpers, **optimizers)
