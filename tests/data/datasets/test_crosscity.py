import numpy as np
import pytest

from fada_tf.data import conversion, tfrecord
from fada_tf.data.datasets import base
from fada_tf.data.labels import CITYSCAPES19, CROSSCITY13
from fada_tf.data.manifest import Manifest
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

IDS_OF_13 = [7, 8, 11, 19, 20, 21, 23, 24, 25, 26, 28, 32, 33]


@pytest.fixture
def root(tmp_path):
    for name in ("pano_00001_0_0", "pano_00002_1_180", "pano_00003_0_0"):
        makers.save(f"{tmp_path}/Rio/Images/Train/{name}.jpg", makers.texture(8, 16))
    for name in ("pano_00010_0_0", "pano_00011_0_0"):
        makers.save(f"{tmp_path}/Rio/Images/Test/{name}.png", makers.texture(1, 14))
        makers.save(f"{tmp_path}/Rio/Labels/Test/{name}_eval.png", np.array([[*IDS_OF_13, 0]], np.uint8))
    return tmp_path


def test_training_images_have_no_labels(root):
    dataset = base.find("crosscity", root=str(root), city="Rio", split="train")
    assert dataset.labels is None and dataset.problems == ()
    assert dataset.pairs[0].name == "pano_00001_0_0.jpg"


def test_test_labels_are_scored_in_13_classes(root):
    dataset = base.find("crosscity", root=str(root), city="Rio", split="test")
    manifest = conversion.convert(dataset, f"{root}/out").manifest
    to_13 = CITYSCAPES19.subset_map(CROSSCITY13)
    records = list(tfrecord.read_shard(manifest.shard_paths[0]))
    assert len(records) == 2
    for record in records:
        np.testing.assert_array_equal(to_13[read_ids(record.label)], [[*range(13), 255]])


def test_records_know_that_13_of_the_19_classes_are_labelled(root):
    dataset = base.find("crosscity", root=str(root), city="Rio", split="test")
    manifest = conversion.convert(dataset, f"{root}/out").manifest
    assert manifest.label_space == CITYSCAPES19
    assert Manifest.load(manifest.folder).classes == CROSSCITY13.names
    np.testing.assert_array_equal(manifest.label_map(CITYSCAPES19, partial=True), np.r_[range(19), [255] * 237])


def test_the_official_lists_are_followed_where_they_are_present(root):
    (root / "Rio/List").mkdir()
    (root / "Rio/List/train.txt").write_text("pano_00003_0_0\npano_00001_0_0\npano_00009_0_0\n")
    dataset = base.find("crosscity", root=str(root), city="Rio", split="train")
    assert [pair.name for pair in dataset.pairs] == ["pano_00001_0_0.jpg", "pano_00003_0_0.jpg"]
    listed = f"{root}/Rio/List/train.txt"
    assert dataset.problems == (f"pano_00009_0_0: is listed in {listed} but there is no such pair",)


def test_unknown_cities_and_splits_are_errors(root):
    with pytest.raises(InputError, match="no city 'Paris': use Rio, Rome, Taipei, Tokyo"):
        base.find("crosscity", root=str(root), city="Paris", split="train")
    with pytest.raises(InputError, match="no split 'val': use train, test"):
        base.find("crosscity", root=str(root), city="Rio", split="val")
