"""Published backbones in .pth and .safetensors files, as weights by our paths, with an account of all tensors."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Collection, Iterable
from typing import Any

import keras
import numpy as np

from fada_tf.errors import InputError
from fada_tf.models import torch_files
from fada_tf.models.backbones.base import Backbone
from fada_tf.models.published_weights import from_published, recognized
from fada_tf.models.reference_names import STEP_COUNTER, Account, from_reference, to_reference
from fada_tf.models.segmenter import family_of, find_backbone
from fada_tf.models.variables import named_variables

BACKBONES = ("resnet50", "resnet101", "vgg16")  # those of the authors' code
_HEADS = ("fc", "classifier")  # of ImageNet's classes, in published files
# Published VGG files count pool4, at 23, which the authors' code takes out.
_VGG16_LAYERS = {f"features.{old}": f"backbone.{new}" for new, old in enumerate((*range(23), *range(24, 30)))}
_VGG16_OF_TORCHVISION = "vgg16-397923af.pth"  # trained by torchvision, on RGB in 0..1


def read_backbone(path: str, backbone: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Reads a published backbone.

    Args:
      path: a .pth file: torchvision's ResNet, or Caffe's VGG-16 (inputs in BGR, 0..255) under torchvision's names;
        they may lie in an entry `state_dict` or `model`. Or, of a backbone with forms of its own, see
        `Backbone.published`, a .pth or .safetensors file in one of them.
      backbone: one of `BACKBONES`, or one that is published in forms of its own.

    Returns:
      Weights by our paths, and lines for users: what was loaded, missing and unused, and the licence of forms of its
      own.

    Raises:
      InputError: `path` cannot be read or is not this backbone.
    """
    definition = find_backbone(backbone)
    if not definition.published:
        check_backbone(backbone)
    if os.path.basename(path) == _VGG16_OF_TORCHVISION:
        raise InputError(f"{path} sees RGB in 0..1, and vgg16 here BGR in 0..255: take Caffe's, vgg16-00b39a1b.pth")
    entries = weights_of(torch_files.read(path))
    if "feature_extractor" in entries:
        raise InputError(
            f"{path} is a checkpoint of the authors' code: name a folder as the output of fada-tf convert_weights, and "
            "start from that"
        )
    tensors = state_dict(entries, path)
    model = definition.build(backbone, "frozen", np.random.default_rng(0))
    return (_from_published if definition.published else _from_torchvision)(path, definition, model, tensors)


def _from_torchvision(
    path: str, definition: Backbone, model: keras.Model, tensors: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], list[str]]:
    heads = tuple(name for name in tensors if name.partition(".")[0] in _HEADS)
    body = {_backbone_name(name): tensor for name, tensor in tensors.items() if name not in heads}
    variables = named_variables(model)
    our_names = dict(zip(to_reference("feature_extractor", model), variables, strict=True))
    fresh = {name for name, ours in our_names.items() if ours.rpartition("/")[0] in definition.fresh_layers}
    account = load(functools.partial(from_reference, "feature_extractor"), model, body, path, may_lack=fresh)
    missing = tuple(our_names[name] for name in account.missing)
    account = dataclasses.replace(account, missing=missing, unused=account.unused + heads)
    arrays = {our_names[name]: np.asarray(variables[our_names[name]]) for name in account.loaded}
    return arrays, [account_line(model.name, account, tensors)]


def _from_published(
    path: str, definition: Backbone, model: keras.Model, tensors: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Takes the form that most names are of; what the file holds beside the backbone, such as a head, is left."""
    form, state = recognized(definition.published, model, tensors) or (definition.published[0], tensors)
    needed = {name: tensor for name, tensor in state.items() if name not in form.extra}
    assign = functools.partial(load, functools.partial(from_published, form), state=needed, path=path)
    try:
        account = assign(model)
    except InputError as error:
        fitting = _fitting(model.name, assign)
        raise InputError(f"{error}; they fit {listed(fitting)}" if fitting else str(error)) from error
    account = dataclasses.replace(account, unused=(*account.unused, *(state.keys() & set(form.extra))))
    arrays = {name: np.asarray(variable) for name, variable in named_variables(model).items()}
    return arrays, [account_line(model.name, account, tensors), form.notice]


def _fitting(backbone: str, assign: Callable[[keras.Model], Account]) -> list[str]:
    """Returns the names of the other backbones of the family that can be loaded."""
    fitting = []
    for name, other in family_of(backbone).items():
        with contextlib.suppress(InputError):
            if name != backbone:
                assign(other.build(name, "frozen", np.random.default_rng(0)))
                fitting.append(name)
    return fitting


def check_backbone(backbone: str) -> None:
    """Raises an `InputError` unless the authors' code has such a backbone."""
    if backbone not in BACKBONES:
        raise InputError(f"backbone {backbone!r} is not one of the authors' code: choose from {', '.join(BACKBONES)}")


def weights_of(entries: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of a file that holds the weights, where other programs saved them beside other things."""
    for name in ("state_dict", "model"):
        if isinstance(entries.get(name), dict):
            return weights_of(entries[name])
    return entries


def state_dict(entries: Any, where: str) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dict, without the prefix that DistributedDataParallel puts before every name."""
    if not isinstance(entries, dict) or not all(isinstance(tensor, np.ndarray) for tensor in entries.values()):
        raise InputError(f"{where} is not a dictionary of tensors: give a file of weights alone")
    state = {str(name).removeprefix("module."): tensor for name, tensor in entries.items()}
    if len(state) < len(entries):
        raise InputError(f"{where} has the same names with and without 'module.': remove the ones that are wrong")
    return state


def _backbone_name(name: str) -> str:
    layer, _, variable = name.rpartition(".")
    return f"{_VGG16_LAYERS.get(layer, layer)}.{variable}"


def load(
    assign: Callable[[keras.Model, dict[str, np.ndarray]], Account],
    model: keras.Model,
    state: dict[str, np.ndarray],
    path: str,
    may_lack: Collection[str] = (),
) -> Account:
    """Assigns a state dict to all weights of a model.

    Args:
      assign: does it.
      model: that is changed.
      state: arrays by name.
      path: of their file.
      may_lack: names of weights that may be missing.

    Returns:
      What was assigned and what was not.

    Raises:
      InputError: the tensors are no finite numbers, or not those of the model.
    """
    for name, tensor in state.items():
        if not name.endswith(STEP_COUNTER) and not (tensor.dtype.kind == "f" and np.isfinite(tensor).all()):
            raise InputError(f"{path} has values in {name} that are not finite real numbers: get the file anew")
    try:
        account = assign(model, state)
    except InputError as error:
        raise InputError(f"{path} does not hold this {model.name} ({error}): check backbone and label space") from error
    # A tensor that is left over in a layer or stage of the model is of a deeper one, or would change what it computes.
    known = {_part(name) for name in account.loaded}
    wrong = {
        "lacks": [name for name in account.missing if name not in may_lack],
        "has besides": [name for name in account.unused if _part(name) in known],
    }
    faults = [f"it {verb} {listed(names[:3])}{' ...' * (len(names) > 3)}" for verb, names in wrong.items() if names]
    if faults:
        raise InputError(f"{path} does not hold this {model.name}: {' and '.join(faults)}: check the backbone")
    return account


def _part(name: str) -> str:
    """Returns the outermost layer or stage of a reference's name: "layer3" of "backbone.layer3.0.conv1.weight"."""
    return name.removeprefix("backbone.").partition(".")[0]


def account_line(what: str, account: Account, state: dict[str, np.ndarray]) -> str:
    """Returns what users read of an account."""
    counters = sum(name.endswith(STEP_COUNTER) for name in state)
    return (
        f"{what}: {len(account.loaded)} of {len(state)} tensors loaded; missing: {listed(account.missing)}; "
        f"unused: {listed(account.unused)}" + (f"; {counters} step counters, not needed" if counters else "")
    )


def listed(names: Iterable[str]) -> str:
    """Returns names with commas between them."""
    return ", ".join(names) or "none"
