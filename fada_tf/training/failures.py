"""What is kept and said when a run cannot go on."""

import errno
import os
import re
from collections.abc import Mapping, Sequence

import tensorflow as tf

from fada_tf.data import files
from fada_tf.errors import DivergenceError, InputError, shortage
from fada_tf.runs import layout

# Of files and disks; TensorFlow's errors contain the same words as Python's.
_STORAGE = tuple(
    os.strerror(number)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO, errno.ENOENT)
)
_RAISED_IN_PIPELINE = re.compile(r"InputError: (.+)")
_BAD_RECORD = re.compile(r"\b(DecodeJpeg|DecodePng|ParseSingleExample|ParseExample)")
_BAD_TENSOR = re.compile(r"!!! Detected (.+?) in output (\d+) of graph op \"(.+?)\".*?shape: (\(.*?\))", re.DOTALL)
_OWN_LINE = re.compile(r"(fada_tf/[\w/]+\.py)\", line (\d+), in (\S+)")


# Of a run that has begun, only the last one may change.
MEMORY_ADVICE = (
    "a new run may need less with a higher config.training.accumulation_steps, with config.model.recompute=True or "
    "config.training.precision=mixed_bfloat16; this one may go on with a smaller config.data.evaluation.batch_size"
)


def explain(error: OSError | tf.errors.OpError | UnicodeDecodeError | MemoryError, directory: str) -> Exception:
    """Returns the error to raise for one that stopped the loop: an `InputError` if the user can mend it, or itself."""
    text = str(error)
    if isinstance(error, UnicodeDecodeError):  # TensorFlow quotes the bytes that it could not parse, as if text
        text = "ParseExample"
    if raised := _RAISED_IN_PIPELINE.search(text):
        return InputError(raised[1])
    if found := _BAD_TENSOR.search(text):
        place = "".join(f", made by {name} in {path}:{line}" for path, line, name in _OWN_LINE.findall(text)[-1:])
        return DivergenceError(f"{found[1]} first in output {found[2]} of the op {found[3]}, shape {found[4]}{place}")
    reason = next((words for words in _STORAGE if words in text), None)
    if not reason and (lacking := shortage(error)):
        return InputError(f"{lacking}: {MEMORY_ADVICE}")
    if found := _BAD_RECORD.search(text):
        return InputError(
            f"a record cannot be decoded ({found[1]}): fada-tf make_tfrecords --verify --output=RECORDS names it"
        )
    if reason or isinstance(error, OSError):
        return InputError(
            f"{directory} or the data cannot be written or read any more ({reason or text}): mend that and give the "
            "same command, the last checkpoint is whole"
        )
    return error


def save_divergence(
    directory: str,
    step: int,
    measures: Mapping[str, float],
    learning_rates: Mapping[str, float],
    names: Mapping[str, Sequence[str]],
) -> str:
    """Writes what an iteration that went wrong was made of.

    Args:
      directory: the run directory.
      step: the iteration's number, from 1.
      measures: its losses and gradient norms.
      learning_rates: by parameter group.
      names: of the images of its batch, by domain.

    Returns:
      The path of the file.
    """
    values = {
        "step": step,
        "measures": {name: str(value) for name, value in measures.items()},  # JSON has no NaN
        "learning_rates": dict(learning_rates),
        "images": {domain: list(of_domain) for domain, of_domain in names.items()},
    }
    path = os.path.join(directory, layout.DIVERGENCE)
    files.write_atomically(path, files.json_text(values, indent=2).encode())
    return path
