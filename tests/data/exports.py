"""What the tests of annotation tools' exports have in common."""

import json

import numpy as np

from fada_tf.data import conversion, tfrecord, verification
from fada_tf.data.datasets import base
from fada_tf.data.drawing import BACKGROUND
from tests.data.makers import read_ids


def class_file(folder, *names: str, ignored: tuple[str, ...] = (BACKGROUND,)) -> str:
    """Writes a class file of these names, in their order; returns its path."""
    classes = [{"name": name, "color": [i, i, i], "labels": [name]} for i, name in enumerate(names)]
    path = folder / "classes.json"
    path.write_text(json.dumps({"name": "some", "classes": classes, "ignore_labels": ignored}))
    return str(path)


def converted(dataset: str, output: str, options: dict[str, str], **settings) -> list[np.ndarray]:
    """Converts and verifies; returns the labels, in order."""
    manifest = conversion.convert(base.find(dataset, **options), output, **settings).manifest
    assert verification.verify(output).num_records == manifest.num_records
    return [read_ids(record.label) for path in manifest.shard_paths for record in tfrecord.read_shard(path)]
