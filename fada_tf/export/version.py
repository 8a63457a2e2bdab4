"""A version of a served model: a folder that appears whole, after its parity with the trained model is proven."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

import keras
import numpy as np
import tensorflow as tf

from fada_tf import forms
from fada_tf.config_fields import to_json
from fada_tf.data import files, images
from fada_tf.data.transforms import resize_image
from fada_tf.errors import InputError
from fada_tf.export import parity, portable, warmup
from fada_tf.export.signatures import ServedSegmenter, ServingOptions
from fada_tf.export.whole_folder import whole_folder
from fada_tf.runs import checkpoint
from fada_tf.runs.literal_paths import is_literal

CLASSES_ASSET = "classes.json"
GRAPH = "saved_model.pb"
MANIFEST = "assets.extra/manifest.json"
PORTABLE_FOLDER = "portable"


@dataclass(frozen=True)
class ExportPlan:
    """What to export.

    Attributes:
      checkpoint: names the trained segmenter, see `checkpoint.checkpoint_path`.
      models: the folder of all served models.
      name: under which the model is served.
      version: 0 for one more than the highest there is.
      options: what the graph does.
      sizes: (height, width) of the pictures that will be served; empty: those of the pictures at hand.
      batches: numbers of pictures in a request that will be served.
      formats: further formats, of `portable.FILES`.
      network: of the checkpoint, see `checkpoint.network`.
    """

    checkpoint: str
    models: str
    name: str
    version: int
    options: ServingOptions
    sizes: tuple[tuple[int, int], ...] = ()
    batches: tuple[int, ...] = (1,)
    formats: tuple[str, ...] = field(default=())
    network: str | None = None


def export_version(
    plan: ExportPlan, pictures: list[np.ndarray], report: Callable[[str], object] = lambda line: None
) -> str:
    """Exports a segmenter as `<models>/<name>/<version>/`, ready for TensorFlow Serving.

    Args:
      plan: what to export.
      pictures: real ones, RGB uint8 [height, width, 3]: for the parity check and the warm-up records.
      report: called with a line for every step.

    Returns:
      The version's folder.

    Raises:
      InputError: the plan cannot work, or the exported model differs from the trained one; nothing is left behind.
    """
    warmup.log_messages()  # before any work
    for name in plan.formats:
        portable.check_format(name)
    segmenter = checkpoint.load_segmenter(plan.checkpoint, plan.network)
    label_space = checkpoint.run_label_space(plan.checkpoint)
    options = plan.options
    with _new_version(plan) as (folder, final):
        sizes = plan.sizes or tuple(dict.fromkeys(picture.shape[:2] for picture in pictures))
        records = warmup.write_warmup(folder, plan.name, pictures, sizes, plan.batches, options)
        shown = ", ".join(f"{height}x{width}" for height, width in sizes)
        report(f"warm-up: {records} records (sizes {shown}; batches {', '.join(map(str, plan.batches))})")
        _write_saved_model(ServedSegmenter(segmenter, label_space, options), folder)
        expected = [parity.reference(segmenter, options, picture, picture.shape[:2]) for picture in pictures]
        parities = parity.check_saved_model(folder, expected, pictures, images.encode_png)
        if plan.formats:
            size = portable.input_size(options)
            single = ServingOptions(*size)
            resized = [resize_image(picture, size).numpy() for picture in pictures]
            expected = [parity.reference(segmenter, single, picture, picture.shape[:2]) for picture in resized]
            os.mkdir(os.path.join(folder, PORTABLE_FOLDER))
        for name in plan.formats:
            path = os.path.join(folder, PORTABLE_FOLDER, portable.FILES[name])
            portable.write(name, segmenter, label_space, options, path)
            outputs = portable.probabilities(name, path, [picture.astype(np.float32) for picture in resized])
            parities[name] = parity.compare(expected, [output.argmax(-1) for output in outputs], outputs)
            parities[name].check(name)
        for name, value in parities.items():
            report(f"parity of {name} on {len(pictures)} pictures: {value}")
        _write_manifest(plan, folder, int(os.path.basename(final)), sizes, parities)
    return final


@contextlib.contextmanager
def _new_version(plan: ExportPlan) -> Iterator[tuple[str, str]]:
    """Gives a local folder and the final name; puts it there at the end, or removes it on any error."""
    if not plan.name or "/" in plan.name or plan.name.startswith("."):
        raise InputError(f"--name={plan.name} cannot be a model's name: use letters, digits and _")
    base = files.join(plan.models, plan.name)
    if not is_literal(base):
        raise InputError(
            f"{base} has one of [ ] * ? in it, which TensorFlow and its server take for a pattern: "
            "choose another --models or --name"
        )
    names = [name.rstrip("/") for name in (files.list_folder(base) if files.is_folder(base) else [])]
    there = [int(name) for name in names if name.isdecimal()]
    version = plan.version or max(there, default=0) + 1
    final = files.join(base, str(version))
    if version in there:
        raise InputError(f"{final} exists: give another --version, or none for the next")
    with whole_folder(final, GRAPH, "--models") as folder:
        yield folder, final


def _write_saved_model(served: ServedSegmenter, folder: str) -> None:
    classes = os.path.join(folder, CLASSES_ASSET)
    files.write_atomically(classes, (json.dumps(served.label_space.to_json(), indent=1) + "\n").encode())
    # keras.export.ExportArchive would do, but it stores every weight twice.
    module = tf.Module()
    module.weights = [variable.value for variable in served.segmenter.variables]
    module.classes = tf.saved_model.Asset(classes)
    with forms.chosen("plain"):  # whatever machine writes it, others read it
        functions = {
            name: tf.function(function, input_signature=[spec], autograph=False).get_concrete_function()
            for name, (function, spec) in served.signatures().items()
        }
        tf.saved_model.save(module, folder, signatures=functions)
    os.remove(classes)


def _write_manifest(plan: ExportPlan, folder: str, version: int, sizes, parities: dict[str, parity.Parity]) -> None:
    path = checkpoint.checkpoint_path(plan.checkpoint)
    config, network = checkpoint.run_config(path), checkpoint.network(path, plan.network)
    values = {
        "name": plan.name,
        "version": version,
        "checkpoint": path,
        "checkpoint_sha256": checkpoint.fingerprint(path),
        "network": network,
        "mean_iou": checkpoint.own_mean_iou(path, network),
        "options": asdict(plan.options),
        "warmup": {"sizes": sizes, "batches": plan.batches},
        "parity": {name: asdict(value) for name, value in parities.items()},
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
        "config": json.loads(to_json(config)),
    }
    text = json.dumps(values, indent=1) + "\n"
    files.write_atomically(os.path.join(folder, MANIFEST), text.encode())
