"""Checks of dataclasses of settings, whose fields `fada_tf.config.option` declares and whose users misspell them."""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

from fada_tf.errors import InputError, nearest


def check(config: Any) -> None:
    """Checks that a config and its sections have the declared fields, no others, and values within their limits.

    Raises:
      InputError: names every field that does not exist, with the nearest, or the first value that cannot be.
    """
    if unknown := list(_unknown(config)):
        raise InputError(f"no such field: {', '.join(_with_nearest(type(config), name) for name in unknown)}")
    _check_values(config, "config")


def check_field(schema: type, name: str) -> None:
    """Checks that there is a field of this full name, such as "optimizer.learning_rate".

    Raises:
      InputError: there is none; the message names the nearest.
    """
    names = dict(_names(schema))
    if name not in names:
        raise InputError(f"no such field: {_with_nearest(schema, name)}")
    if dataclasses.is_dataclass(names[name]):
        raise InputError(f"{name} is a section of the config: name one of its fields, such as {name}.FIELD")


def set_field(config: Any, name: str, value: Any) -> None:
    """Sets the field of this full name, which exists."""
    *sections, last = name.split(".")
    setattr(functools.reduce(getattr, sections, config), last, value)


def _names(schema: type, prefix: str = "") -> Iterator[tuple[str, type]]:
    """Yields full name and type of every field and section."""
    for field in dataclasses.fields(schema):
        yield f"{prefix}{field.name}", field.type
        if dataclasses.is_dataclass(field.type):
            yield from _names(field.type, f"{prefix}{field.name}.")


def _unknown(section: Any, prefix: str = "") -> Iterator[str]:
    """Yields the full names of attributes that were set and are no fields."""
    kinds = {field.name: field.type for field in dataclasses.fields(section)}
    yield from (f"{prefix}{name}" for name in vars(section) if name not in kinds)
    for name, kind in kinds.items():
        if dataclasses.is_dataclass(kind):
            content = getattr(section, name)
            if not isinstance(content, kind):
                raise InputError(f"config.{prefix}{name} is {content!r}: it is a section, set its fields one by one")
            yield from _unknown(content, f"{prefix}{name}.")


def _with_nearest(schema: type, name: str) -> str:
    """Returns the full name of a field that does not exist and of the one that was probably meant."""
    section, _, last = name.rpartition(".")
    names = [each for each, _ in _names(schema)]
    own = {each.rpartition(".")[2]: each for each in names if each.rpartition(".")[0] == section}
    everywhere = {each.rpartition(".")[2]: each for each in reversed(names)}
    tries = ((own, 0.6), (everywhere, 0.8), (own or everywhere, 0.0))
    meant = next(places[found] for places, likeness in tries if (found := nearest(last, places, likeness)))
    return f"config.{name} (nearest: config.{meant})"


def _check_values(value: Any, where: str) -> None:
    for field in dataclasses.fields(value):
        content, name = getattr(value, field.name), f"{where}.{field.name}"
        if dataclasses.is_dataclass(field.type):
            _check_values(content, name)
            continue
        if not has_type(content, field.type):
            raise InputError(f"{name} is {content!r}: it takes a value of type {field.type.__name__}")
        if isinstance(content, float) and not math.isfinite(content):
            raise InputError(f"{name} is {content!r}: it takes a finite number")
        limits = field.metadata
        if limits["choices"] and content not in limits["choices"]:
            raise InputError(f"{name} is {content!r}: choose from {', '.join(limits['choices'])}")
        if limits["minimum"] is not None and not content >= limits["minimum"]:
            raise InputError(f"{name} is {content!r}: it takes {limits['minimum']} or more")
        if limits["above"] is not None and not content > limits["above"]:
            raise InputError(f"{name} is {content!r}: it takes more than {limits['above']}")


def has_type(content: Any, expected: type) -> bool:
    """Tells whether a value may stand in a field of a type: whole numbers are floats, but True and False are none."""
    if expected is float:
        return isinstance(content, (int, float)) and not isinstance(content, bool)
    if expected is int:
        return isinstance(content, int) and not isinstance(content, bool)
    return isinstance(content, expected)
