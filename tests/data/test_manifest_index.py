"""Long manifests: what is read of their index is what is read of manifest.json, and never of another one."""

import json
import os

import numpy as np
import pytest

from fada_tf.data import manifest as manifest_lib
from fada_tf.data import manifest_index, sampling
from fada_tf.data.manifest import Entry, Manifest, Shard, digest
from tests.data import makers
from tests.data.test_manifest import SHARDS


@pytest.fixture(autouse=True)
def short_manifests_have_one(monkeypatch):
    monkeypatch.setattr(manifest_lib, "INDEXED_FROM", 3)


@pytest.fixture
def manifest(tmp_path) -> Manifest:
    conditions = {"city": ("ulm", "", "jena")}
    made = Manifest(str(tmp_path), makers.THREE_CLASSES, SHARDS, "job", ("road", "car"), conditions)
    made.save()
    return made


def digests(folder: str) -> list[str]:
    return [digest(folder), digest(folder, with_classes=True)]


def test_an_index_holds_all(manifest, tmp_path, monkeypatch):
    assert sorted(os.listdir(tmp_path)) == ["manifest.json", "manifest.npz"]
    of_both = digests(str(tmp_path))
    drawn = sampling.draws("class_balanced", manifest, 1, 0, 50)
    with monkeypatch.context() as patch:
        patch.setattr(manifest_lib.files, "read_json", lambda path: pytest.fail("read manifest.json"))
        patch.setattr(manifest_lib.files, "read_bytes", lambda path: pytest.fail("read manifest.json"))
        found = Manifest.load(str(tmp_path))
        assert digests(str(tmp_path)) == of_both
    assert found == manifest and found.entries == manifest.entries
    np.testing.assert_array_equal(sampling.draws("class_balanced", found, 1, 0, 50), drawn)
    (tmp_path / "manifest.npz").unlink()
    assert Manifest.load(str(tmp_path)) == manifest and digests(str(tmp_path)) == of_both


def test_it_counts_beside_its_own_manifest_alone(manifest, tmp_path):
    values = json.loads((tmp_path / "manifest.json").read_text())
    values["shards"][0]["records"][0][0] = "other.png"
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    assert Manifest.load(str(tmp_path)).entries[0].filename == "other.png"
    manifest.save()
    assert Manifest.load(str(tmp_path)) == manifest


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:200], lambda data: data[:-400], lambda data: b"x" * 300]
)
def test_a_damaged_one_is_none(manifest, tmp_path, damage):
    path = tmp_path / "manifest.npz"
    path.write_bytes(damage(path.read_bytes()))
    assert manifest_index.read(str(tmp_path), str(tmp_path / "manifest.json")) is None
    assert Manifest.load(str(tmp_path)) == manifest


def test_short_manifests_have_none(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(manifest_lib, "INDEXED_FROM", 4)
    (tmp_path / "short").mkdir()
    Manifest(str(tmp_path / "short"), makers.THREE_CLASSES, SHARDS).save()
    assert os.listdir(tmp_path / "short") == ["manifest.json"]


def test_numbers_of_any_size_survive(tmp_path):
    large = Shard("a", 1 << 40, "0", (Entry("1", 1 << 33, 5, 3, 4, (1 << 31, 0, 0, 7)),) * 3)
    Manifest(str(tmp_path), makers.THREE_CLASSES, (large,)).save()
    found = Manifest.load(str(tmp_path))
    assert found.entries[2] == Entry("1", 1 << 33, 5, 3, 4, (1 << 31, 0, 0, 7))
    small = makers.THREE_CLASSES.subset("less", drop=("sky",))
    assert found.with_classes(small).entries[0].pixels == (1 << 31, 0, 7)
