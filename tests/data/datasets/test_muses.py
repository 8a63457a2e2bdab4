import numpy as np
import pytest

from fada_tf.data import conversion, tfrecord
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

IDS = np.array([[*range(19), 255]], np.uint8)
WEATHERS, TIMES = ("clear", "fog", "rain", "snow"), ("day", "night")
FOLDERS = [  # of images and of labels below the root
    ("", ""),
    ("muses", "muses"),
    ("RGB_Frame_Camera_trainvaltest/muses", "Semantic_Annotations_trainval/muses"),
]


@pytest.fixture(params=FOLDERS)
def root(tmp_path, request):
    images, labels = request.param
    for split in ("train", "val", "test"):
        for part in (f"{weather}/{time}" for weather in WEATHERS for time in TIMES):
            frame = f"{split}/{part}/REC0006_frame_083390"
            makers.save(f"{tmp_path}/{images}/frame_camera/{frame}_frame_camera.png", makers.texture(1, 20))
            if split != "test":
                for ending, ids in (("TrainIds", IDS), ("Ids", IDS + 7), ("Color", makers.texture(1, 20))):
                    makers.save(f"{tmp_path}/{labels}/gt_semantic/{frame}_gt_label{ending}.png", ids)
    return tmp_path


def parts(root, **options) -> list[str]:
    found = base.find("muses", root=str(root), **options)
    assert not found.problems
    return [pair.name.removesuffix("/REC0006_frame_083390_frame_camera.png") for pair in found.pairs]


def test_a_split_is_all_weathers_by_day_and_at_night(root):
    manifest = conversion.convert(base.find("muses", root=str(root), split="val"), f"{root}/out").manifest
    assert len(manifest.entries) == 8
    assert manifest.entries[3].filename == "fog/night/REC0006_frame_083390_frame_camera.png"
    for record in tfrecord.read_shard(manifest.shard_paths[0]):
        np.testing.assert_array_equal(read_ids(record.label), IDS)


def test_conditions_are_weathers_times_or_both(root):
    assert parts(root, split="train", condition="fog") == ["fog/day", "fog/night"]
    assert parts(root, split="train", condition="night") == [f"{weather}/night" for weather in WEATHERS]
    assert parts(root, split="train", condition="snow/day") == ["snow/day"]


def test_test_images_have_labels_only_where_they_are_there(root):
    assert base.find("muses", root=str(root), split="test").labels is None
    (labels,) = root.glob("**/gt_semantic")
    (labels / "val").rename(labels / "test")
    assert len(base.find("muses", root=str(root), split="test").pairs) == 8
    assert base.find("muses", root=str(root), split="test").labels is not None


def test_unknown_splits_and_conditions_are_errors(tmp_path):
    with pytest.raises(InputError, match="MUSES has no split 'dev': use train, val, test"):
        base.find("muses", root=str(tmp_path), split="dev")
    with pytest.raises(InputError, match=r"MUSES has no condition 'night/fog': use all, clear, fog, .*, fog/night"):
        base.find("muses", root=str(tmp_path), split="val", condition="night/fog")
    with pytest.raises(InputError, match=r"no such folder: \S+/frame_camera/val/clear/day, .*: check --root"):
        base.find("muses", root=str(tmp_path), split="val")
