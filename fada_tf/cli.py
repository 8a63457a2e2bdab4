"""How every program starts: absl flags, one clear line for bad input, a non-zero exit."""

import contextlib
import ctypes
import importlib.abc
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence

from absl import app, flags, logging

from fada_tf import forms, machine, windows
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
            with forms.chosen(_convolutions()):
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


def dry_run(commands: Iterable[str], check: Callable[[], None]) -> None:
    """Prints commands and, on standard error, what `check` would refuse when they are run."""
    sys.stdout.writelines(f"{command}\n" for command in commands)
    try:
        check()
    except InputError as error:
        sys.stderr.write(f"{error}\n")


def define_config(help: str) -> tuple[flags.FlagHolder, flags.FlagHolder]:
    """Defines --config, an experiment file, and --set=FIELD=VALUE, whose other name is --config.FIELD=VALUE."""
    return flags.DEFINE_string("config", None, help), flags.DEFINE_multi_string(
        "set", [], "FIELD=VALUE of the config, such as training.accumulation_steps=4; also as --config.FIELD=VALUE."
    )


def define_convolutions() -> None:
    """Defines the option by which a program that runs a model itself chooses the form of its convolutions."""
    flags.DEFINE_enum(
        "convolutions",
        "automatic",
        forms.NAMES,
        "Their form: the faster one where TensorFlow sees no GPU; that for CPUs; or TensorFlow's own.",
    )


def define_network() -> flags.FlagHolder:
    """Defines the option by which a program chooses one of a run's networks, and returns it."""
    return flags.DEFINE_enum(
        "network",
        None,
        ("student", "teacher"),
        "Of a run with a teacher: which one, whatever config.method.inference says.",
    )


def define_windows() -> tuple[flags.FlagHolder, flags.FlagHolder, flags.FlagHolder]:
    """Defines the options by which a program sees images by windows, and returns them: see `checkpoint.sight`."""
    return (
        flags.DEFINE_string(
            "window",
            "",
            "HEIGHTxWIDTH in pixels: see images by sliding windows of this size, at their own size unless --height or "
            "--width is given; empty: as the run was evaluated; none: whole.",
        ),
        flags.DEFINE_string(
            "stride", "", "HEIGHTxWIDTH in pixels, from window to window; empty: two thirds of the window."
        ),
        flags.DEFINE_enum("average", windows.AVERAGES[0], windows.AVERAGES, "What is averaged where windows overlap."),
    )


def _convolutions() -> str:
    return flags.FLAGS["convolutions"].value if "convolutions" in flags.FLAGS else "automatic"


def _prepare_tensorflow() -> None:
    """Sets what must be set before TensorFlow is imported, which an experiment file may do."""
    machine.quiet_tensorflow()
    _share_memory_arenas()
    if not {"keras", "tensorflow"} & set(sys.modules):
        sys.meta_path.insert(0, _LeanTensorFlow())


def _memory_advice() -> str:
    """Returns which options decide how much memory this program takes."""
    sizes = [
        f"--{name}"
        for name in ("batch_size", "max_batch", "height", "width", "window", "workers")
        if name in flags.FLAGS
    ]
    fewer = ["fewer --scales"] if "scales" in flags.FLAGS else []
    if "config" in flags.FLAGS:
        return (
            "less is needed with a higher config.training.accumulation_steps, with config.model.recompute=True, with "
            "config.training.precision=mixed_bfloat16, and with a smaller config.data.evaluation.batch_size"
        )
    if not (sizes or fewer):
        return "end other programs, or use another device"
    return f"give a smaller {', '.join([*sizes, *fewer])}"


def _share_memory_arenas() -> None:
    """Has threads share what glibc keeps of freed memory: a training step on two cores needs a fifth less of it.

    Threads of many cores would wait for each other at a single arena: there is one for every two cores. Beside a GPU,
    steps need little of this memory and many threads decode: there, nothing is shared.
    """
    if machine.has_nvidia_driver() and not machine.hides_gpus():
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, max(machine.available_cores() // 2, 1))


class _LeanTensorFlow(importlib.abc.MetaPathFinder):
    """Hides, while TensorFlow and Keras are imported, what they import wherever it is installed and we do not need.

    So programs start two seconds of one core sooner, and hold 150 MB less; whoever imports these later finds them.
    """

    _HIDDEN = ("matplotlib", "pandas", "pyarrow", "scipy", "sklearn")
    _BEING_IMPORTED = ("keras", "tensorflow", "tf_keras")  # orbit imports the last one

    def find_spec(self, fullname, path=None, target=None):
        """Finds nothing, and says of hidden packages that they are not there."""
        specs = [sys.modules[name].__spec__ for name in self._BEING_IMPORTED if name in sys.modules]
        if fullname in self._HIDDEN and any(getattr(spec, "_initializing", False) for spec in specs):
            raise ModuleNotFoundError(f"{fullname} is hidden while TensorFlow is imported", name=fullname)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    # Shells leave a ~ after an equals sign alone.
    argv = [_HOME.sub(lambda match: match[1] + os.path.expanduser(match[2]), argument) for argument in argv]
    try:
        rest = flags.FLAGS(_as_settings(argv) if "set" in flags.FLAGS else argv)
        _check_empty()
        return rest
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
    except flags.Error as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        sys.stderr.write(f"error: {' '.join(lines[:3])} (--help lists the options)\n")
    sys.exit(INPUT_ERROR_STATUS)


def _as_settings(argv: Sequence[str]) -> list[str]:
    """Returns the arguments with --set=FIELD=VALUE for --config.FIELD=VALUE, in every way to write an option."""
    rest, arguments = [], list(argv)
    while arguments:
        argument = arguments.pop(0)
        match = re.fullmatch(r"--?(no)?config\.([^=]+)(?:=(.*))?", argument, re.DOTALL)
        if match is None:
            rest.append(argument)
            continue
        negated, field, value = match.groups()
        if value is None:
            follows = not negated and arguments and not arguments[0].startswith("-")
            value = arguments.pop(0) if follows else str(not negated)
        rest.append(f"--set={field}={value}")
    return rest


def _check_empty() -> None:
    """Raises an `InputError` if an option that must be given was given nothing."""
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if flag.validators and flag.default is None and flag.value in ("", [""]):
            raise InputError(f"--{name} is empty: {flag.help}")
