"""The fields of a config by their full names, such as "optimizer.learning_rate": set, compared, and as JSON."""

import copy
import dataclasses
import json
import os
from collections.abc import Collection, Mapping
from typing import Any

from fada_tf import migration, schema
from fada_tf.config import Config, DomainConfig, method_settings

# Changing these does not change what a given iteration computes, so a run may continue with other values.
FREE_FIELDS = (
    "name",
    "data.source.max_bad_records",
    "data.target.max_bad_records",
    "data.source.records_decide",  # what they decided is compared
    "data.target.records_decide",
    "data.evaluation.batch_size",
    "training.iterations",
    "training.steps_per_loop",
    "training.checkpoint_interval",
    "training.evaluation_interval",
    "training.picture_interval",
    "training.keep_checkpoints",
    "training.memory_growth",
    "training.prefetch_to_device",
)

# What a run reads: provenance.json has the digest of each, and a run may continue with another path to the same.
INPUT_FIELDS = (
    "data.label_space", "data.source.records", "data.target.records", "data.evaluation.records",
    "model.initial_weights",
)  # fmt: skip


def trained_domains(config: Config) -> dict[str, DomainConfig]:
    """Returns the domains that have records to train on, by name."""
    domains = {"source": config.data.source, "target": config.data.target}
    return {name: domain for name, domain in domains.items() if domain.records}


def untrained_settings(config: Config) -> dict[str, Any]:
    """Returns, by full name, the defaults of what is set for domains without records, beyond their sizes."""
    return {
        f"data.{name}.{field.name}": field.default
        for name in ("source", "target")
        if name not in trained_domains(config)
        for field in dataclasses.fields(DomainConfig)
        if field.name not in ("height", "width") and getattr(getattr(config.data, name), field.name) != field.default
    }


def drop_untrained(config: Config) -> None:
    """Sets back to their defaults the settings of domains without records, which older runs may have."""
    set_fields(config, untrained_settings(config))


def to_dict(config: Config) -> dict[str, Any]:
    """Returns the fields of all sections, in the order of the schema and as JSON has them."""
    values = dataclasses.asdict(config)
    return values | {"method": {"name": config.method.name} | values["method"]}


def to_json(config: Config) -> str:
    """Returns the whole config as indented JSON, with the number of its format."""
    return json.dumps({"format": migration.FORMAT} | to_dict(config), indent=2) + "\n"


def from_json(text: str | bytes, where: str = "config") -> Config:
    """Reads what `to_json` wrote, now or in an earlier format.

    Args:
      text: JSON.
      where: the name of the text in error messages, for example a path.

    Raises:
      InputError: not JSON, of a later format, an unknown field or method, or a value of a wrong type.
    """
    values, written = migration.read(text, where)
    config, method = Config(), values.get("method")
    if isinstance(method, dict):
        config.method = method_settings(method.pop("name", config.method.name))
    schema.fill(config, values, where)
    if written == 1:  # which took settings that did nothing
        schema.drop_without_effect(config)
    return config


def set_fields(config: Config, values: Mapping[str, Any]) -> None:
    """Sets fields by their full names, such as "optimizer.learning_rate"; text is read as what a field takes.

    Another "method.name" comes first, wherever it stands: settings that both methods have keep their values. A domain
    whose records become "" is not trained on, and its other fields are those of a new config unless they are given too.

    Raises:
      InputError: there is no such method or field, or text is not what the field takes.
    """
    name = values.get("method.name", config.method.name)
    if name != config.method.name:
        own = method_settings(name)
        for each in dataclasses.fields(own):
            setattr(own, each.name, copy.deepcopy(getattr(config.method, each.name, getattr(own, each.name))))
        config.method = own
    for field, value in values.items():
        if field != "method.name":
            schema.check_field(config, field)
            schema.set_field(config, field, value)
    emptied = tuple(f"data.{name}." for name in ("source", "target") if values.get(f"data.{name}.records") == "")
    for field, default in untrained_settings(config).items():
        if field.startswith(emptied) and field not in values:
            schema.set_field(config, field, default)


def has_field(config: Config, name: str) -> bool:
    """Tells whether the config has a field of this full name; its method decides which there are of that."""
    return name in flatten(config)


def expand_home(config: Config) -> None:
    """Replaces a `~` at the beginning of paths by the user's folder, as shells do."""
    for field, value in flatten(config).items():
        if field in INPUT_FIELDS and isinstance(value, str):
            parts = value.split(",") if field.endswith(".records") else [value]
            schema.set_field(config, field, ",".join(map(os.path.expanduser, parts)))


def flatten(config: Config) -> dict[str, Any]:
    """Returns the value of every field by its name, such as "optimizer.learning_rate", in the order of the schema."""
    return schema.flat(to_dict(config))


def differences(one: Config, other: Config, *, but: Collection[str] = ()) -> list[str]:
    """Returns a line "field: value in one, value in other" for every field that differs and is not named in `but`.

    Of methods that differ, the settings that only one of them has are left out.
    """
    first, second = flatten(one), flatten(other)
    names = [name for name in first if name in second and first[name] != second[name] and name not in but]
    return [f"{name}: {first[name]!r}, {second[name]!r}" for name in names]
