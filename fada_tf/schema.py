"""Dataclasses of settings: how fields are declared, checked, named in full, read and written.

A section is a dataclass. A field's full name holds the names of the sections around it: "optimizer.learning_rate".
"""

import dataclasses
import functools
import math
import types
from collections.abc import Iterator, Mapping
from typing import Any

from fada_tf.errors import InputError, nearest, printable
from fada_tf.migration import MOVED


def option(
    default: Any,
    doc: str,
    *,
    choices: tuple | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    needs: tuple[str, tuple] | None = None,
) -> Any:
    """Declares a field.

    Args:
      default: its value unless another is given.
      doc: what it means, with the unit.
      choices: the only values that it takes.
      minimum: the lowest value.
      maximum: the highest value.
      above: what every value is greater than.
      below: what every value is less than.
      needs: another field of the section, and the values of that one with which this one has an effect.
    """
    limits = {"minimum": minimum, "maximum": maximum, "above": above, "below": below}
    metadata = {"doc": doc, "choices": choices, "needs": needs} | limits
    return dataclasses.field(default=default, metadata=types.MappingProxyType(metadata))


def section(make: Any, *, needs: tuple[str, tuple] | None = None) -> Any:
    """Declares a field that is a section, which `make()` returns with its defaults; for `needs` see `option`."""
    return dataclasses.field(default_factory=make, metadata=types.MappingProxyType({"needs": needs}))


def check(config: Any) -> None:
    """Checks that a config and its sections have the declared fields, no others, and values that can be and matter.

    Raises:
      InputError: names every field that does not exist, with the nearest, or the first value that is wrong.
    """
    if unknown := list(_unknown(config)):
        raise InputError(f"no such field: {', '.join(_with_nearest(config, name) for name in unknown)}")
    _check_values(config, "config")
    for holder, field, default, prefix in _without_effect(config):
        needed, choices = field.metadata["needs"]
        raise InputError(
            f"config.{prefix}{field.name} is {getattr(holder, field.name)!r}, which config.{prefix}{needed} "
            f"{getattr(holder, needed)!r} has no use for: set it to {default!r}, or {needed} to "
            f"{' or '.join(map(repr, choices))}"
        )


def drop_without_effect(config: Any) -> None:
    """Sets back to its default whatever the values of other fields leave without effect."""
    for holder, field, default, _ in list(_without_effect(config)):
        setattr(holder, field.name, default)


def without_effect(config: Any) -> set[str]:
    """Returns the full names of the fields, and of whole sections, that the values of others leave without effect."""
    return {
        f"{prefix}{field.name}"
        for holder, _, prefix in _sections(config, type(config)())
        for field in dataclasses.fields(holder)
        if not _has_effect(holder, field)
    }


def check_field(config: Any, name: str) -> None:
    """Checks that the config has a field of this full name.

    Raises:
      InputError: it has none; the message names the nearest.
    """
    field_types = dict(_names(config))
    if name not in field_types:
        raise InputError(f"no such field: {_with_nearest(config, name)}")
    if dataclasses.is_dataclass(field_types[name]):
        raise InputError(f"{name} is a section of the config: name one of its fields, such as {name}.FIELD")


def set_field(config: Any, name: str, value: Any) -> None:
    """Sets the field of this full name, which exists; text is read as what the field takes.

    Raises:
      InputError: the text is not of the field's type.
    """
    holder, last = _place(config, name)
    field_type = dict(_names(config))[name]
    if isinstance(value, str) and field_type is not str and not dataclasses.is_dataclass(field_type):
        value = _read(value, field_type, name)
    setattr(holder, last, value)


def fill(config: Any, values: Any, where: str) -> None:
    """Sets the fields of a section, and of those in it, from a dictionary as JSON has it; others keep their values.

    Raises:
      InputError: an unknown field, or a value of a wrong type; the message begins with `where`.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r}: it should hold the fields of {type(config).__name__}")
    field_types = _field_types(config)
    if unknown := [name for name in values if name not in field_types]:
        known = ", ".join(field_types)
        raise InputError(f"{where} has unknown fields {printable(', '.join(unknown))}: choose from {known}")
    for name, content in values.items():
        if dataclasses.is_dataclass(field_types[name]):
            fill(getattr(config, name), content, f"{where}.{name}")
        elif has_type(content, field_types[name]):
            setattr(config, name, content)
        else:
            raise InputError(f"{where}.{name} is {content!r}: it takes a value of type {field_types[name].__name__}")


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values of nested dictionaries by their full names."""
    entries: dict[str, Any] = {}
    for name, content in nested.items():
        full = f"{prefix}{name}"
        entries |= flat(content, f"{full}.") if isinstance(content, Mapping) else {full: content}
    return entries


def meant(name: str, config: Any) -> str:
    """Returns the full name of the field that was probably meant by one that does not exist."""
    if name in MOVED:
        return MOVED[name]
    where, _, last = name.rpartition(".")
    fields = [field for field, _ in _names(config)]
    beside = {field.rpartition(".")[2]: field for field in fields if field.rpartition(".")[0] == where}
    outermost_last = sorted(reversed(fields), key=lambda field: -field.count("."))
    everywhere = {field.rpartition(".")[2]: field for field in outermost_last}
    tries = ((beside, 0.6), (everywhere, 0.8), (beside or everywhere, 0.0))
    return next(places[near] for places, likeness in tries if (near := nearest(last, places, likeness)))


def meant_attribute(section: Any, name: str) -> str | None:
    """Returns the field that was probably meant by an attribute that a section lacks, in full if it moved, if any."""
    moved = {old.rpartition(".")[2]: new for old, new in MOVED.items()}
    return f"config.{moved[name]}" if name in moved else nearest(name, [f.name for f in dataclasses.fields(section)])


def has_type(content: Any, expected: Any) -> bool:
    """Tells whether a value may stand in a field of a type: whole numbers are floats, but True and False are none."""
    if expected is float:
        return isinstance(content, (int, float)) and not isinstance(content, bool)
    if expected is int:
        return isinstance(content, int) and not isinstance(content, bool)
    return isinstance(content, expected)


def _place(config: Any, name: str) -> tuple[Any, str]:
    """Returns the section that holds a field, and the field's name in it."""
    *sections, last = name.split(".")
    return functools.reduce(getattr, sections, config), last


def _read(text: str, field_type: type, name: str) -> Any:
    if field_type is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if field_type in (int, float):
        try:
            return field_type(text)
        except ValueError:
            pass
    raise InputError(f"config.{name} is {text!r}: it takes a value of type {field_type.__name__}")


def _field_types(section: Any) -> dict[str, Any]:
    """Returns the types of a section's fields by name."""
    return {field.name: field.type for field in dataclasses.fields(section)}


def _names(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields full name and type of every field and section."""
    for name, field_type in _field_types(section).items():
        yield f"{prefix}{name}", field_type
        if dataclasses.is_dataclass(field_type):
            yield from _names(getattr(section, name), f"{prefix}{name}.")


def _unknown(section: Any, prefix: str = "") -> Iterator[str]:
    """Yields the full names of attributes that were set and are no fields."""
    field_types = _field_types(section)
    yield from (f"{prefix}{name}" for name in vars(section) if name not in field_types)
    for name, field_type in field_types.items():
        if dataclasses.is_dataclass(field_type):
            content = getattr(section, name)
            if not isinstance(content, field_types[name]):
                raise InputError(f"config.{prefix}{name} is {content!r}: it is a section, set its fields one by one")
            yield from _unknown(content, f"{prefix}{name}.")


def _with_nearest(config: Any, name: str) -> str:
    return f"config.{name} ({'now' if name in MOVED else 'nearest'}: config.{meant(name, config)})"


def _check_values(section: Any, where: str) -> None:
    for field in dataclasses.fields(section):
        content, name = getattr(section, field.name), f"{where}.{field.name}"
        field_type: Any = field.type
        if dataclasses.is_dataclass(field_type):
            _check_values(content, name)
            continue
        if not has_type(content, field_type):
            raise InputError(f"{name} is {content!r}: it takes a value of type {field_type.__name__}")
        if isinstance(content, float) and not math.isfinite(content):
            raise InputError(f"{name} is {content!r}: it takes a finite number")
        limits = field.metadata
        if limits["choices"] and content not in limits["choices"]:
            raise InputError(f"{name} is {content!r}: choose from {', '.join(limits['choices'])}")
        if limits["minimum"] is not None and not content >= limits["minimum"]:
            raise InputError(f"{name} is {content!r}: it takes {limits['minimum']} or more")
        if limits["maximum"] is not None and not content <= limits["maximum"]:
            raise InputError(f"{name} is {content!r}: it takes {limits['maximum']} or less")
        if limits["above"] is not None and not content > limits["above"]:
            raise InputError(f"{name} is {content!r}: it takes more than {limits['above']}")
        if limits["below"] is not None and not content < limits["below"]:
            raise InputError(f"{name} is {content!r}: it takes less than {limits['below']}")


def _without_effect(config: Any) -> Iterator[tuple[Any, dataclasses.Field, Any, str]]:
    """Yields section, field, default and the names around of every value that is not the default and does nothing."""
    for holder, defaults, prefix in _sections(config, type(config)()):
        for field in dataclasses.fields(holder):
            default = getattr(defaults, field.name)
            is_section = dataclasses.is_dataclass(field.type)  # whose owner checks it
            if not is_section and not _has_effect(holder, field) and getattr(holder, field.name) != default:
                yield holder, field, default, prefix


def _has_effect(holder: Any, field: dataclasses.Field) -> bool:
    needed, choices = field.metadata.get("needs") or (field.name, (getattr(holder, field.name),))
    return getattr(holder, needed) in choices


def _sections(section: Any, defaults: Any, prefix: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Yields every section, the same with its defaults, and the beginning of its fields' full names."""
    yield section, defaults, prefix
    for field in dataclasses.fields(section):
        if dataclasses.is_dataclass(field.type):
            content, default = getattr(section, field.name), getattr(defaults, field.name)
            default = default if type(default) is type(content) else type(content)()
            yield from _sections(content, default, f"{prefix}{field.name}.")
