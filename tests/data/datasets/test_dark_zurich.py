import numpy as np
import pytest

from fada_tf.data import conversion, tfrecord
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

IDS = np.array([[*range(19), 255]], np.uint8)


@pytest.fixture(params=["", "zips"])
def root(tmp_path, request):
    """Train at three times of day, val and test at night, each zip in its folder or all in one."""
    for split, zip_name, conditions in (
        ("train", "Dark_Zurich_train_anon", ("night", "twilight", "day")),
        ("val", "Dark_Zurich_val_anon", ("night",)),
        ("test", "Dark_Zurich_test_anon_withoutGt", ("night",)),
    ):
        folder = tmp_path / zip_name if request.param else tmp_path
        for condition in conditions:
            frame = f"{split}/{condition}/GOPR0351/GOPR0351_frame_000159"
            makers.save(f"{folder}/rgb_anon/{frame}_rgb_anon.png", makers.texture(1, 20))
        makers.save(f"{folder}/rgb_anon/{split}_ref/day/GOPR0351_ref/1_rgb_anon.png", makers.texture(1, 20))
    label = f"{tmp_path}/{'Dark_Zurich_val_anon/' * bool(request.param)}gt/val/night/GOPR0351/GOPR0351_frame_000159_gt_"
    for ending, ids in (("labelTrainIds", IDS), ("labelIds", IDS + 7), ("invGray", IDS), ("labelColor", IDS)):
        makers.save(f"{label}{ending}.png", ids)
    return tmp_path


def find(root, **options) -> base.DataSet:
    return base.find("dark_zurich", root=str(root), **options)


def test_validation_is_labelled_with_train_ids(root):
    manifest = conversion.convert(find(root, split="val"), f"{root}/out").manifest
    assert [entry.filename for entry in manifest.entries] == ["night/GOPR0351/GOPR0351_frame_000159_rgb_anon.png"]
    (record,) = tfrecord.read_shard(manifest.shard_paths[0])
    np.testing.assert_array_equal(read_ids(record.label), IDS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["night"]),
        ({"condition": "twilight"}, ["twilight"]),
        ({"condition": "day"}, ["day"]),
        ({"condition": "all"}, ["night", "twilight", "day"]),
    ],
)
def test_training_is_at_night_unless_another_time_is_asked_for(root, options, expected):
    dataset = find(root, split="train", **options)
    assert dataset.labels is None and not dataset.problems
    assert [pair.name.partition("/")[0] for pair in dataset.pairs] == expected


def test_test_labels_are_withheld(root):
    dataset = find(root, split="test")
    assert dataset.labels is None and len(dataset.pairs) == 1


def test_what_there_is_not_is_an_error(root):
    with pytest.raises(InputError, match=r"no such folder: \S+/rgb_anon/val/day: check --root and the other options"):
        find(root, split="val", condition="day")
    with pytest.raises(InputError, match="Dark Zurich has no split 'dev': use train, val, test"):
        find(root, split="dev")
    with pytest.raises(InputError, match="Dark Zurich has no condition 'fog': use night, twilight, day, all"):
        find(root, split="train", condition="fog")
