import os

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from fada_tf.data import images, tfrecord
from fada_tf.data.manifest import Manifest
from fada_tf.errors import InputError
from tests.data import makers


def record(name: str = "city/a.png", height: int = 6, width: int = 8, label: bool = True) -> tfrecord.Record:
    plain = tfrecord.Record(name, images.encode_png(makers.texture(height, width)), "png", height, width)
    ids = np.arange(height * width).reshape(height, width) % 3
    return plain.labelled(np.where(ids == 2, 255, ids).astype(np.uint8), 2) if label else plain


def read(path: str, *entries) -> list[bytes]:
    return list(tfrecord.read_payloads([path] * len(entries), [e.offset for e in entries], [e.length for e in entries]))


def test_keys_and_types_are_deeplabs():
    example = tf.train.Example.FromString(tfrecord.encode(record()))
    kinds = {key: feature.WhichOneof("kind") for key, feature in example.features.feature.items()}
    assert kinds == {
        "image/encoded": "bytes_list",
        "image/filename": "bytes_list",
        "image/format": "bytes_list",
        "image/height": "int64_list",
        "image/width": "int64_list",
        "image/channels": "int64_list",
        "image/segmentation/class/encoded": "bytes_list",
        "image/segmentation/class/format": "bytes_list",
    }
    assert len(example.features.feature["image/channels"].int64_list.value) == 1
    assert example.features.feature["image/channels"].int64_list.value[0] == 3


def test_a_record_without_label_has_no_label_keys():
    example = tf.train.Example.FromString(tfrecord.encode(record(label=False)))
    assert not [key for key in example.features.feature if "segmentation" in key]


@hypothesis.given(
    st.text(min_size=1, max_size=300), st.integers(1, 30), st.integers(1, 30), st.booleans(), st.integers(0, 2**16)
)
def test_what_is_encoded_is_decoded_and_parsed(name, height, width, labelled, seed):
    pixels = makers.texture(height, width, seed)
    plain = tfrecord.Record(name, images.encode_png(pixels), "png", height, width)
    ids = np.random.default_rng(seed).choice([0, 1, 2, 3, 255], (height, width)).astype(np.uint8)
    written = plain.labelled(ids, 4) if labelled else plain
    payload = tfrecord.encode(written)
    assert payload == tfrecord.encode(written)
    decoded = tfrecord.decode(payload)
    assert decoded == tfrecord.Record(name, written.image, "png", height, width, written.label)
    parsed = tfrecord.parse(tf.constant(payload), with_label=labelled)
    assert set(parsed) == ({"image", "name", "label"} if labelled else {"image", "name"})
    np.testing.assert_array_equal(parsed["image"], pixels)
    assert parsed["name"].numpy().decode() == name
    if labelled:
        np.testing.assert_array_equal(parsed["label"], ids)
        assert written.pixels == tuple((ids == i).sum() for i in (0, 1, 2, 3, 255))


def test_shard_is_an_ordinary_tfrecord_file_and_readable_by_place(tmp_path):
    path = str(tmp_path / "one.tfrecord")
    names = ["ünï/cødé 图.png", "x" * 5000, "plain.png"]
    shard = tfrecord.write_shard(path, (record(name) for name in names))
    payloads = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    assert [tfrecord.decode(payload).filename for payload in payloads] == names
    assert [entry.filename for entry in shard.entries] == names
    assert read(path, *shard.entries) == payloads
    assert shard.size == os.path.getsize(path)
    assert os.listdir(tmp_path) == ["one.tfrecord"]
    assert [r.filename for r in tfrecord.read_shard(path)] == names


def test_any_flipped_byte_of_a_record_is_noticed_and_no_other_record_suffers(tmp_path):
    path = str(tmp_path / "one.tfrecord")
    shard = tfrecord.write_shard(path, (record(str(i)) for i in range(3)))
    whole = read(path, *shard.entries)
    for position in range(shard.entries[1].offset, shard.entries[2].offset, 31):
        makers.flip_bit(path, position)
        assert read(path, *shard.entries) == [whole[0], b"", whole[2]]
        makers.flip_bit(path, position)
    assert read(path, *shard.entries) == whole


def test_a_truncated_or_missing_shard_is_noticed(tmp_path):
    path = str(tmp_path / "one.tfrecord")
    shard = tfrecord.write_shard(path, (record(str(i)) for i in range(2)))
    whole = read(path, *shard.entries)
    os.truncate(path, shard.size - 1)
    assert read(path, *shard.entries) == [whole[0], b""]
    os.remove(path)
    assert read(path, *shard.entries) == [b"", b""]


def test_a_full_disk_leaves_no_shard_behind(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    os.symlink("/dev/full", tmp_path / "one.tfrecord.partial")
    with pytest.raises(InputError, match=r"one.tfrecord cannot be written \(.*No space left"):
        tfrecord.write_shard(str(tmp_path / "one.tfrecord"), iter([record()]))
    assert os.listdir(tmp_path) == []


def test_shards_live_wherever_tensorflow_reads(tmp_path):
    shard = tfrecord.write_shard(
        "ram://tfrecord/one.tfrecord", iter([record("a", label=False), record("b", label=False)])
    )
    Manifest("ram://tfrecord", None, (shard,)).save()
    entry = Manifest.load("ram://tfrecord").entries[1]
    assert tfrecord.decode(read("ram://tfrecord/one.tfrecord", entry)[0]).filename == "b"
