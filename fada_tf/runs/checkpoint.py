"""Finding, checking and reading the segmenter in a run directory.

Any of RUN, RUN/best or a single checkpoint's path names a segmenter: what is called `checkpoint` here.
"""

import dataclasses
import hashlib
import os
import re

import numpy as np
import tensorflow as tf

from fada_tf import config as config_lib
from fada_tf import config_fields
from fada_tf.data import files
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError
from fada_tf.models import lora
from fada_tf.models.segmenter import Segmenter, build_segmenter
from fada_tf.runs import layout
from fada_tf.runs.literal_paths import literal_file
from fada_tf.runs.metrics import better_network, read_metrics
from fada_tf.windows import AVERAGES, Windows

_INDEX = re.compile(r"(.+-(\d+))\.index")


def checkpoint_path(checkpoint: str) -> str:
    """Returns the checkpoint that `checkpoint` names.

    Args:
      checkpoint: a run directory (its newest checkpoint), its `best` folder, or a checkpoint's own path.

    Raises:
      InputError: there is no checkpoint.
    """
    checkpoint = checkpoint.rstrip("/")
    if files.exists(checkpoint + ".index"):
        return checkpoint
    for folder in (os.path.join(checkpoint, layout.CHECKPOINTS), checkpoint):
        if by_iteration := _checkpoints(folder):
            return by_iteration[max(by_iteration)]
    raise _no_checkpoint(checkpoint, "name a run directory of fada-tf train, or RUN/best")


def all_checkpoints(run: str) -> list[str]:
    """Returns every checkpoint of a run directory, the best one too, by iteration and each iteration once.

    Raises:
      InputError: there is none.
    """
    best, newest = (_checkpoints(os.path.join(run, folder)) for folder in (layout.BEST, layout.CHECKPOINTS))
    by_iteration = best | newest
    if not by_iteration:
        raise _no_checkpoint(run, "name a run directory of fada-tf train")
    return [path for _, path in sorted(by_iteration.items())]


def _no_checkpoint(folder: str, advice: str) -> InputError:
    """Returns the error of a folder without a checkpoint, which names the runs in it, as in those of a pipeline."""
    inside = [folder, os.path.join(folder, "runs")]
    inside = [os.path.join(each, name) for each in inside if files.is_folder(each) for name in files.list_folder(each)]
    if runs := sorted(each for each in inside if files.exists(os.path.join(each, layout.CONFIG))):
        advice = f"name one of the runs in it, {', '.join(runs)}"
    return InputError(f"{folder or 'the empty path'} holds no checkpoint: {advice}")


def _checkpoints(folder: str) -> dict[int, str]:
    """Returns the checkpoints in a folder by iteration."""
    names = files.list_folder(folder) if files.is_folder(folder) else []
    indices = (match for match in map(_INDEX.fullmatch, names) if match)
    return {int(match[2]): os.path.join(folder, match[1]) for match in indices}


def iteration(path: str) -> int:
    """Returns the iterations that a checkpoint was trained for, from its name."""
    return int(path.rpartition("-")[2])


def weights_digest(checkpoint: str) -> str:
    """Returns a SHA-256 of all tensors of a checkpoint: the same for a state that was saved twice, as in RUN/best."""
    reader, digest = tf.train.load_checkpoint(literal_file(checkpoint_path(checkpoint))), hashlib.sha256()
    for name in sorted(reader.get_variable_to_shape_map()):
        tensor = np.asarray(reader.get_tensor(name))
        if tensor.dtype != object and "save_counter" not in name:
            digest.update(name.encode() + tensor.tobytes())
    return digest.hexdigest()


def fingerprint(checkpoint: str) -> str:
    """Returns a digest of the checkpoint's files, which are others each time that it is saved."""
    folder, name = os.path.split(checkpoint_path(checkpoint))
    shards = [file for file in files.list_folder(folder) if file.startswith(name + ".data-")]
    return " ".join(files.sha256(os.path.join(folder, file)) for file in shards)


def run_directory(checkpoint: str) -> str:
    """Returns the run directory that `checkpoint` belongs to.

    Raises:
      InputError: no config.json beside or above the checkpoint.
    """
    inside = os.path.dirname(checkpoint_path(checkpoint)) or "."
    folder = ".." if inside == "." else os.path.dirname(inside) or "."
    if not files.exists(os.path.join(folder, layout.CONFIG)):
        raise InputError(f"{folder}/{layout.CONFIG} is missing: copy it there from where the checkpoint was made")
    return folder


def run_config(checkpoint: str) -> config_lib.Config:
    """Returns the config of the run that `checkpoint` belongs to."""
    path = os.path.join(run_directory(checkpoint), layout.CONFIG)
    config = config_fields.from_json(files.read_bytes(path), path)
    config_fields.drop_untrained(config)
    return config


def run_label_space(checkpoint: str) -> LabelSpace:
    """Returns the classes of the run that `checkpoint` belongs to."""
    path = os.path.join(run_directory(checkpoint), layout.LABEL_SPACE)
    try:
        return LabelSpace.from_json(files.read_json(path))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): copy it there from where the checkpoint was made"
        ) from error


def network(checkpoint: str, chosen: str | None = None) -> str:
    """Returns which network of its run `checkpoint` names, "student" or "teacher".

    Args:
      checkpoint: see `checkpoint_path`.
      chosen: one of the two; None: what `inference` of the run's method says, see `MethodSettings`. The better one is
        that of the checkpoint's own evaluation or, without any, of the last one before; without any, the student.
    """
    inference = chosen or run_config(checkpoint).method.inference
    if inference != "better":
        return inference
    lines, last = read_metrics(run_directory(checkpoint)), iteration(checkpoint_path(checkpoint))
    evaluations = [line for line in lines if line["kind"] == "evaluation" and line["step"] <= last]
    return better_network(evaluations[-1]) if evaluations else "student"


def own_mean_iou(checkpoint: str, network: str) -> float | None:
    """Returns the mean IoU (0..1) that the run's own evaluation gave this network; None if it was not evaluated."""
    path = checkpoint_path(checkpoint)
    lines, step = read_metrics(run_directory(path)), iteration(path)
    name = {"better": f"{network}/mean_iou", network: "mean_iou"}.get(run_config(path).method.inference)
    scores = [line.get(name) for line in lines if line["kind"] == "evaluation" and line["step"] == step]
    return scores[-1] if scores else None


def restore_segmenter(segmenter: Segmenter, checkpoint: str, chosen: str | None = None) -> str:
    """Restores every weight of `segmenter`, and nothing else, from what `checkpoint` names.

    What a run has learned in adapters, see `fada_tf.models.lora`, is added to the kernels beside them; those of
    `segmenter`, if it has any, stay as they are.

    Args:
      segmenter: gets the weights.
      checkpoint: see `checkpoint_path`.
      chosen: of the networks in it, see `network`.

    Returns:
      The checkpoint's path.

    Raises:
      InputError: the checkpoint has another backbone, head or class count, or no teacher, and one is wanted.
    """
    path = checkpoint_path(checkpoint)
    config, classes = run_config(checkpoint), run_label_space(checkpoint).num_classes
    model = config.model
    if (model.backbone, model.head, classes) != (segmenter.backbone, segmenter.head, segmenter.num_classes):
        raise InputError(
            f"{path} holds a segmenter of {model.backbone} and {model.head} with {classes} classes, and one of "
            f"{segmenter.backbone} and {segmenter.head} with {segmenter.num_classes} classes is wanted: choose "
            "config.model.backbone, config.model.head and config.data.label_space alike"
        )
    name = network(checkpoint, chosen)
    plain = not segmenter.lora_rank and model.trainable != "lora"
    saved = segmenter if plain else _build(model, classes)
    try:
        there = tf.train.CheckpointView(literal_file(path)).children(0)
        if has_network := config_lib.NETWORKS[name] in there:
            status = tf.train.Checkpoint(**{config_lib.NETWORKS[name]: saved}).restore(literal_file(path))
            status.expect_partial().assert_existing_objects_matched()
    except (AssertionError, tf.errors.OpError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(f"{path} cannot be restored ({first_line}): use an earlier checkpoint of the run") from error
    if not has_network:
        raise InputError(f"{path} holds no {name}, since it is of a run of {config.method.name}: choose the student")
    if not plain:
        lora.assign_merged(segmenter, saved)
    return path


def load_segmenter(checkpoint: str, chosen: str | None = None, *, feature_stride: int = 0) -> Segmenter:
    """Builds the segmenter that `checkpoint` names, with its trained weights, and without adapters.

    Args:
      checkpoint: see `checkpoint_path`.
      chosen: see `network`.
      feature_stride: of the map that `Segmenter.features` returns; 0: that of the run, see `ModelConfig`.
    """
    model = dataclasses.replace(run_config(checkpoint).model, trainable="all")
    if feature_stride:
        model = dataclasses.replace(model, feature_stride=feature_stride)
    segmenter = _build(model, run_label_space(checkpoint).num_classes)
    restore_segmenter(segmenter, checkpoint, chosen)
    return segmenter


def _build(model: config_lib.ModelConfig, num_classes: int) -> Segmenter:
    return build_segmenter(
        model.backbone, num_classes, model.batch_norm, head=model.head, feature_stride=model.feature_stride,
        trained_part=model.trainable, lora_rank=model.lora_rank,
    )  # fmt: skip


def evaluation_records(checkpoint: str, given: str = "", flag: str = "--records") -> str:
    """Returns the given folder of labelled shards, or else the one that the run of `checkpoint` is evaluated on.

    Raises:
      InputError: there is neither; the message names the option that gives it.
    """
    records = given or run_config(checkpoint).data.evaluation.records
    if not records:
        raise InputError(f"the run of {checkpoint} names no evaluation records: give {flag}")
    return records


def input_size(checkpoint: str, height: int, width: int) -> tuple[int, int]:
    """Returns the (height, width) in pixels that the segmenter of `checkpoint` should see.

    Args:
      checkpoint: a checkpoint, see `checkpoint_path`.
      height: 0 for the run's own evaluation height.
      width: 0 for the run's own evaluation width.

    Raises:
      InputError: no size was given and the run was not evaluated.
    """
    evaluation = run_config(checkpoint).data.evaluation
    height, width = height or evaluation.height, width or evaluation.width
    if not (height and width):
        raise InputError(f"the run of {checkpoint} has no evaluation size: give --height and --width")
    return height, width


def sight(
    checkpoint: str, height: int, width: int, window: str = "", stride: str = "", average: str = AVERAGES[0]
) -> tuple[int, int, Windows | None]:
    """Returns the size that the segmenter of `checkpoint` should see images at, and by which windows.

    Args:
      checkpoint: a checkpoint, see `checkpoint_path`.
      height: pixels; 0: not given.
      width: pixels; 0: not given.
      window: HEIGHTxWIDTH; empty: not given; "none": images are seen whole.
      stride: see `Windows.parse`.
      average: see `Windows.parse`.

    Returns:
      Height and width in pixels, both 0 where images keep their own size, and the windows, if any. What is not given is
      as in the run's evaluation; but with a given window, images keep their own size unless a side is given.

    Raises:
      InputError: no size was given and the run was not evaluated, or the windows cannot be.
    """
    evaluation = run_config(checkpoint).data.evaluation
    given = Windows.parse("" if window == "none" else window, stride, average)
    windows = given if window else Windows.of(evaluation)
    own_size = given or (windows and not (evaluation.height or evaluation.width))
    if own_size and not (height or width):
        return 0, 0, windows
    return *input_size(checkpoint, height, width), windows
