"""Weights from PyTorch and back: published backbones, and checkpoints of the authors' code.

A checkpoint of the authors holds a state dict for each of `feature_extractor`, `classifier` and, in the adversarial
stage, `model_D`. Every function here returns an account of all tensors, a list of lines.
"""

import contextlib
import dataclasses
import functools
import io
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fada_tf.config import Config
from fada_tf.data import files, labels
from fada_tf.errors import InputError
from fada_tf.models import torch_files
from fada_tf.models.backbones.base import Backbone, Published
from fada_tf.models.discriminator import build_discriminator
from fada_tf.models.published_weights import from_published, recognized, to_published
from fada_tf.models.reference_names import STEP_COUNTER, Account, from_reference, to_reference
from fada_tf.models.segmenter import Segmenter, build_segmenter, family_of, find_backbone
from fada_tf.models.variables import named_variables
from fada_tf.runs import checkpoint, layout
from fada_tf.runs.directory import check_run_directory, write_run_directory
from fada_tf.runs.literal_paths import literal, literal_file

BACKBONES = ("resnet50", "resnet101", "vgg16")  # those of the authors' code
_HEADS = ("fc", "classifier")  # of ImageNet's classes, in published files
# Published VGG files count pool4, at 23, which the authors' code takes out.
_VGG16_LAYERS = {f"features.{old}": f"backbone.{new}" for new, old in enumerate((*range(23), *range(24, 30)))}
_VGG16_OF_TORCHVISION = "vgg16-397923af.pth"  # trained by torchvision, on RGB in 0..1


def convert_backbone(path: str, backbone: str, output: str) -> list[str]:
    """Converts a published backbone to initial weights.

    Args:
      path: a .pth file: torchvision's ResNet, or Caffe's VGG-16 (inputs in BGR, 0..255) under torchvision's names;
        they may lie in an entry `state_dict` or `model`. Or, of a backbone with forms of its own, see
        `Backbone.published`, a .pth or .safetensors file in one of them.
      backbone: one of `BACKBONES`, or one that is published in forms of its own.
      output: the .npz file that is written, for `config.model.initial_weights`.

    Raises:
      InputError: `path` cannot be read or is not this backbone.
    """
    definition = find_backbone(backbone)
    if not definition.published:
        _check_backbone(backbone)
    if os.path.basename(path) == _VGG16_OF_TORCHVISION:
        raise InputError(f"{path} sees RGB in 0..1, and vgg16 here BGR in 0..255: take Caffe's, vgg16-00b39a1b.pth")
    entries = _weights(torch_files.read(path))
    if "feature_extractor" in entries:
        raise InputError(f"{path} is a checkpoint of the authors' code: name a folder as the output, not {output}")
    tensors = _state_dict(entries, path)
    model = definition.build(backbone, "frozen", np.random.default_rng(0))
    convert = _from_published if definition.published else _from_torchvision
    arrays, lines = convert(path, definition, model, tensors)
    files.make_folder(os.path.dirname(output) or ".")
    content = io.BytesIO()
    np.savez(content, **arrays)
    files.write_atomically(output, content.getvalue())
    return lines


def _from_torchvision(
    path: str, definition: Backbone, model: keras.Model, tensors: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], list[str]]:
    heads = tuple(name for name in tensors if name.partition(".")[0] in _HEADS)
    body = {_backbone_name(name): tensor for name, tensor in tensors.items() if name not in heads}
    variables = named_variables(model)
    our_names = dict(zip(to_reference("feature_extractor", model), variables, strict=True))
    fresh = {name for name, ours in our_names.items() if ours.rpartition("/")[0] in definition.fresh_layers}
    account = _load(functools.partial(from_reference, "feature_extractor"), model, body, path, may_lack=fresh)
    missing = tuple(our_names[name] for name in account.missing)
    account = dataclasses.replace(account, missing=missing, unused=account.unused + heads)
    arrays = {our_names[name]: np.asarray(variables[our_names[name]]) for name in account.loaded}
    return arrays, [_line(model.name, account, tensors)]


def _from_published(
    path: str, definition: Backbone, model: keras.Model, tensors: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Takes the form that most names are of; what the file holds beside the backbone, such as a head, is left."""
    form, state = recognized(definition.published, model, tensors) or (definition.published[0], tensors)
    needed = {name: tensor for name, tensor in state.items() if name not in form.extra}
    load = functools.partial(_load, functools.partial(from_published, form), state=needed, path=path)
    try:
        account = load(model)
    except InputError as error:
        fitting = _fitting(model.name, load)
        raise InputError(f"{error}; they fit {_listed(fitting)}" if fitting else str(error)) from error
    account = dataclasses.replace(account, unused=(*account.unused, *(state.keys() & set(form.extra))))
    arrays = {name: np.asarray(variable) for name, variable in named_variables(model).items()}
    return arrays, [_line(model.name, account, tensors), form.notice]


def _fitting(backbone: str, load: Callable[[keras.Model], Account]) -> list[str]:
    """Returns the names of the other backbones of the family that can be loaded."""
    fitting = []
    for name, other in family_of(backbone).items():
        with contextlib.suppress(InputError):
            if name != backbone:
                load(other.build(name, "frozen", np.random.default_rng(0)))
                fitting.append(name)
    return fitting


def convert_checkpoint(
    path: str, backbone: str, label_space: str, directory: str, *, height: int = 0, width: int = 0
) -> list[str]:
    """Converts a checkpoint of the authors' code, of any stage, to a run directory.

    Args:
      path: the .pth file; names in its state dicts may start with "module.".
      backbone: one of `BACKBONES`.
      label_space: name of a built-in label space, or path of a class file.
      directory: the run directory that is made.
      height: pixels that images are resized to in evaluation; 0: left to the programs.
      width: as `height`.

    Raises:
      InputError: `path` cannot be read or is of another backbone or class count, or `directory` is another run's.
    """
    _check_backbone(backbone)
    space = labels.label_space(label_space)
    file = torch_files.read(path)
    entries = _weights(file)
    absent = [module for module in ("feature_extractor", "classifier") if module not in entries]
    if absent:
        raise InputError(
            f"{path} lacks {' and '.join(absent)}, it is no checkpoint of the authors' code: "
            "name an .npz file as the output if it is a published backbone"
        )
    iteration = entries.get("iteration", file.get("iteration", 0))
    if not isinstance(iteration, int):
        raise InputError(f"iteration of {path} is {iteration!r}: it should be a whole number")
    modules = [module for module in ("feature_extractor", "classifier", "model_D") if module in entries]
    states = {module: _state_dict(entries[module], f"{module} of {path}") for module in modules}
    _check_classes(states["classifier"], space, path)
    counted = any(name.endswith(STEP_COUNTER) for name in states["feature_extractor"])
    batch_norm = "synchronized" if counted else "frozen"
    segmenter = build_segmenter(backbone, space.num_classes, batch_norm)
    objects: dict[str, keras.Model] = {"segmenter": segmenter}
    if "model_D" in modules:
        objects["discriminator"] = build_discriminator(segmenter, space.num_classes)
    lines = []
    for module, model in _models(**objects).items():
        lines.append(
            _line(module, _load(functools.partial(from_reference, module), model, states[module], path), states[module])
        )

    config = Config(name=f"converted from {os.path.basename(path)}")
    config.data.label_space = label_space
    config.data.evaluation.height, config.data.evaluation.width = height, width
    config.model.backbone, config.model.batch_norm = backbone, batch_norm
    check_run_directory(directory, config, free=())
    write_run_directory(directory, config, space)
    folder = os.path.join(literal(directory), layout.CHECKPOINTS)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(**objects), folder, max_to_keep=1)
    manager.save(checkpoint_number=iteration)
    others = _listed(str(name) for name in entries if name not in (*modules, "iteration"))
    return [*lines, f"other entries, unused: {others}", f"batch norm: {batch_norm}; iteration: {iteration}"]


def export_checkpoint(trained: str, output: str) -> list[str]:
    """Writes the models of a checkpoint of this library as the authors' test program loads them.

    Of backbones that the authors' code lacks, the backbone alone is written, as `Backbone.published` says.

    Args:
      trained: a run directory, its `best` folder or a checkpoint.
      output: the file that is written: .pth, or .safetensors of a published form.

    Raises:
      InputError: no such checkpoint, or of a backbone that the format of the output does not know.
    """
    path = checkpoint.checkpoint_path(trained)
    backbone = checkpoint.run_config(path).model.backbone
    if published := find_backbone(backbone).published:
        return _export_published(published, checkpoint.load_segmenter(path).feature_extractor, output)
    _check_backbone(backbone)
    if output.endswith(".safetensors"):
        raise InputError(f"{output} cannot be written of backbone {backbone}: the authors' code reads a .pth file")
    segmenter = checkpoint.load_segmenter(path)
    saved = tf.train.CheckpointView(literal_file(path)).children(0)
    objects: dict[str, keras.Model] = {"segmenter": segmenter}
    if "discriminator" in saved:
        objects["discriminator"] = build_discriminator(segmenter, segmenter.num_classes)
        models = tf.train.Checkpoint(discriminator=objects["discriminator"])
        restored = models.restore(literal_file(path)).expect_partial()
        restored.assert_existing_objects_matched()
    states = {module: to_reference(module, model) for module, model in _models(**objects).items()}
    torch_files.write(output, states)
    lines = [f"{module}: {len(state)} tensors written" for module, state in states.items()]
    return [*lines, f"not written: {_listed(name for name in saved if name not in objects)}"]


def _export_published(published: Sequence[Published], backbone: keras.Model, output: str) -> list[str]:
    """Writes the first of the forms as safetensors, and the last one as a .pth file."""
    form = published[0 if output.endswith(".safetensors") else -1]
    state = to_published(form, backbone)
    if output.endswith(".safetensors"):
        torch_files.write_safetensors(output, state)
    else:
        torch_files.write(output, state)
    lines = [f"{backbone.name}: {len(state)} tensors written, as {form.by} name them"]
    return [*lines, f"not written: the classifier; {_listed(form.extra)}, which nothing needs", form.notice]


def _models(segmenter: Segmenter, discriminator: keras.Model | None = None) -> dict[str, keras.Model]:
    """Returns the parts by the authors' names."""
    models = {"feature_extractor": segmenter.feature_extractor, "classifier": segmenter.classifier}
    return models | ({"model_D": discriminator} if discriminator else {})


def _check_backbone(backbone: str) -> None:
    if backbone not in BACKBONES:
        raise InputError(f"backbone {backbone!r} is not one of the authors' code: choose from {', '.join(BACKBONES)}")


def _check_classes(classifier: dict[str, np.ndarray], space: labels.LabelSpace, path: str) -> None:
    bias = classifier.get("conv2d_list.0.bias")
    if bias is not None and bias.shape != (space.num_classes,):
        raise InputError(
            f"the classifier of {path} has {bias.size} classes, and label space {space.name!r} has "
            f"{space.num_classes}: choose the label space that it was trained with"
        )


def _weights(entries: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of a file that holds the weights, where other programs saved them beside other things."""
    for name in ("state_dict", "model"):
        if isinstance(entries.get(name), dict):
            return _weights(entries[name])
    return entries


def _state_dict(entries: Any, where: str) -> dict[str, np.ndarray]:
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


def _load(
    assign: Callable[[keras.Model, dict[str, np.ndarray]], Account],
    model: keras.Model,
    state: dict[str, np.ndarray],
    path: str,
    may_lack: Collection[str] = (),
) -> Account:
    """Assigns `state` to all weights of `model`, save that those named in `may_lack` may be missing."""
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
    faults = [f"it {verb} {_listed(names[:3])}{' ...' * (len(names) > 3)}" for verb, names in wrong.items() if names]
    if faults:
        raise InputError(f"{path} does not hold this {model.name}: {' and '.join(faults)}: check the backbone")
    return account


def _part(name: str) -> str:
    """Returns the outermost layer or stage of a reference's name: "layer3" of "backbone.layer3.0.conv1.weight"."""
    return name.removeprefix("backbone.").partition(".")[0]


def _line(what: str, account: Account, state: dict[str, np.ndarray]) -> str:
    counters = sum(name.endswith(STEP_COUNTER) for name in state)
    return (
        f"{what}: {len(account.loaded)} of {len(state)} tensors loaded; missing: {_listed(account.missing)}; "
        f"unused: {_listed(account.unused)}" + (f"; {counters} step counters, not needed" if counters else "")
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
