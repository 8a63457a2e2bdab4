import json
import os

import pytest

from fada_tf.data import verification
from fada_tf.errors import InputError
from tests.data import makers


@pytest.fixture
def manifest(tmp_path):
    return makers.records(tmp_path, count=4, num_shards=2)


def problems(manifest) -> list[str]:
    with pytest.raises(InputError) as error:
        verification.verify(manifest.folder)
    first, *lines = str(error.value).splitlines()
    assert first == f"{manifest.folder} is not whole, copy or convert it again:"
    return [line.strip() for line in lines]


def rewrite(manifest, change) -> None:
    path = f"{manifest.folder}/manifest.json"
    with open(path) as file:
        values = json.load(file)
    change(values["shards"][1]["records"][0])
    with open(path, "w") as file:
        json.dump(values, file)


@pytest.mark.parametrize("labels", [True, False])
def test_a_whole_folder_passes(tmp_path, labels):
    manifest = makers.records(tmp_path, labels=labels)
    assert verification.verify(manifest.folder) == manifest


def test_a_flipped_byte_is_found_and_its_record_named(manifest):
    path, entry = manifest.shard_paths[1], manifest.shards[1].entries[1]
    makers.flip_bit(path, entry.offset + 30)
    assert problems(manifest) == [
        f"shard {path}: its SHA-256 differs",
        f"shard {path}, record 003.png at byte {entry.offset}: its checksum or length is wrong",
    ]


def test_a_shard_cut_short_is_found(manifest):
    path, entry = manifest.shard_paths[0], manifest.shards[0].entries[1]
    os.truncate(path, entry.offset + 5)
    assert problems(manifest) == [
        f"shard {path}: has {entry.offset + 5} bytes instead of {manifest.shards[0].size}",
        f"shard {path}, record 001.png at byte {entry.offset}: its checksum or length is wrong",
    ]


def test_a_missing_shard_is_found(manifest):
    os.remove(manifest.shard_paths[0])
    assert problems(manifest) == [f"shard {manifest.shard_paths[0]}: is missing"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, "x.png", "is 002.png, 20x14, not what the manifest lists"),
        (3, 15, "is 002.png, 20x14, not what the manifest lists"),
        (5, [1, 2, 3, 4], "its label has another size or other pixel counts"),
    ],
)
def test_a_manifest_that_does_not_fit_is_found(manifest, column, value, message):
    rewrite(manifest, lambda record: record.__setitem__(column, value))
    (line,) = problems(manifest)
    assert line.endswith(message)
