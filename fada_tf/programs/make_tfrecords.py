"""Converts a data set to TFRecord shards with a manifest, or verifies a folder of shards.

fada-tf make_tfrecords --dataset=folder --images=DIR --labels=DIR --classes=classes.json --output=DIR
fada-tf make_tfrecords --dataset=gta5 --root=DIR --output=DIR --skip_bad
fada-tf make_tfrecords --dataset=cityscapes --root=DIR --split=train --output=DIR
fada-tf make_tfrecords --dataset=cvat --images=DIR --labels=annotations.xml --write_classes=classes.json --output=DIR
fada-tf make_tfrecords --verify --output=DIR
"""

import contextlib
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from fada_tf import cli, machine, registry
from fada_tf.errors import InputError, printable

if TYPE_CHECKING:
    from fada_tf.data.manifest import Manifest

FLAGS = flags.FLAGS
OPTIONS = ("root", "split", "city", "condition", "beta", "images", "labels", "classes", "names")  # of data sets
flags.DEFINE_string("dataset", "folder", f"one of {', '.join(registry.names('fada_tf.data.datasets'))}")
flags.DEFINE_string("root", None, "folder of the download, where a data set has a layout of its own")
flags.DEFINE_string("split", None, "which part of it, such as train or val, where the data set has parts")
flags.DEFINE_string("city", None, "Rio, Rome, Taipei or Tokyo (crosscity)")
flags.DEFINE_string("condition", None, "weather or time of day, such as fog or night (acdc, dark_zurich, muses)")
flags.DEFINE_string("beta", None, "density of the fog: 0.005, 0.01 or 0.02 (foggy_cityscapes; default 0.02)")
flags.DEFINE_string(
    "images", None, "folder of images (folder, exports of tools); which of the download's (foggy_cityscapes, synscapes)"
)
flags.DEFINE_string(
    "labels", None, "folder of label PNGs, none for images without (folder); folder or file of annotations (exports)"
)
flags.DEFINE_string(
    "classes", None, "class file, JSON, with labels (folder, exports); map of classes, rein or vfm_uda (mapillary)"
)
flags.DEFINE_string(
    "write_classes", None, "class file to write, of the classes that an export names (coco, cvat, labelme, voc), to be "
    "converted with, or, without --output, to be changed first"
)  # fmt: skip
flags.DEFINE_string("names", None, "only images whose names match one of these patterns: 'day_*,noon_*' (folder)")
flags.DEFINE_string("output", None, "folder of the shards")
flags.DEFINE_integer("num_shards", 0, "number of shards; 0: one to 200 images", lower_bound=0)
flags.DEFINE_integer("workers", 0, "processes; 0: one a core", lower_bound=0)
flags.DEFINE_string("beam", None, "work as Beam pipelines with these Beam options, such as '--runner=DirectRunner'")
flags.DEFINE_string("resize", None, "store at this size, HEIGHTxWIDTH, as PNG; default: as they are")
flags.DEFINE_bool("skip_bad", False, "leave out what cannot be converted, and report it")
flags.DEFINE_enum(
    "unknown_ids", "refuse", ["refuse", "ignore"], "label ids that mean no class: a bad pair, or ignored pixels"
)
flags.DEFINE_string("conditions", None, "CSV file: image names, then weather, time_of_day, city and so on, with a head")
flags.DEFINE_string("only", None, "text file of the image names to convert, one a line")
flags.DEFINE_bool("verify", False, "convert nothing; prove that the shards in --output are whole")


def main(argv: Sequence[str]) -> None:
    """Runs the program."""
    del argv
    machine.hide_gpus()  # nothing here is faster on one
    if FLAGS.write_classes and not FLAGS.verify:
        _write_classes()
        if not FLAGS.output:
            return
    if not FLAGS.output:
        raise InputError("--output is missing: name the folder of the shards")
    with _workers() as workers:
        if FLAGS.verify:
            _verify(workers)
        else:
            _convert(workers)


def _write_classes() -> None:
    from fada_tf.data import class_files
    from fada_tf.data.datasets import base

    if FLAGS.classes:
        raise InputError(
            "--classes and --write_classes are both given: the one takes a class file, the other writes one"
        )
    path = FLAGS.write_classes
    if not path.endswith(".json"):
        raise InputError(f"--write_classes={path} must end in .json")
    names = base.names_of_classes(FLAGS.dataset, **_options())
    values = class_files.of_names(os.path.basename(path).removesuffix(".json"), names)
    class_files.write(path, values)
    listed = ", ".join(printable(entry["name"]) for entry in values["classes"])
    sys.stdout.write(
        f"{path}: {len(values['classes'])} classes ({listed}); change it as you like, then --classes={path}\n"
    )


def _options() -> dict[str, str | None]:
    return {name: FLAGS[name].value for name in OPTIONS}


def _convert(workers) -> None:
    from fada_tf.data import conversion
    from fada_tf.data.datasets import base

    dataset = base.find(FLAGS.dataset, **_options() | ({"classes": FLAGS.write_classes} if FLAGS.write_classes else {}))
    if FLAGS.conditions:
        dataset = base.add_listed_conditions(dataset, FLAGS.conditions)
    report = conversion.convert(
        dataset,
        FLAGS.output,
        num_shards=FLAGS.num_shards,
        resize=_parse_size(FLAGS.resize),
        skip_bad=FLAGS.skip_bad,
        ignore_unknown=FLAGS.unknown_ids == "ignore",
        only=FLAGS.only and base.read_list(FLAGS.only),
        workers=workers,
    )
    for line in report.problems:
        sys.stdout.write(f"left out: {line}\n")
    for line in report.changes:
        sys.stdout.write(f"re-encoded: {line}\n")
    for line in report.remarks:
        sys.stdout.write(f"note: {line}\n")
    manifest = report.manifest
    labels = "no labels"
    if manifest.label_space:
        labels = f"labels of {manifest.label_space.name}"
        if manifest.classes != manifest.label_space.names:
            labels += f" ({len(manifest.classes)} of its classes)"
    if manifest.label_space:
        sys.stdout.write(f"{_shares(manifest)}\n")
    images, shards = _count(manifest.num_records, "image"), _count(len(manifest.shards), "shard")
    sys.stdout.write(
        f"{FLAGS.output}: {images} with {labels} in {shards}; "
        f"{len(report.problems)} left out, {len(report.changes)} re-encoded\n"
    )


def _shares(manifest: "Manifest") -> str:
    """Says how much of the labels' pixels every class that they can hold has."""
    shares = zip(manifest.label_space.names, manifest.pixel_shares, strict=True)
    listed = ", ".join(f"{printable(name)} {100 * share:.2f} %" for name, share in shares if name in manifest.classes)
    ignored = manifest.pixels[:, -1].sum() / max(manifest.pixels.sum(), 1)
    return f"labelled pixels: {listed}; ignored are {100 * ignored:.2f} % of all"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _verify(workers) -> None:
    from fada_tf.data import verification

    manifest = verification.verify(FLAGS.output, workers)
    shards, records = _count(len(manifest.shards), "shard"), _count(manifest.num_records, "record")
    sys.stdout.write(f"{FLAGS.output}: {shards}, {records}, all whole\n")


def _workers():
    from fada_tf.data import shards

    if FLAGS.beam is not None:
        from fada_tf.data import beam

        return contextlib.nullcontext(beam.runner(FLAGS.beam.split(), FLAGS.output.rstrip("/") + ".beam"))
    return shards.worker_pool(FLAGS.workers)


def _parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise InputError(f"--resize must be HEIGHTxWIDTH such as 720x1280, not {text!r}")
    return int(match[1]), int(match[2])


if __name__ == "__main__":
    cli.run(main)
