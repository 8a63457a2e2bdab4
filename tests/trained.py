"""A run directory as training leaves it, with random weights, and pictures for it."""

import json
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fada_tf.config import Config, ModelConfig
from fada_tf.data.labels import ClassFile
from fada_tf.export.signatures import ServingOptions
from fada_tf.export.version import ExportPlan, export_version
from fada_tf.models.segmenter import Segmenter, build_segmenter
from fada_tf.runs.directory import write_run_directory
from tests import scenes

ITERATION, MEAN_IOU = 7, 0.25
SYNCHRONIZED_TINY = ModelConfig("tiny", batch_norm="synchronized")
OPTIONS = ServingOptions(24, 32, max_pixels=100_000, max_batch=3)


def write_run(
    folder: pathlib.Path,
    model: ModelConfig = SYNCHRONIZED_TINY,
    size: tuple[int, int] = (24, 32),
    change: Callable[[Segmenter], object] = lambda segmenter: None,
) -> str:
    """Writes a run of the scenes' classes, evaluated at that size.

    Args:
      folder: of its class file and its directory.
      model: the network; its weights are random.
      size: height and width.
      change: changes the network before it is saved.

    Returns:
      The run directory.
    """
    folder.mkdir(exist_ok=True)
    scenes.write_class_file(folder / "classes.json")
    config = Config(name="scenes")
    config.data.label_space = str(folder / "classes.json")
    config.data.evaluation.height, config.data.evaluation.width = size
    config.model = model
    run = folder / "run"
    write_run_directory(str(run), config, ClassFile.load(str(folder / "classes.json")).label_space)
    segmenter = build_segmenter(
        model.backbone, len(scenes.CLASSES), model.batch_norm, seed=3, head=model.head, trained_part=model.trainable,
        lora_rank=model.lora_rank,
    )  # fmt: skip
    change(segmenter)
    for variable in segmenter.classifier.variables:  # random weights of the usual size call everything one class
        variable.assign(variable * 300.0)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(segmenter=segmenter), str(run / "checkpoints"), 1)
    manager.save(checkpoint_number=ITERATION)
    line = {"kind": "evaluation", "step": ITERATION, "mean_iou": MEAN_IOU}
    (run / "metrics.jsonl").write_text(json.dumps(line) + "\n" + '{"kind": "eval')  # a kill cut it
    return str(run)


def pictures(count: int = 2) -> list[np.ndarray]:
    """Returns RGB uint8 [height, width, 3] of scenes, every second one smaller."""
    return [scenes.scene(seed, dusk=False)[0][: scenes.HEIGHT - 9 * (seed % 2)] for seed in range(count)]


def plan(run: str, models: pathlib.Path, **values) -> ExportPlan:
    """Returns how the model "segmenter" is exported, but for `values`."""
    defaults = {"name": "segmenter", "version": 0, "options": OPTIONS, "batches": (1, 2)}
    return ExportPlan(run, str(models), **(defaults | values))


def export(run: str, models: pathlib.Path) -> tuple[pathlib.Path, list[str]]:
    """Exports a run; returns the version's folder and what was reported."""
    lines: list[str] = []
    return pathlib.Path(export_version(plan(run, models), pictures(), lines.append)), lines
