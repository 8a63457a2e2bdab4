"""Repeating a run, and comparing two."""

import sys

import numpy as np
import tensorflow as tf

from fada_tf import config as config_lib
from fada_tf.runs import checkpoint, provenance
from fada_tf.runs.literal_paths import literal_file
from fada_tf.runs.metrics import read_metrics
from fada_tf.training.run import train


def replay(run: str, directory: str) -> str:
    """Trains again what a run directory's config.json says, on the same data, and compares.

    Args:
      run: the run directory that is repeated.
      directory: the run directory of the repetition.

    Returns:
      What differs first, in metrics.jsonl or the newest checkpoint; "" if every bit is the same.

    Raises:
      InputError: `run` is no run directory, or its data or initial weights have changed.
    """
    config = checkpoint.run_config(run)
    config_lib.validate(config)
    provenance.check_inputs(provenance.read(run)[0]["inputs"], provenance.input_checksums(config), run)
    for line in provenance.changes(run):
        sys.stderr.write(f"warning: {line}\n")
    train(config, directory)
    return compare(run, directory)


def compare(run: str, repetition: str) -> str:
    """Returns what differs first between a run and its repetition, in metrics.jsonl or weights; "" if nothing does."""
    lines = [read_metrics(directory) for directory in (run, repetition)]
    for one, other in zip(*lines, strict=False):
        for name in one:
            if not name.startswith("speed/") and one[name] != other.get(name):
                return f"{name} of iteration {one['step']} is {one[name]} there and {other.get(name)} here"
    if len(lines[0]) > len(lines[1]):
        return f"metrics.jsonl has {len(lines[0])} lines there and {len(lines[1])} here"
    paths = [literal_file(checkpoint.checkpoint_path(directory)) for directory in (run, repetition)]
    readers = [tf.train.load_checkpoint(path) for path in paths]
    for name in sorted(readers[0].get_variable_to_shape_map()):
        one, other = (np.asarray(reader.get_tensor(name)) for reader in readers)
        if "save_counter" not in name and one.dtype != object and not np.array_equal(one, other):
            return f"weights differ, first in {name}"
    return ""
