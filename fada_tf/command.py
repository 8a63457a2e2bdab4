"""The command `fada-tf PROGRAM`: starts one of the programs in `fada_tf/programs`."""

import importlib.util
import os
import sys

from fada_tf import registry
from fada_tf.errors import InputError

PACKAGE = "fada_tf.programs"
_LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main() -> None:
    """Starts the program that the command line names."""
    program = sys.argv[1] if len(sys.argv) > 1 else ""
    if program not in registry.names(PACKAGE):
        sys.exit(f"usage: fada-tf PROGRAM [options]; programs: {', '.join(registry.names(PACKAGE))}")
    sys.argv[:2] = [f"fada-tf {program}"]
    start(program)


def start(program: str) -> None:
    """Runs a program as the main module of this process, with the options in sys.argv[1:].

    As the main module, so that its flags are the only ones, its docstring is what --help says, and functions of it
    can be sent to other processes.

    Raises:
      InputError: there is no such program.
    """
    if program not in registry.names(PACKAGE):
        raise InputError(f"{program!r} is no program: choose from {', '.join(registry.names(PACKAGE))}")
    spec = importlib.util.find_spec(f"{PACKAGE}.{program}")
    module = importlib.util.module_from_spec(spec)
    module.__name__ = "__main__"
    sys.modules["__main__"] = module
    exec(spec.loader.get_code(spec.name), vars(module))


def line(program: str, *options: str) -> list[str]:
    """Returns the command line that starts a program in a process of its own; see `environment`."""
    return [sys.executable, "-m", "fada_tf", program, *options]


def environment() -> dict[str, str]:
    """Returns this process's environment, in which programs import this very library, installed or not.

    From Python 3.11 on they import nothing from the working folder.
    """
    paths = [_LIBRARY, os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONSAFEPATH": "1"}
