"""How every program starts: absl flags, one clear line for bad input, a non-zero exit."""

import contextlib
import ctypes
import importlib.abc
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging
from ml_collections import config_flags

from fada_tf import experiment_file, machine, shipped
from fada_tf.config import Config, expand_home, set_fields, validate
from fada_tf.errors import InputError, Stopped, printable, shortage

INPUT_ERROR_STATUS = 2
STOPPED_STATUS = 75  # EX_TEMPFAIL of sysexits.h: the same command goes on
INTERRUPTED_STATUS = 130
_HOME = re.compile(r"(^|=)(~[\w.-]*)(?=/|$)")
_M_ARENA_MAX = -8  # malloc.h


def run(main: Callable[[Sequence[str]], None], *, arguments: bool = False) -> None:
    """Parses the flags and runs `main(argv)`.

    An `InputError` becomes one line on stderr and exit status 2, `Stopped` one line and 75, Ctrl-C one line and 130.

    Args:
      main: the program; argv[0] is its name.
      arguments: whether it takes arguments that are not options, in argv[1:].
    """

    def guarded(argv: Sequence[str]) -> None:
        logging.use_absl_handler()
        if len(argv) > 1 and not arguments:
            raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
        try:
            main(argv)
        except InputError as error:
            sys.stderr.write(f"error: {error}\n")
            sys.exit(INPUT_ERROR_STATUS)
        except Stopped as stopped:
            with contextlib.suppress(OSError):  # the terminal may be gone
                sys.stderr.write(f"{stopped}\n")
            sys.exit(STOPPED_STATUS)
        except KeyboardInterrupt:
            sys.stderr.write("interrupted: the same command starts again or continues\n")
            sys.exit(INTERRUPTED_STATUS)
        except UnicodeEncodeError as error:
            if error.reason != "surrogates not allowed":  # as Python has the bytes of file names that are not UTF-8
                raise
            name = printable(error.object)[:200]
            sys.stderr.write(f"error: {name}: TensorFlow takes no name that is not UTF-8; rename it, or name a link\n")
            sys.exit(INPUT_ERROR_STATUS)
        except Exception as error:
            if not (lacking := shortage(error)):
                raise
            sys.stderr.write(f"error: {lacking}: {_memory_advice()}\n")
            sys.exit(INPUT_ERROR_STATUS)

    _prepare_tensorflow()
    app.run(guarded, flags_parser=_parse_flags)


def _prepare_tensorflow() -> None:
    """Sets what must be set before TensorFlow is imported, which reading an experiment file does."""
    # TensorFlow's C++ notices would bury the program's own lines, as would, without a GPU, its errors that there is
    # none; what goes wrong later is raised in Python.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if machine.has_nvidia_driver() else "3")
    _share_memory_arenas()
    if not {"keras", "tensorflow"} & set(sys.modules):
        sys.meta_path.insert(0, _LeanTensorFlow())


def _memory_advice() -> str:
    """Returns which options decide how much memory this program takes."""
    own = [f"--{name}" for name in ("batch_size", "max_batch", "height", "width", "workers") if name in flags.FLAGS]
    fewer = ["fewer --scales"] if "scales" in flags.FLAGS else []
    if isinstance(flags.FLAGS["config"].value if "config" in flags.FLAGS else None, Config):
        return (
            "less is needed with a higher config.training.accumulation_steps, with config.model.recompute=True, with "
            "config.training.precision=mixed_bfloat16, and with a smaller config.data.evaluation.batch_size"
        )
    return (
        f"give a smaller {', '.join([*own, *fewer])}" if own or fewer else "end other programs, or use another device"
    )


def _share_memory_arenas() -> None:
    """Has threads share what glibc keeps of freed memory: a training step on two cores needs a fifth less of it.

    One arena for every two cores: threads of many cores would wait for each other. Not beside a GPU, where steps need
    little of this memory and many threads decode.
    """
    if machine.has_nvidia_driver() and not machine.hides_gpus():
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, max(machine.available_cores() // 2, 1))


class _LeanTensorFlow(importlib.abc.MetaPathFinder):
    """Imports TensorFlow as if what Keras imports wherever it is installed, and we do not need, were not installed.

    Without it every program would start a second later, and hold 150 MB more. Later imports find those packages.
    """

    _HIDDEN = ("matplotlib", "pandas", "pyarrow", "scipy", "sklearn")

    def __init__(self):
        self._awaited = {"keras", "tensorflow", "tf_keras"}  # orbit imports the last one

    def find_spec(self, fullname, path=None, target=None):
        """Finds TensorFlow and both versions of Keras, each once."""
        if fullname not in self._awaited:
            return None
        self._awaited.remove(fullname)
        spec = importlib.util.find_spec(fullname)
        if spec is not None:
            load = spec.loader.exec_module

            def load_lean(module):
                hidden = [name for name in self._HIDDEN if name not in sys.modules]
                sys.modules.update(dict.fromkeys(hidden))  # None: not to be imported
                try:
                    load(module)
                finally:
                    for name in hidden:
                        del sys.modules[name]

            spec.loader.exec_module = load_lean
        return spec


def checked_config(holder: flags.FlagHolder) -> Config:
    """Returns the validated config of a --config flag.

    Raises:
      InputError: there is no such config file, or the config cannot work.
    """
    config = holder.value
    if not isinstance(config, Config):
        path = config_flags.get_config_filename(flags.FLAGS[holder.name])
        experiment_file.get_config(path.partition(":")[0])
        raise InputError(f"--{holder.name}={path} cannot be read: give the path of a file in configs/, then :STAGE")
    expand_home(config)
    validate(config)
    return config


def _parse_flags(argv: Sequence[str]) -> list[str]:
    # Shells leave a ~ after an equals sign alone.
    argv = [_HOME.sub(lambda found: found[1] + os.path.expanduser(found[2]), argument) for argument in argv]
    argv = _with_paths(argv)
    try:
        argv, overrides = _take_overrides(argv)
        try:
            rest = flags.FLAGS(argv)
        except Exception:
            _check_experiment(argv)
            raise
        _check_empty()
        for name, values in overrides.items():
            if isinstance(config := flags.FLAGS[name].value, Config):
                set_fields(config, values)
        return rest
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
    except Exception as error:  # config files and their fields raise errors of many types and lengths
        lines = [line.strip() for line in str(error.args[0] if error.args else error).splitlines() if line.strip()]
        sys.stderr.write(f"error: {' '.join(lines[:3])} (--help lists the options, fada_tf/config.py the fields)\n")
    sys.exit(INPUT_ERROR_STATUS)


def _config_flags() -> list[str]:
    """Returns the names of the options that take an experiment file."""
    return [name for name in flags.FLAGS if hasattr(type(flags.FLAGS[name]), "config_filename")]


def _take_overrides(argv: Sequence[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Returns the arguments that set no field of a config, and the values of those that do, by option and field."""
    overrides: dict[str, dict[str, str]] = {name: {} for name in _config_flags()}
    rest, arguments = [], iter(argv)
    for argument in arguments:
        name, dot, field = argument.partition("=")[0].lstrip("-").partition(".")
        if argument.startswith("-") and dot and name in overrides:
            overrides[name][field] = argument.partition("=")[2] if "=" in argument else next(arguments, "")
        else:
            rest.append(argument)
    return rest, overrides


def _with_paths(argv: Sequence[str]) -> list[str]:
    """Returns a command line in which experiment files are named by their paths, as --config=PATH:STAGE."""
    rest, line = list(argv), []
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if argument.startswith("-") and name.lstrip("-") in _config_flags():
            file, colon, stage = (value if equals else "".join(rest[:1])).partition(":")
            rest = rest if equals else rest[1:]
            argument = f"{name}={shipped.find(file, shipped.EXPERIMENTS)}{colon}{stage}"
        line.append(argument)
    return line


def _check_experiment(argv: Sequence[str]) -> None:
    """Raises an `InputError` if an experiment file that `_with_paths` named cannot be run, or lacks the stage."""
    for argument in argv:
        name, _, value = argument.partition("=")
        if argument.startswith("-") and name.lstrip("-") in _config_flags():
            path, colon, stage = value.partition(":")
            experiment_file.get_config(path, stage if colon else None)


def _check_empty() -> None:
    """Raises an `InputError` if an option that must be given was given nothing."""
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if flag.validators and flag.default is None and flag.value in ("", [""]):
            raise InputError(f"--{name} is empty: {flag.help}")
