"""Which form of a convolution is traced: the plain one, as models are written, or one that CPUs compute faster.

The program that runs a model chooses, by name. Values are the same up to rounding. Exported graphs hold plain ones.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

NAMES = ("automatic", "cpu", "plain")
# MirroredStrategy traces every replica in a thread of its own: so this is of the process.
_chosen = "automatic"


@contextlib.contextmanager
def chosen(name: str) -> Iterator[None]:
    """Chooses the form of all convolutions, resizings and losses that are traced inside the block.

    Args:
      name: "cpu"; "plain", for GPUs and for graphs that other programs read; "automatic", the default: "cpu" where
        TensorFlow sees no GPU.

    Raises:
      ValueError: no such form.
    """
    global _chosen
    if name not in NAMES:
        raise ValueError(f"forms {name!r} are unknown: choose from {', '.join(NAMES)}")
    before, _chosen = _chosen, name
    try:
        yield
    finally:
        _chosen = before


def for_cpu() -> bool:
    """Returns whether what is traced now takes the forms for CPUs; the one place that looks at the devices."""
    import tensorflow as tf  # programs name the forms before they import it

    return _chosen == "cpu" or (_chosen == "automatic" and not tf.config.list_logical_devices("GPU"))


def on_cpus(form: Callable) -> Callable[[Callable], Callable]:
    """Decorates a plain function: where forms for CPUs are chosen, `form` is traced in its place.

    Args:
      form: of the same arguments, and the same values up to rounding.
    """

    def decorate(plain: Callable) -> Callable:
        @functools.wraps(plain)
        def either(*args: Any, **options: Any) -> Any:
            return (form if for_cpu() else plain)(*args, **options)

        return either

    return decorate
