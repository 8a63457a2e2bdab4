import shutil

import numpy as np
import pytest

from fada_tf.data import conversion, tfrecord
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

FRAMES = {"train": ["aachen/aachen_000000_000019", "ulm/ulm_000001_000019"], "val": ["lindau/lindau_000000_000019"]}


@pytest.fixture
def root(tmp_path):
    for split, frames in FRAMES.items():
        for frame in frames:
            makers.save(f"{tmp_path}/leftImg8bit/{split}/{frame}_leftImg8bit.png", makers.texture(8, 16))
            ids = (np.arange(128).reshape(8, 16) % 34).astype(np.uint8)
            makers.save(f"{tmp_path}/gtFine/{split}/{frame}_gtFine_labelIds.png", ids)
            makers.save(f"{tmp_path}/gtFine/{split}/{frame}_gtFine_instanceIds.png", ids)
            makers.save(f"{tmp_path}/gtFine/{split}/{frame}_gtFine_color.png", makers.texture(8, 16))
    return tmp_path


@pytest.mark.parametrize("split", FRAMES)
def test_a_split_is_a_folder_of_cities(root, split):
    manifest = conversion.convert(base.find("cityscapes", root=str(root), split=split), f"{root}/out").manifest
    assert [entry.filename for entry in manifest.entries] == [f"{frame}_leftImg8bit.png" for frame in FRAMES[split]]
    official = pytest.importorskip("cityscapesscripts.helpers.labels").id2label
    for record in tfrecord.read_shard(manifest.shard_paths[0]):
        expected = [official[i].trainId for i in np.arange(128) % 34]
        np.testing.assert_array_equal(read_ids(record.label).ravel(), expected)


def test_training_needs_no_labels(root):
    shutil.rmtree(root / "gtFine/train")
    dataset = base.find("cityscapes", root=str(root), split="train")
    assert dataset.labels is None and dataset.problems == () and len(dataset.pairs) == 2


def test_a_lonely_file_is_reported(root):
    (root / "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png").unlink()
    dataset = base.find("cityscapes", root=str(root), split="train")
    images, labels = f"{root}/leftImg8bit/train", f"{root}/gtFine/train"
    assert dataset.problems == (f"{images}/ulm/ulm_000001_000019_leftImg8bit.png: has no label in {labels}",)


def test_train_ids_are_not_taken_for_label_ids(root):
    frame = f"{root}/gtFine/val/{FRAMES['val'][0]}_gtFine_labelIds.png"
    makers.save(frame, np.where(np.arange(128) < 100, 8, 255).reshape(8, 16).astype(np.uint8))
    dataset = base.find("cityscapes", root=str(root), split="val")
    with pytest.raises(InputError, match=r"has ids \[255\] that Cityscapes does not have.*labelTrainIds"):
        conversion.convert(dataset, f"{root}/out")
    manifest = conversion.convert(dataset, f"{root}/out", ignore_unknown=True).manifest
    assert manifest.entries[0].pixels[1] == 100 and manifest.entries[0].pixels[-1] == 28


def test_an_unknown_split_is_an_error(root):
    with pytest.raises(InputError, match="no split 'dev': use train, val, test, train_extra"):
        base.find("cityscapes", root=str(root), split="dev")
