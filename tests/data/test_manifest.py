import json
import subprocess
import sys

import numpy as np
import pytest

from fada_tf.data.manifest import Entry, Manifest, Shard, digest
from fada_tf.errors import InputError
from tests.data import makers

SHARDS = (
    Shard(
        "a.tfrecord", 100, "00", (Entry("1.png", 0, 20, 2, 3, (4, 0, 0, 2)), Entry("2.png", 36, 10, 2, 3, (0, 5, 0, 1)))
    ),
    Shard("b.tfrecord", 50, "11", (Entry("3.png", 0, 30, 2, 2, (1, 0, 0, 3)),)),
)


def test_a_manifest_survives_saving(tmp_path):
    manifest = Manifest(str(tmp_path), makers.THREE_CLASSES, SHARDS, "job")
    manifest.save()
    assert Manifest.load(str(tmp_path)) == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_places_shares_and_counts():
    manifest = Manifest("folder", makers.THREE_CLASSES, SHARDS)
    shard, offset, length = manifest.places
    assert (shard.tolist(), offset.tolist(), length.tolist()) == ([0, 0, 1], [0, 36, 0], [20, 10, 30])
    assert manifest.num_records == 3
    assert manifest.shard_paths == ["folder/a.tfrecord", "folder/b.tfrecord"]
    np.testing.assert_allclose(manifest.pixel_shares, [0.5, 0.5, 0])
    assert manifest.locate(1) == "shard folder/a.tfrecord, record 1 (2.png) at byte 36"


def test_the_file_shows_counts_shares_and_images_of_each_class(tmp_path):
    Manifest(str(tmp_path), makers.THREE_CLASSES, SHARDS).save()
    values = json.loads((tmp_path / "manifest.json").read_text())
    assert values["num_records"] == 3
    assert values["class_pixel_shares"] == [0.5, 0.5, 0]
    assert values["class_images"] == [2, 1, 0]


def test_records_know_which_classes_their_labels_can_hold(tmp_path):
    manifest = Manifest(str(tmp_path), makers.THREE_CLASSES, SHARDS, labelled=("sky",))
    assert manifest.classes == ("road", "car", "sky")  # what a label shows, it can hold
    assert manifest.unseen == ("sky",)
    manifest = Manifest(str(tmp_path), makers.THREE_CLASSES, SHARDS, labelled=("road",))
    manifest.save()
    assert Manifest.load(str(tmp_path)) == manifest
    assert manifest.classes == ("road", "car") and manifest.unseen == ()
    with pytest.raises(InputError, match=r"label space 'three' has classes that .* lacks: sky: .* made of road, car"):
        manifest.label_map(makers.THREE_CLASSES)
    assert manifest.label_map(makers.THREE_CLASSES, partial=True)[:4].tolist() == [0, 1, 2, 255]
    with pytest.raises(InputError, match="lacks: sky"):  # road is known, and would not be scored
        manifest.label_map(makers.THREE_CLASSES.subset("x", drop=("road",)), partial=True)


def test_older_manifests_hold_all_classes(tmp_path):
    Manifest(str(tmp_path), makers.THREE_CLASSES, SHARDS, labelled=("road",)).save()
    values = json.loads((tmp_path / "manifest.json").read_text())
    del values["labelled"]
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    assert Manifest.load(str(tmp_path)).classes == ("road", "car", "sky")


def test_scores_depend_on_which_classes_the_labels_can_hold_and_training_does_not(tmp_path):
    digests = []
    for labelled in (None, ("road", "car", "sky"), ("road", "car"), ("road",)):
        Manifest(str(tmp_path), makers.THREE_CLASSES, SHARDS, labelled=labelled).save()
        digests.append((digest(str(tmp_path)), digest(str(tmp_path), with_classes=True)))
    assert len({training for training, _ in digests}) == 1
    scores = [scoring for _, scoring in digests]
    assert scores[0] == scores[1] and len(set(scores)) == 3


def test_a_manifest_without_labels(tmp_path):
    Manifest(str(tmp_path), None, (Shard("a", 36, "0", (Entry("1.png", 0, 20, 2, 3, ()),)),)).save()
    manifest = Manifest.load(str(tmp_path))
    assert manifest.label_space is None
    with pytest.raises(InputError, match="have no labels"):
        _ = manifest.pixels


def test_a_folder_without_manifest_is_an_error_that_says_what_to_run(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path} has no manifest.json.*make_tfrecords --output={tmp_path}"):
        Manifest.load(str(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format_version": 1}', '{"format_version": 1, "shards": 3}'])
def test_a_damaged_manifest_is_an_error(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        Manifest.load(str(tmp_path))


def test_another_version_is_an_error(tmp_path):
    (tmp_path / "manifest.json").write_text('{"format_version": 99}')
    with pytest.raises(InputError, match="has format version 99, this program reads 1"):
        Manifest.load(str(tmp_path))


def test_loading_a_local_manifest_starts_no_tensorflow(tmp_path):
    Manifest(str(tmp_path), makers.THREE_CLASSES, SHARDS).save()
    code = (
        "import sys; from fada_tf.data import sampling; from fada_tf.data.manifest import Manifest;"
        f"Manifest.load({str(tmp_path)!r}); sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
