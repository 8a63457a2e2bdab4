"""The command `fada-tf PROGRAM`: lists the programs in `fada_tf/programs`, and starts one of them."""

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys

from fada_tf import registry
from fada_tf.errors import InputError, nearest

_PACKAGE = "fada_tf.programs"
# In the order in which they are used; others come last.
_ORDER = (
    "check_machine", "make_tfrecords", "convert_weights", "train", "make_pseudo_labels", "evaluate", "predict",
    "analyze_features", "report", "run_pipeline", "run_study", "package", "export_model", "serve",
    "benchmark_train", "benchmark_inference", "benchmark_input", "benchmark_torch_loader",
)  # fmt: skip
_ALIASES = {"doctor": "check_machine"}
_LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main() -> None:
    """Starts the program that the command line names first, or lists all."""
    program = sys.argv[1] if len(sys.argv) > 1 else ""
    if program in ("", "help") or program.lstrip("-") in ("h", "help", "helpshort", "helpfull"):
        sys.stdout.write(summary())
        sys.exit(0 if program else 2)
    sys.argv[:2] = [f"fada-tf {program}"]
    try:
        start(_ALIASES.get(program, program))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


def programs() -> list[str]:
    """Returns the names of all programs, in the order of work."""
    names = registry.names(_PACKAGE)
    return [*(name for name in _ORDER if name in names), *(name for name in names if name not in _ORDER)]


def summary() -> str:
    """Returns what `fada-tf --help` prints: a line a program."""
    width = max(map(len, programs()))
    lines = [f"  {name:{width}}  {_first_line(name)}" for name in programs()]
    aliases = [f"  {alias:{width}}  Another name of {name}." for alias, name in _ALIASES.items()]
    lines = ["usage: fada-tf PROGRAM [options]; PROGRAM --help lists them", "", *lines, *aliases]
    return "\n".join(lines) + "\n"


def start(program: str) -> None:
    """Runs a program, by its name, as the main module of this process, with the options in sys.argv[1:].

    Raises:
      InputError: there is no such program.
    """
    if program not in programs():
        like = nearest(program, [*programs(), *_ALIASES])
        raise InputError(f"{program!r} is no program: nearest is {like}; fada-tf --help lists all")
    run_as_main(f"{_PACKAGE}.{program}")


def run_as_main(name: str) -> None:
    """Runs a module, by its full name, as the main module of this process.

    As the main module its flags are the only ones, its docstring is what --help says, and its functions can be sent to
    other processes.

    Raises:
      InputError: there is no such module.
    """
    spec, loader = _find(name)
    module = importlib.util.module_from_spec(spec)
    module.__name__ = "__main__"
    sys.modules["__main__"] = module
    exec(loader.get_code(name) or "", vars(module))


def line(program: str, *options: str) -> list[str]:
    """Returns the command line that starts a program in a process of its own; see `environment`."""
    return [sys.executable, "-m", "fada_tf", program, *options]


def environment() -> dict[str, str]:
    """Returns this process's environment, in which programs import this very library, installed or not.

    From Python 3.11 on they import nothing from the working folder.
    """
    paths = [_LIBRARY, os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONSAFEPATH": "1"}


def _find(name: str) -> tuple[importlib.machinery.ModuleSpec, importlib.abc.InspectLoader]:
    """Finds a module and what loads it, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not isinstance(spec.loader, importlib.abc.InspectLoader):
        raise InputError(f"there is no module {name}: install fada_tf again")
    return spec, spec.loader


def _first_line(program: str) -> str:
    name = f"{_PACKAGE}.{program}"
    source = _find(name)[1].get_source(name) or ""
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
