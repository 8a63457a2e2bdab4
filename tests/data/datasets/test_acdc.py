import shutil

import numpy as np
import pytest

from fada_tf.data import conversion, tfrecord
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

IDS = np.array([[*range(19), 255]], np.uint8)
CONDITIONS = ("fog", "night", "rain", "snow")


@pytest.fixture(params=["", "zips"])
def root(tmp_path, request):
    """One recording a condition and split, labels of all splits but test, each zip in its folder or all in one."""
    images, labels = ("rgb_anon_trainvaltest/", "gt_trainval/") if request.param else ("", "")
    for number, condition in enumerate(CONDITIONS):
        for split in ("train", "val", "test"):
            frame = f"GOPR{number:04d}/GOPR{number:04d}_frame_000041"
            makers.save(f"{tmp_path}/{images}rgb_anon/{condition}/{split}/{frame}_rgb_anon.png", makers.texture(1, 20))
            reference = f"{tmp_path}/{images}rgb_anon/{condition}/{split}_ref/{frame}_rgb_ref_anon.png"
            makers.save(reference, makers.texture(1, 20))
            if split != "test":
                label = f"{tmp_path}/{labels}gt/{condition}/{split}/{frame}_gt_label"
                makers.save(f"{label}TrainIds.png", IDS)
                makers.save(f"{label}Ids.png", IDS + 7)
                makers.save(f"{label}Color.png", makers.texture(1, 20))
    return tmp_path


def find(root, **options) -> base.DataSet:
    return base.find("acdc", root=str(root), **options)


def test_a_split_is_all_conditions(root):
    manifest = conversion.convert(find(root, split="val"), f"{root}/out").manifest
    expected = [f"{c}/val/GOPR{i:04d}/GOPR{i:04d}_frame_000041_rgb_anon.png" for i, c in enumerate(CONDITIONS)]
    assert [entry.filename for entry in manifest.entries] == expected
    for record in tfrecord.read_shard(manifest.shard_paths[0]):
        np.testing.assert_array_equal(read_ids(record.label), IDS)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_one_condition(root, condition):
    (pair,) = find(root, split="train", condition=condition).pairs
    assert pair.name.startswith(f"{condition}/train/GOPR") and pair.label.endswith("_gt_labelTrainIds.png")


@pytest.mark.parametrize("split", ["test", "train_ref"])
def test_images_whose_labels_are_withheld(root, split):
    dataset = find(root, split=split)
    assert dataset.labels is None and not dataset.problems and len(dataset.pairs) == 4


def test_labels_of_some_conditions_are_not_all_labels(root):
    (labels,) = root.glob("**/gt")
    shutil.rmtree(labels / "snow")
    dataset = find(root, split="val")
    assert len(dataset.pairs) == 3
    assert [line.endswith(f"has no label in {labels}") for line in dataset.problems] == [True]
    assert find(root, split="val", condition="snow").labels is None


def test_conditions_in_one_folder(tmp_path):
    makers.save(f"{tmp_path}/rgb_anon/val/GOPR0000_frame_000041_rgb_anon.png", makers.texture(1, 20))
    makers.save(f"{tmp_path}/gt/val/GOPR0000_frame_000041_gt_labelTrainIds.png", IDS)
    (pair,) = find(tmp_path, split="val").pairs
    assert pair.name == "val/GOPR0000_frame_000041_rgb_anon.png" and pair.label
    with pytest.raises(InputError, match=r"no such folder: \S+/rgb_anon/fog/val: check --root and the other options"):
        find(tmp_path, split="val", condition="fog")


def test_label_ids_are_not_taken_for_train_ids(root):
    (label,) = root.glob("**/gt/fog/val/*/*_labelTrainIds.png")
    makers.save(label, IDS + 7)  # 7 to 25, and 255 + 7 is 6
    with pytest.raises(InputError, match=r"has ids \[19, 20, 21, 22, 23, 24, 25\] that are no train ids"):
        conversion.convert(find(root, split="val"), f"{root}/out")


def test_unknown_splits_and_conditions_are_errors(root):
    with pytest.raises(InputError, match="ACDC has no split 'dev': use train, val, test, train_ref, val_ref, test_ref"):
        find(root, split="dev")
    with pytest.raises(InputError, match="ACDC has no condition 'dusk': use all, fog, night, rain, snow"):
        find(root, split="val", condition="dusk")
