"""Formats of config.json, and what reads the older ones.

Format 1 had no number, one optimizer section for all networks, and one method section for all methods.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fada_tf.errors import InputError

FORMAT = 2

# Fields of format 1 that have another name since.
MOVED: Mapping[str, str] = {
    "optimizer.horizon": "schedule.horizon",
    "optimizer.power": "schedule.power",
    "optimizer.classifier_multiplier": "optimizer.head_multiplier",
    "optimizer.discriminator_learning_rate": "method.discriminator.learning_rate",
    "optimizer.discriminator_beta_1": "method.discriminator.beta_1",
    "optimizer.discriminator_beta_2": "method.discriminator.beta_2",
    "optimizer.discriminator_epsilon": "method.discriminator.epsilon",
}
# Where format 1 had another order than the newest one.
_FIRST_ORDER = (
    "method.name",
    "method.temperature",
    "method.segmentation_temperature",
    "method.class_knowledge",
    "method.confidence_clip",
    "method.confidence_threshold",
    "method.adversarial_weight",
    "optimizer.learning_rate",
    "optimizer.classifier_multiplier",
    "optimizer.momentum",
    "optimizer.weight_decay",
    "optimizer.horizon",
    "optimizer.power",
    "optimizer.discriminator_learning_rate",
    "optimizer.discriminator_beta_1",
    "optimizer.discriminator_beta_2",
    "optimizer.discriminator_epsilon",
)
_CLASS_KNOWLEDGE = ("temperature", "class_knowledge", "confidence_clip", "confidence_threshold")
# By method: what stood in its section in format 1 without being a setting of its own.
_STRANGE = {
    "source_only": (*_CLASS_KNOWLEDGE, "adversarial_weight", "discriminator"),
    "self_distillation": (*_CLASS_KNOWLEDGE, "adversarial_weight", "discriminator"),
    "binary_adversarial": _CLASS_KNOWLEDGE,
    "fada": (),
}


def read(text: str | bytes, where: str) -> tuple[dict[str, Any], int]:
    """Reads a config.json of any format.

    Args:
      text: JSON.
      where: the name of the text in error messages, for example a path.

    Returns:
      The values by the names of the newest format, and the format that they were written in.

    Raises:
      InputError: not JSON, or of a later format.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error}): write it again with fada_tf.config_fields.to_json") from error
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r}: it should hold the fields of Config")
    written = values.pop("format", 1)
    if type(written) is not int or not 1 <= written <= FORMAT:
        raise InputError(f"{where} has format {written!r}, and this fada_tf reads up to {FORMAT}: install a newer one")
    return (migrate(values) if written == 1 else values), written


def migrate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a config.json of format 1 by the names of the newest format; what is no field stays.

    Args:
      values: as JSON has them, perhaps wrong.
    """
    values = {name: dict(content) if isinstance(content, dict) else content for name, content in values.items()}
    method = values.get("method", {})
    values["method"] = {"name": "source_only"} | method if isinstance(method, dict) else method
    for old, new in MOVED.items():
        section, field = old.split(".")
        if isinstance(values.get(section), dict) and field in values[section]:
            _put(values, new, values[section].pop(field))
    if isinstance(values["method"], dict):
        for field in _STRANGE.get(str(values["method"]["name"]), ()):
            values["method"].pop(field, None)
    _drop_batch_norm(values.get("model"))
    return values


def first_names(names: Iterable[str]) -> dict[str, str]:
    """Returns, by the full names of some fields in the newest order, their names in format 1, in the order of that."""
    before = {new: old for old, new in MOVED.items()}
    first = {name: before.get(name, name) for name in names}
    others = [name for name in first.values() if name not in _FIRST_ORDER]
    head = [name for name in others if not name.startswith("training.")]
    order = [*head, *_FIRST_ORDER, *(name for name in others if name not in head)]
    return dict(sorted(first.items(), key=lambda entry: order.index(entry[1])))


def _put(values: dict[str, Any], name: str, content: Any) -> None:
    """Puts a value where its full name says, in sections that are made if need be."""
    *sections, last = name.split(".")
    for section in sections:
        values = values.setdefault(section, {}) if isinstance(values, dict) else {}
    if isinstance(values, dict):
        values[last] = content


def _drop_batch_norm(model: Any) -> None:
    if isinstance(model, dict) and str(model.get("backbone")).startswith("vgg"):
        model.pop("batch_norm", None)  # which VGG has none of
