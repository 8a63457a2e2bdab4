"""Weights from PyTorch and back: published backbones, and checkpoints of the authors' code.

A checkpoint of the authors holds a state dict for each of `feature_extractor`, `classifier` and, in the adversarial
stage, `model_D`. Every function here returns an account of all tensors, a list of lines.
"""

import functools
import io
import os
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from fada_tf.config import Config
from fada_tf.data import files, labels
from fada_tf.errors import InputError
from fada_tf.models import backbone_files, torch_files
from fada_tf.models.backbones.base import Published
from fada_tf.models.discriminator import build_discriminator
from fada_tf.models.published_weights import to_published
from fada_tf.models.reference_names import STEP_COUNTER, from_reference, to_reference
from fada_tf.models.segmenter import Segmenter, build_segmenter, find_backbone
from fada_tf.runs import checkpoint, layout
from fada_tf.runs.directory import check_run_directory, write_run_directory
from fada_tf.runs.literal_paths import literal, literal_file


def convert_backbone(path: str, backbone: str, output: str) -> list[str]:
    """Converts a published backbone to initial weights.

    Args:
      path: see `backbone_files.read_backbone`.
      backbone: likewise.
      output: the .npz file that is written, for `config.model.initial_weights`.

    Raises:
      InputError: `path` cannot be read or is not this backbone.
    """
    arrays, lines = backbone_files.read_backbone(path, backbone)
    files.make_folder(os.path.dirname(output) or ".")
    content = io.BytesIO()
    np.savez(content, **arrays)
    files.write_atomically(output, content.getvalue())
    return lines


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
    backbone_files.check_backbone(backbone)
    space = labels.label_space(label_space)
    file = torch_files.read(path)
    entries = backbone_files.weights_of(file)
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
    states = {module: backbone_files.state_dict(entries[module], f"{module} of {path}") for module in modules}
    _check_classes(states["classifier"], space, path)
    counted = any(name.endswith(STEP_COUNTER) for name in states["feature_extractor"])
    batch_norm = "synchronized" if counted else "frozen"
    segmenter = build_segmenter(backbone, space.num_classes, batch_norm)
    objects: dict[str, keras.Model] = {"segmenter": segmenter}
    if "model_D" in modules:
        objects["discriminator"] = build_discriminator(segmenter, space.num_classes)
    lines = []
    for module, model in _models(**objects).items():
        assign = functools.partial(from_reference, module)
        account = backbone_files.load(assign, model, states[module], path)
        lines.append(backbone_files.account_line(module, account, states[module]))

    config = Config(name=f"converted from {os.path.basename(path)}")
    config.data.label_space = label_space
    config.data.evaluation.height, config.data.evaluation.width = height, width
    config.model.backbone, config.model.batch_norm = backbone, batch_norm
    check_run_directory(directory, config, free=())
    write_run_directory(directory, config, space)
    folder = os.path.join(literal(directory), layout.CHECKPOINTS)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(**objects), folder, max_to_keep=1)
    manager.save(checkpoint_number=iteration)
    others = backbone_files.listed(str(name) for name in entries if name not in (*modules, "iteration"))
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
    backbone_files.check_backbone(backbone)
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
    return [*lines, f"not written: {backbone_files.listed(name for name in saved if name not in objects)}"]


def _export_published(published: Sequence[Published], backbone: keras.Model, output: str) -> list[str]:
    """Writes the first of the forms as safetensors, and the last one as a .pth file."""
    form = published[0 if output.endswith(".safetensors") else -1]
    state = to_published(form, backbone)
    if output.endswith(".safetensors"):
        torch_files.write_safetensors(output, state)
    else:
        torch_files.write(output, state)
    lines = [f"{backbone.name}: {len(state)} tensors written, as {form.by} name them"]
    unneeded = backbone_files.listed(form.extra)
    return [*lines, f"not written: the classifier; {unneeded}, which nothing needs", form.notice]


def _models(segmenter: Segmenter, discriminator: keras.Model | None = None) -> dict[str, keras.Model]:
    """Returns the parts by the authors' names."""
    models = {"feature_extractor": segmenter.feature_extractor, "classifier": segmenter.classifier}
    return models | ({"model_D": discriminator} if discriminator else {})


def _check_classes(classifier: dict[str, np.ndarray], space: labels.LabelSpace, path: str) -> None:
    bias = classifier.get("conv2d_list.0.bias")
    if bias is not None and bias.shape != (space.num_classes,):
        raise InputError(
            f"the classifier of {path} has {bias.size} classes, and label space {space.name!r} has "
            f"{space.num_classes}: choose the label space that it was trained with"
        )
