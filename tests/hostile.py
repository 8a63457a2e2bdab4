"""What reads input from elsewhere, as targets for fuzzing: each takes bytes, and works or raises InputError."""

import functools
import io
import json
import os
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fada_tf import config as config_lib
from fada_tf import config_fields
from fada_tf.data import files, images, labels, tfrecord
from fada_tf.data.manifest import Entry, Manifest, Shard
from fada_tf.errors import InputError
from fada_tf.models import torch_files, weights
from fada_tf.models.segmenter import build_segmenter
from fada_tf.validation import validate
from tests.data import makers

_FOLDER = pathlib.Path(tempfile.mkdtemp())


def record(payload: bytes) -> None:
    """A record's payload, decoded in Python and in a graph."""
    with tolerated(InputError):
        tfrecord.decode(payload)
    # TensorFlow's message quotes the bytes, and they need not be text.
    with tolerated(tf.errors.InvalidArgumentError), tolerated(UnicodeDecodeError):
        tfrecord.parse(tf.constant(payload), with_label=True)


def image(data: bytes) -> None:
    """An image file, for a record or as a label."""
    for read in (images.to_stored, images.read_label, makers.THREE.train_ids):
        with tolerated(InputError):
            read(data)


def manifest(data: bytes) -> None:
    """A manifest.json; its shards must be in its folder, whatever it says."""
    (_FOLDER / "manifest.json").write_bytes(data)
    with tolerated(InputError):
        for path in (loaded := Manifest.load(str(_FOLDER))).shard_paths:
            assert pathlib.Path(os.path.normpath(path)).parent == _FOLDER
        assert all(column.dtype == np.int64 for column in loaded.places)


def class_file(data: bytes) -> None:
    """A class file."""
    (_FOLDER / "classes.json").write_bytes(data)
    with tolerated(InputError):
        assert labels.ClassFile.load(str(_FOLDER / "classes.json")).label_space.palette().shape == (256, 3)


def config(data: bytes) -> None:
    """A config.json."""
    with tolerated(InputError):
        validate(config_fields.from_json(data))


def npz(data: bytes) -> None:
    """Initial weights in an .npz file."""
    (_FOLDER / "weights.npz").write_bytes(data)
    with tolerated(InputError):
        weights.load_initial_weights(segmenter(), str(_FOLDER / "weights.npz"))


def pth(data: bytes) -> None:
    """Weights in a file of PyTorch, which must run no code."""
    (_FOLDER / "weights.pth").write_bytes(data)
    with tolerated(InputError):
        torch_files.read(str(_FOLDER / "weights.pth"))


def name(data: bytes) -> None:
    """A file name from elsewhere."""
    with tolerated(InputError):
        path = files.join_inside(str(_FOLDER), data.decode(errors="surrogateescape"))
        assert os.path.realpath(path).startswith(str(_FOLDER.resolve()))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (record, image, manifest, class_file, config, npz, pth, name)
}


class tolerated:  # noqa: N801 (reads like contextlib.suppress, which would hide a message of several lines)
    """Lets one kind of error pass; an InputError must be one line."""

    def __init__(self, kind: type[Exception]):
        self.kind = kind

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> bool:
        if isinstance(error, InputError):
            assert "\n" not in str(error), str(error)
        return isinstance(error, self.kind)


@functools.cache
def segmenter():
    return build_segmenter("tiny", 3)


@functools.cache
def seeds(target: str) -> tuple[bytes, ...]:
    """Returns good input of a target, to begin from."""
    picture, label = makers.texture(8, 9), np.zeros((8, 9), np.uint8)
    png = images.encode_png(picture)
    jpeg = io.BytesIO()
    images.Image.fromarray(picture).save(jpeg, "JPEG")
    made = tfrecord.Record("a/ü.png", png, "png", 8, 9).labelled(label, 3)
    classes = [{"name": f"class {i}", "color": [i, 2, 3], "ids": [i]} for i in range(3)]
    if target == "manifest":
        entry = Entry("a.png", 0, 20, 8, 9, made.pixels)
        Manifest(str(_FOLDER), makers.THREE_CLASSES, (Shard("a.tfrecord", 100, "00", (entry, entry)),), "job").save()
        return ((_FOLDER / "manifest.json").read_bytes(),)
    if target == "npz":
        arrays = weights.named_variables(segmenter().feature_extractor, segmenter().classifier)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{key: np.zeros(value.shape, np.float32) for key, value in arrays.items()})
        return (buffer.getvalue(),)
    if target == "pth":
        torch = torch_files._torch()
        found = []
        for new in (True, False):
            buffer = io.BytesIO()
            torch.save({"state": {"a": torch.ones(3, 4)}, "n": 3}, buffer, _use_new_zipfile_serialization=new)
            found.append(buffer.getvalue())
        return tuple(found)
    return {
        "record": (tfrecord.encode(made),),
        "image": (png, jpeg.getvalue(), images.encode_png(label)),
        "class_file": (json.dumps({"name": "three", "classes": classes, "ignore_ids": [255]}).encode(),),
        "config": (config_fields.to_json(config_lib.Config()).encode(),),
        "name": (b"a/b.png", b"../../etc/passwd", b"/etc/passwd", b"a/../../b"),
    }[target]
