"""Experiment and study files: Python that users write, and errors that say where in it."""

import contextlib
import dataclasses
import importlib.util
import os
import re
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from fada_tf import paper, schema, shipped
from fada_tf.config import Config
from fada_tf.errors import InputError, nearest, printable

_UNEXPECTED = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")


def load(path: str, kind: str = shipped.EXPERIMENTS) -> ModuleType:
    """Runs a Python file of settings.

    Args:
      path: of the file, or the name of one in configs/; see `shipped.find`.
      kind: of the file: shipped.EXPERIMENTS or shipped.STUDIES.

    Raises:
      InputError: there is none, or it cannot be run; the message has the line.
    """
    path = shipped.find(path, kind)
    if not os.path.isfile(path):
        like = nearest(os.path.basename(path), shipped.names(kind), 0.6)
        raise InputError(
            f"{path or 'the empty path'} does not exist{f' (nearest: {like})' if like else ''}: "
            "give the path of a file in configs/, or its name"
        )
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file: give the path of a file in configs/")
    module = importlib.util.module_from_spec(spec)
    with explained(path):
        spec.loader.exec_module(module)
    return module


def function(module: ModuleType, name: str) -> Callable[..., Any]:
    """Returns a function of a file.

    Raises:
      InputError: the file has none.
    """
    found = getattr(module, name, None)
    if not callable(found):
        raise InputError(f"{module.__file__} has no function {name}: begin with a copy of a file in configs/")
    return found


def get_config(path: str, stage: str | None = None) -> Config:
    """Returns what an experiment file gives for a stage, which need not be valid; None: for none in particular.

    Raises:
      InputError: there is no such file or stage, or the file cannot be run.
    """
    path = shipped.find(path, shipped.EXPERIMENTS)
    get = function(load(path), "get_config")

    def of(stage: str | None) -> Config:
        with explained(path):
            return get() if stage is None else get(stage)

    try:
        config = of(stage)
    except InputError as error:
        if stage is None or repr(stage) not in str(error):
            raise
        known = []
        for name in paper.STAGES:
            with contextlib.suppress(InputError):
                known += [name] if of(name) else []
        if not known:
            raise
        raise InputError(f"{path} has no stage {stage!r}: choose from {', '.join(known)}") from error
    if not isinstance(config, Config):
        raise InputError(f"get_config of {path} returns {config!r}: it should return a fada_tf.config.Config")
    return config


@contextlib.contextmanager
def explained(path: str, *schemas: type) -> Iterator[None]:
    """Turns whatever the code of a file raises into an `InputError` with its line.

    Args:
      path: of the file.
      *schemas: dataclasses; of their fields the nearest is named for one that does not exist.
    """
    try:
        yield
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if os.path.abspath(frame.filename) == os.path.abspath(path)]
        line = error.lineno if isinstance(error, SyntaxError) else next(reversed(lines), None)
        text = f"{type(error).__name__}: {error}"
        if found := _UNEXPECTED.search(text):
            fields = {schema.__name__: [field.name for field in dataclasses.fields(schema)] for schema in schemas}
            if found[1] in fields:
                text = text.partition(". Did you mean")[0]  # Python's own guess, from 3.13 on
                text += f", nearest is {nearest(found[2], fields[found[1]])}"
        if isinstance(error, AttributeError) and error.name and dataclasses.is_dataclass(error.obj):
            text += f", nearest is {schema.meant_attribute(error.obj, error.name)}"
        where = path if line is None else f"{path}, line {line}"
        if isinstance(error, InputError):
            raise InputError(f"{where}: {error}") from error
        raise InputError(f"{where} cannot be run ({printable(text)}): mend it") from error
