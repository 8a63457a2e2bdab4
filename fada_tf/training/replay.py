"""Repeating a run, and comparing two."""

import sys
from collections.abc import Collection, Iterator

import numpy as np
import tensorflow as tf

from fada_tf.runs import checkpoint, provenance
from fada_tf.runs.literal_paths import literal_file
from fada_tf.runs.metrics import read_metrics
from fada_tf.training.run import train
from fada_tf.validation import validate


def replay(run: str, directory: str) -> list[str]:
    """Trains again what a run directory's config.json says, on the same data, and compares.

    Args:
      run: the run directory that is repeated.
      directory: the run directory of the repetition.

    Returns:
      A line for everything that differs, see `compare`; none if every bit is the same.

    Raises:
      InputError: `run` is no run directory, or its data or initial weights have changed.
    """
    config = checkpoint.run_config(run)
    validate(config)
    provenance.check_inputs(provenance.read(run)[0]["inputs"], provenance.input_checksums(config), run)
    for line in provenance.changes(run):
        sys.stderr.write(f"warning: {line}\n")
    train(config, directory)
    return compare(run, directory)


def compare(run: str, repetition: str) -> list[str]:
    """Returns a line for every measure of metrics.jsonl and every tensor of the newest checkpoint that differs."""
    return [*_compare_metrics(run, repetition), *_compare_tensors(run, repetition)]


def _compare_metrics(run: str, repetition: str) -> Iterator[str]:
    there, here = read_metrics(run), read_metrics(repetition)
    if len(there) > len(here):
        yield f"metrics.jsonl: {len(there)} lines there and {len(here)} here"
    values: dict[str, list[tuple]] = {}
    for line, again in zip(there, here, strict=False):
        for name in line:
            if not name.startswith("speed/"):
                values.setdefault(name, []).append((line["step"], line[name], again.get(name)))
    for name, triples in values.items():
        if different := [(step, one, other) for step, one, other in triples if one != other]:
            step, one, other = different[0]
            yield (
                f"{name}: {len(different)} of {len(triples)} values, first at iteration {step}, "
                f"{one} there and {other} here"
            )


def _compare_tensors(run: str, repetition: str) -> Iterator[str]:
    paths = [checkpoint.checkpoint_path(directory) for directory in (run, repetition)]
    if checkpoint.iteration(paths[0]) != checkpoint.iteration(paths[1]):
        yield f"checkpoint: of iteration {checkpoint.iteration(paths[0])} there, {checkpoint.iteration(paths[1])} here"
    there, here = (_tensors(path) for path in paths)
    if _optimizers(there) != _optimizers(here):
        yield f"optimizers: {_optimizers(there)} there and {_optimizers(here)} here, so the segmenter alone is compared"
        there, here = (_segmenter_weights(path) for path in paths)
    for name in sorted(there.keys() | here.keys()):
        if name not in there or name not in here:
            yield f"{name}: only {'there' if name in there else 'here'}"
            continue
        one, other = there[name], here[name]
        if one.shape != other.shape:
            yield f"{name}: {list(one.shape)} there and {list(other.shape)} here"
        elif not np.array_equal(one, other):
            furthest = np.max(np.abs(one.astype(np.float64) - other))
            yield f"{name}: {np.count_nonzero(one != other)} of {one.size} values, by up to {furthest:.3g}"


def _tensors(path: str) -> dict[str, np.ndarray]:
    """Returns all numbers of a checkpoint but the count of saves."""
    reader = tf.train.load_checkpoint(literal_file(path))
    tensors = {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
    return {name: value for name, value in tensors.items() if value.dtype != object and "save_counter" not in name}


def _optimizers(tensors: Collection[str]) -> str:
    """Returns the names of the optimizers that a checkpoint holds; earlier ones had one for each group of weights."""
    roots = {name.partition("/")[0] for name in tensors}
    return ", ".join(sorted(root for root in roots if root.endswith("_optimizer"))) or "none"


def _segmenter_weights(path: str) -> dict[str, np.ndarray]:
    return {variable.path: variable.numpy() for variable in checkpoint.load_segmenter(path, "student").variables}
