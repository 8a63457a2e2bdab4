"""What the checkpoints of a run hold, and finding the newest whole one, whatever befell the others."""

import os
import re
import shutil
import sys

import tensorflow as tf

from fada_tf.data import files
from fada_tf.errors import InputError
from fada_tf.methods.base import Method
from fada_tf.runs.literal_paths import literal_file

_INDEX = re.compile(r"ckpt-(\d+)\.index")
_GRAPH_PLACE = re.compile(r"\{\{.*?\}\}\s*")
# What TensorFlow raises where bytes differ from their checksums, a file ends early or is gone, or names are wrong.
_DAMAGE = (tf.errors.OpError, AssertionError, IndexError, ValueError)


def make_checkpoint(method: Method, step: tf.Variable, progress: tf.Variable) -> tf.train.Checkpoint:
    """Returns everything that a run needs to continue: models, optimizers, iteration count, unreported measures.

    Data position, order and augmentation follow from the iteration, the best checkpoint so far from metrics.jsonl.
    """
    others = {f"{network}_optimizer": optimizer for network, optimizer in method.optimizers.items()}
    if method.loss_scale is not None:
        others["loss_scale"] = method.loss_scale
    return RunCheckpoint(step=step, progress=progress, **method.networks, **others)


class RunCheckpoint(tf.train.Checkpoint):
    """A checkpoint that is also restored from older files, in which each of the segmenter's groups has an optimizer."""

    def restore(self, save_path, options=None):
        """See `tf.train.Checkpoint.restore`."""
        if "feature_extractor_optimizer" in tf.train.CheckpointView(save_path).children(0):
            return self._with_an_optimizer_a_group().restore(save_path, options)
        return super().restore(save_path, options)

    def _with_an_optimizer_a_group(self) -> tf.train.Checkpoint:
        objects = dict(tf.train.TrackableView(self).children(self))
        optimizer, first = objects.pop("segmenter_optimizer"), 1
        for group in optimizer.groups:
            # A count of iterations, then what is kept for every weight; the optimizer goes on with the first count.
            count = len(optimizer.slots) * len(group.variables)
            iterations = optimizer.iterations.value if first == 1 else tf.Variable(0, dtype=tf.int64)
            slots = [variable.value for variable in optimizer.variables[first : first + count]]
            old = tf.train.Checkpoint(_iterations=iterations, _variables=[iterations, *slots])
            objects[f"{group.name}_optimizer"] = old
            first += count
        return tf.train.Checkpoint(**objects)


def restore_newest(checkpoint: tf.train.Checkpoint, folder: str) -> str | None:
    """Restores every object of `checkpoint` from the newest whole checkpoint in a folder.

    A newer, damaged one is set aside as NAME.index.damaged, and a line on standard error says so.

    Returns:
      The path of the checkpoint; None if there is none.

    Raises:
      InputError: there are checkpoints, and none can be restored.
    """
    paths, problems = _clean(folder), {}
    while paths:
        try:
            checkpoint.restore(literal_file(paths[-1])).assert_consumed()
            break
        except _DAMAGE as error:
            problems[paths.pop()] = _first_line(error)
    for path, problem in problems.items():
        if not paths:
            raise InputError(
                f"{path} cannot be restored ({problem}), nor any before it: copy a whole one back, use the version of "
                "fada_tf that wrote it (provenance.json says which), or choose another --run_dir to start anew"
            )
        files.rename(f"{path}.index", f"{path}.index.damaged")
        sys.stderr.write(f"warning: {path} is damaged ({problem}): continuing from {paths[-1]}\n")
    if not paths:
        return None
    _write_list(folder, [os.path.basename(path) for path in paths])
    return paths[-1]


def has_checkpoint(folder: str) -> bool:
    """Tells whether a folder holds a checkpoint, damaged or not."""
    return files.exists(folder) and any(_INDEX.fullmatch(name) for name in files.list_folder(folder))


def _clean(folder: str) -> list[str]:
    """Removes what a process that was killed left unfinished; returns the checkpoints, oldest first."""
    names = files.list_folder(folder) if files.exists(folder) else []
    for name in names:
        if name.endswith("_temp") and not files.is_remote(folder):
            shutil.rmtree(os.path.join(folder, name))
    numbers = sorted(int(match[1]) for match in map(_INDEX.fullmatch, names) if match)
    return [os.path.join(folder, f"ckpt-{number}") for number in numbers]


def _write_list(folder: str, names: list[str]) -> None:
    """Writes the file that tf.train.CheckpointManager and users of the run go by, and that may itself be damaged."""
    times = [float(place) for place in range(1, len(names) + 1)]  # without any, the manager would never delete
    state = tf.compat.v1.train.generate_checkpoint_state_proto(".", names[-1], names, times, 0.0)
    files.write_atomically(os.path.join(folder, "checkpoint"), str(state).encode())


def _first_line(error: Exception) -> str:
    lines = _GRAPH_PLACE.sub("", str(getattr(error, "message", error))).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]
