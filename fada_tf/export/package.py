"""A package of a run: all that others need to use its network, in a folder that the Hugging Face Hub shows as a model.

README.md             the model card, with the Hub's metadata on top
config.json           the run's settings, without the folders of the machine that it was trained on
label_space.json      the classes
checkpoints/ckpt-N    the weights of the one network that is packed
scores.json           what `fada-tf evaluate` measured of this very checkpoint

To whatever reads a run directory, see `fada_tf.runs.layout`, it is one. Reading it executes nothing of it.
"""

import copy
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from fada_tf.config import NETWORKS, Config, ModelConfig
from fada_tf.config_fields import INPUT_FIELDS, flatten, has_field, set_fields
from fada_tf.data import files
from fada_tf.errors import InputError
from fada_tf.export.model_card import model_card
from fada_tf.export.whole_folder import whole_folder
from fada_tf.runs import checkpoint, layout, results
from fada_tf.runs.directory import write_run_directory
from fada_tf.runs.literal_paths import literal

CARD = "README.md"
_PATHS = (*INPUT_FIELDS, "method.imagenet_weights")


def write_package(
    trained: str, output: str, *, name: str = "", license: str = "", network: str | None = None
) -> list[str]:
    """Packs a trained segmenter.

    Args:
      trained: names it, see `checkpoint.checkpoint_path`.
      output: the folder that is made, or an empty one.
      name: of the model; empty: the folder's.
      license: that its owner gives it, as the Hub spells it, such as "apache-2.0"; empty: the card says that none is
        known.
      network: "student" or "teacher"; None: the one that the run is scored by.

    Returns:
      The files, relative to `output`.

    Raises:
      InputError: there is no such segmenter, or something is at `output`, or it cannot be written.
    """
    if files.exists(output) and (not files.is_folder(output) or files.list_folder(output)):
        raise InputError(f"{output} exists: choose another --output, or delete it")
    path = checkpoint.checkpoint_path(trained)
    network = checkpoint.network(path, network)
    segmenter, label_space = checkpoint.load_segmenter(path, network), checkpoint.run_label_space(path)
    config, scores = _packed_config(path, network), list(_scores(path, network))
    card = model_card(
        name or os.path.basename(os.path.normpath(output)), config, label_space,
        iterations=checkpoint.iteration(path), own_mean_iou=checkpoint.own_mean_iou(path, network), scores=scores,
        license=license,
    )  # fmt: skip
    with whole_folder(output, CARD, "--output") as folder:
        write_run_directory(folder, config, label_space)
        saved = tf.train.Checkpoint(**{NETWORKS[network]: segmenter})
        manager = tf.train.CheckpointManager(saved, os.path.join(literal(folder), layout.CHECKPOINTS), max_to_keep=1)
        manager.save(checkpoint_number=checkpoint.iteration(path))
        content = files.json_text(scores, indent=1)
        files.write_atomically(os.path.join(folder, results.SCORES_FILE), content.encode())
        files.write_atomically(os.path.join(folder, CARD), card.encode())
        return files.walk(folder)


def _packed_config(path: str, network: str) -> Config:
    """Returns the run's config as it is of the packed network, with the names of what it read in place of paths."""
    config = copy.deepcopy(checkpoint.run_config(path))
    settings = flatten(config)
    changed: dict[str, Any] = {field: _names(settings[field]) for field in _PATHS if field in settings}
    # Adapters are merged into the weights.
    changed |= {"model.trainable": "all", "model.lora_rank": ModelConfig().lora_rank}
    if has_field(config, "method.inference"):
        changed["method.inference"] = network
    set_fields(config, changed)
    return config


def _names(paths: str) -> str:
    """Returns what remains of paths with commas between them: the name of each file or folder."""
    return ",".join(path and os.path.basename(os.path.normpath(path)) for path in paths.split(","))


def _scores(path: str, network: str) -> Iterator[dict]:
    """Yields what was measured of this network of this checkpoint."""
    folder = os.path.join(checkpoint.run_directory(path), layout.SCORES)
    ending = f"/{checkpoint.iteration(path)}/{results.SCORES_FILE}"
    names = [name for name in (files.walk(folder) if files.is_folder(folder) else []) if name.endswith(ending)]
    digest = checkpoint.weights_digest(path) if names else ""
    for name in names:
        scores = results.read(os.path.join(folder, name), {})
        if scores.get("weights_sha256") == digest and scores.get("network", network) == network:
            kept = {key: value for key, value in scores.items() if key not in ("checkpoint", "weights_sha256")}
            yield kept | {"records": _names(scores["records"])}
