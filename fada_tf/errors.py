"""What programs say in one line instead of a traceback; see `fada_tf.cli.run`."""

import difflib
import re
from collections.abc import Collection

# In what TensorFlow, XLA and CUDA say, whatever type of error it comes as.
_MEMORY = re.compile(
    r"OOM when allocating|out of memory|OUT_OF_MEMORY|ALLOC_FAILED|failed to allocate|bad_alloc|RESOURCE_EXHAUSTED",
    re.IGNORECASE,
)
_CUDNN = re.compile(r"cudnn|DNN library|No DNN in stream|convolution algorithm|No algorithm worked", re.IGNORECASE)

_PLACE = re.compile(r"\{\{.*?\}\}\s*")  # in a graph


class InputError(ValueError):
    """Bad input: a file, an option or a value that the user gave.

    The message is one line that says what is wrong, where, the value received and how to mend it. Programs print it
    and exit with status 2; see `fada_tf.cli.run`. Notebooks show the message without a traceback too.
    """

    def _render_traceback_(self) -> list[str]:  # which IPython calls where it would show a traceback
        return [f"{type(self).__name__}: {self}"]


class DivergenceError(InputError):
    """Losses or gradients became infinite or NaN."""


class Stopped(Exception):  # noqa: N818 (no error: the user or the machine asked for it)
    """A signal asked the program to stop, and it did so with nothing lost; programs exit with status 75."""


def shortage(error: BaseException) -> str:
    """Returns what a device lacks if that is why the error was raised, in a few words; "" for other errors."""
    foreign = type(error).__module__.startswith("tensorflow.")
    if not (foreign or isinstance(error, MemoryError | RuntimeError)):  # Keras may raise errors of others as the last
        return ""
    lines = _PLACE.sub("", str(error)).splitlines()
    for line in lines:
        reason = printable(line.strip())[-200:]
        if _MEMORY.search(line):
            return f"memory is used up ({reason})"
        if _CUDNN.search(line):
            return f"cuDNN failed ({reason}), most often for lack of memory, or since its version is not TensorFlow's"
    return "memory is used up" if isinstance(error, MemoryError) else ""


def nearest(name: str, names: Collection[str], likeness: float = 0.0) -> str | None:
    """Returns which of the names is meant: the one with these initials, or else the most alike, if it is enough."""
    by_initials = {"".join(word[:1] for word in each.split("_")): each for each in names if "_" in each}
    alike = difflib.get_close_matches(name, names, 1, likeness)
    return by_initials.get(name) or (alike[0] if alike else None)


def printable(text: str) -> str:
    """Returns text from elsewhere as one line for messages, in which nothing steers a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
