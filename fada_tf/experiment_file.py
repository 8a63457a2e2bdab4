"""Experiment and study files: Python that users write, and errors that say where in it."""

import contextlib
import dataclasses
import functools
import importlib.util
import os
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from fada_tf import paper, schema, shipped
from fada_tf.config import Config
from fada_tf.config_fields import expand_home, set_fields
from fada_tf.errors import InputError, nearest, printable
from fada_tf.stages import Stage, check_stages, find_stage
from fada_tf.validation import validate

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


class ExperimentFile:
    """An experiment file: its stages, and their configs.

    A file says which stages it has in `STAGES`, and perhaps in `RUNS` in which folder their run directories lie. One
    without STAGES has those of the paper, whose configs name the runs that they start from by path.

    Attributes:
      path: of the file.
    """

    def __init__(self, path: str):
        """Runs the file.

        Raises:
          InputError: there is no such file, it cannot be run, or its stages cannot be.
        """
        self.path = path = shipped.find(path, shipped.EXPERIMENTS)
        module = load(path)
        self._get = function(module, "get_config")
        self._declared = getattr(module, "STAGES", None)
        self._runs = getattr(module, "RUNS", os.path.join("runs", os.path.splitext(os.path.basename(path))[0]))
        if self._declared is not None:
            check_stages(self._declared, path)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, each after those that it builds upon."""
        return tuple(self._declared or self._undeclared[0])

    @property
    def runs(self) -> str:
        """The folder of the stages' run directories, unless somebody chooses another."""
        return self._runs if self._declared else self._undeclared[1]

    def stage(self, name: str) -> Stage:
        """Returns the stage of a name.

        Raises:
          InputError: there is none; the message lists those that there are.
        """
        return find_stage(self.stages, name, self.path)

    def config(self, name: str | None = None) -> Config:
        """Returns the config of a stage, which need not be valid; its initial weights lie in `runs`.

        Args:
          name: of the stage; None: the first.

        Raises:
          InputError: there is no such stage, or the file cannot be run.
        """
        if not self._declared:
            return self._undeclared_config(name)
        stage = self.stage(name) if name is not None else self.stages[0]
        config = self._call(stage.name)
        if not stage.start:
            return config
        place, given = os.path.join(self.runs, stage.start), config.model.initial_weights
        if given not in ("", place):
            raise InputError(
                f"{self.path}: stage {stage.name!r} starts from {stage.start!r}, which lies in {place}, and its config "
                f"sets model.initial_weights to {given!r}: leave that out, or say in RUNS where the runs lie"
            )
        config.model.initial_weights = place
        return config

    def _call(self, *arguments: str) -> Config:
        with explained(self.path):
            config = self._get(*arguments)
        if not isinstance(config, Config):
            raise InputError(f"get_config of {self.path} returns {config!r}: it should return a fada_tf.config.Config")
        return config

    def _undeclared_config(self, name: str | None) -> Config:
        """Returns what a file without STAGES gives, which may take any name, or none."""
        try:
            return self._call(*([] if name is None else [name]))
        except InputError as error:
            if name is None or repr(name) not in str(error):
                raise
            known = []
            for stage in paper.STAGES:
                with contextlib.suppress(InputError):
                    known += [stage.name] if self._call(stage.name) else []
            if not known:
                raise
            raise InputError(f"{self.path} has no stage {name!r}: choose from {', '.join(known)}") from error

    @functools.cached_property
    def _undeclared(self) -> tuple[tuple[Stage, ...], str]:
        """The paper's stages, each with the start that its config names by path, and the folder of those runs."""
        names = "|".join(stage.name for stage in paper.STAGES)
        places = {
            stage: re.fullmatch(rf"(?:(.*)/)?(({names})(/best|/checkpoints)?(/ckpt-\d+)?/?)", self._weights(stage.name))
            for stage in paper.STAGES
        }
        runs = next((place[1] or "." for place in places.values() if place), self._runs)
        starts = {stage: place[2] if place and (place[1] or ".") == runs else "" for stage, place in places.items()}
        return tuple(dataclasses.replace(stage, start=start) for stage, start in starts.items()), runs

    def _weights(self, name: str) -> str:
        return self._undeclared_config(name).model.initial_weights


def get_config(path: str, stage: str | None = None) -> Config:
    """Returns what an experiment file gives for a stage, which need not be valid; see `ExperimentFile.config`."""
    return ExperimentFile(path).config(stage)


def read_config(place: str, settings: Sequence[str] = ()) -> Config:
    """Returns the validated config that a command line asks for.

    Args:
      place: FILE:STAGE, or FILE for its first stage.
      settings: FIELD=VALUE, see `parse_settings`.

    Raises:
      InputError: there is no such file, stage or field, or the config cannot work.
    """
    path, _, stage = place.partition(":")
    config = get_config(path, stage or None)
    set_fields(config, parse_settings(settings))
    expand_home(config)
    validate(config)
    return config


def parse_settings(settings: Sequence[str]) -> dict[str, str]:
    """Returns the texts by field of settings such as "training.precision=mixed_bfloat16".

    Raises:
      InputError: one has no name or no value.
    """
    values = {}
    for setting in settings:
        field, equals, text = setting.partition("=")
        if not (field and equals):
            raise InputError(f"{setting!r} is no setting: give FIELD=VALUE, such as training.precision=mixed_bfloat16")
        values[field] = text
    return values


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
        if match := _UNEXPECTED.search(text):
            fields = {schema.__name__: [field.name for field in dataclasses.fields(schema)] for schema in schemas}
            if match[1] in fields:
                text = text.partition(". Did you mean")[0]  # Python's own guess, from 3.13 on
                text += f", nearest is {nearest(match[2], fields[match[1]])}"
        if isinstance(error, AttributeError) and error.name and dataclasses.is_dataclass(error.obj):
            text += f", nearest is {schema.meant_attribute(error.obj, error.name)}"
        where = path if line is None else f"{path}, line {line}"
        if isinstance(error, InputError):
            raise InputError(f"{where}: {error}") from error
        raise InputError(f"{where} cannot be run ({printable(text)}): mend it") from error
