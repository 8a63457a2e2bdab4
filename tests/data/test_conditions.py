"""Weather, time of day, city and split: from the data sets into records and manifests."""

import json
import pathlib
from dataclasses import replace

import numpy as np
import pytest

from fada_tf.data import conditions, conversion, relabelling, tfrecord, verification
from fada_tf.data.datasets import base
from fada_tf.data.manifest import Manifest, digest
from fada_tf.errors import InputError
from tests.data import makers

NIGHT = {"time_of_day": "night"}
# Options, an image, its conditions.
FOUND = {
    "acdc": ({"split": "val"}, "rgb_anon/night/val/G/G_frame_000041_rgb_anon.png", NIGHT | {"split": "val"}),
    "acdc ": ({"split": "test"}, "rgb_anon/fog/test/G/G_frame_1_rgb_anon.png", {"weather": "fog", "split": "test"}),
    "acdc  ": (
        {"split": "val_ref"},
        "rgb_anon/fog/val_ref/G/G_frame_1_rgb_ref_anon.png",
        {"weather": "clear", "split": "val_ref"},
    ),
    "acdc   ": ({"split": "val"}, "rgb_anon/val/G_frame_1_rgb_anon.png", {"split": "val"}),
    "bdd100k": ({"split": "val"}, "images/10k/val/7d2f7975-e0c1c5a7.jpg", {"split": "val"}),
    "cityscapes": (
        {"split": "train"},
        "leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png",
        {"split": "train", "city": "ulm"},
    ),
    "crosscity": ({"city": "Rome", "split": "test"}, "Rome/Images/Test/a.png", {"split": "test", "city": "Rome"}),
    "dark_zurich": (
        {"split": "train", "condition": "twilight"},
        "rgb_anon/train/twilight/G/G_frame_1_rgb_anon.png",
        {"split": "train", "time_of_day": "twilight"},
    ),
    "foggy_cityscapes": (
        {"split": "val"},
        "leftImg8bit_foggy/val/lindau/lindau_000000_000019_leftImg8bit_foggy_beta_0.02.png",
        {"split": "val", "city": "lindau", "weather": "fog"},
    ),
    "idd": ({"split": "val"}, "leftImg8bit/val/12/0001_leftImg8bit.png", {"split": "val"}),
    "mapillary": ({"split": "validation"}, "validation/images/aaa.jpg", {"split": "validation"}),
    "muses": (
        {"split": "val"},
        "frame_camera/val/rain/night/REC0006_frame_083390_frame_camera.png",
        NIGHT | {"split": "val", "weather": "rain"},
    ),
    "nighttime_driving": ({}, "leftImg8bit/test/night/0_frame_0205_leftImg8bit.png", NIGHT | {"split": "test"}),
}


@pytest.mark.parametrize("name", FOUND)
def test_data_sets_tell_the_conditions_of_their_images(name, tmp_path):
    options, image, expected = FOUND[name]
    makers.save(f"{tmp_path}/{image}", makers.texture(2, 20))
    (pair,) = base.find(name.strip(), root=str(tmp_path), **options).pairs
    assert dict(pair.conditions) == expected


WEATHER = ("fog", "", "rain", "fog", "rain")


@pytest.fixture
def dataset(tmp_path) -> base.DataSet:
    """Five pairs, of which one has no weather."""
    pairs = makers.labelled_dataset(tmp_path)
    known = {
        pair.name: {"weather": weather} if weather else {} for pair, weather in zip(pairs.pairs, WEATHER, strict=True)
    }
    return base.with_conditions(pairs, known.__getitem__)


def test_records_and_manifest_have_them_and_verification_compares(tmp_path, dataset):
    folder = f"{tmp_path}/out"
    manifest = conversion.convert(dataset, folder, num_shards=2).manifest
    assert manifest.conditions == {"weather": WEATHER} and Manifest.load(folder) == manifest
    records = [record for path in manifest.shard_paths for record in tfrecord.read_shard(path)]
    assert [record.conditions.get("weather", "") for record in records] == list(WEATHER)
    assert verification.verify(folder) == manifest
    new = relabelling.relabel(folder, f"{tmp_path}/new", makers.THREE_CLASSES, labels_of, labeller_id="x")
    assert verification.verify(new.folder).conditions == manifest.conditions
    replace(manifest, conditions={"weather": ("fog",) * 5}).save()
    with pytest.raises(
        InputError, match=r"record 002.png .*: has the conditions {'weather': 'rain'}, not those of the"
    ):
        verification.verify(folder)


def labels_of(records):
    return (np.zeros((record.height, record.width), np.uint8) for record in records)


def test_older_folders_learn_them_when_converted_again_and_stay_the_same_for_runs(tmp_path, dataset):
    folder = f"{tmp_path}/out"
    older = conversion.convert(base.with_conditions(makers.labelled_dataset(tmp_path), lambda name: {}), folder)
    assert older.manifest.conditions == {}
    before = digest(folder), digest(folder, with_classes=True)
    manifest = conversion.convert(dataset, folder).manifest
    assert manifest.shards == older.manifest.shards  # not written again
    assert Manifest.load(folder).conditions == {"weather": WEATHER}
    assert verification.verify(folder).num_records == 5
    assert (digest(folder), digest(folder, with_classes=True)) == before


@pytest.mark.parametrize(
    "column",
    [
        {"values": ["fog"], "records": [0, 0, 0, 0]},
        {"values": ["fog"], "records": [0, 0, 0, 0, 1]},
        {"values": ["fog"], "records": [0, 0, 0, 0, -1]},
        {"values": ["fog"], "records": [0, 0, 0, 0, 0.5]},
        {"values": [3], "records": [0] * 5},
        {"values": ["fog"]},
        [],
    ],
)
def test_damaged_conditions_are_a_damaged_manifest(tmp_path, dataset, column):
    path = pathlib.Path(conversion.convert(dataset, f"{tmp_path}/out").manifest.folder, "manifest.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"conditions": {"weather": column}}))
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        Manifest.load(f"{tmp_path}/out")


def test_groups_are_those_that_tell_images_apart():
    columns = conditions.columns(
        [{"weather": "rain", "split": "val"}, {"split": "val"}, {"weather": "fog", "split": "val"}]
    )
    found = [(name, value, mask.tolist()) for name, value, mask in conditions.groups(columns)]
    assert found == [("weather", "fog", [False, False, True]), ("weather", "rain", [True, False, False])]


def test_a_file_lists_the_conditions_of_any_data_set(tmp_path):
    pairs = makers.labelled_dataset(tmp_path, 3)
    listed = tmp_path / "days.csv"
    listed.write_text("\ufeffimage, weather,lens\n001.png,fog,\n\n000,rain , wide\n", encoding="utf-8")
    found = base.add_listed_conditions(pairs, str(listed))
    assert [dict(pair.conditions) for pair in found.pairs] == [
        {"weather": "rain", "lens": "wide"},
        {"weather": "fog"},
        {},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("image\n000\n", "has the head .'image'.: give an image column and one a condition"),
        ("image,a,a\n000,x,y\n", "has the head"),
        ("image,a\n000,x,y\n", "has 3 fields for '000', and 2 in its head"),
        ("image,a\n777,x\n888,x\n", "names '777' and 1 more that are no images here"),
    ],
)
def test_what_is_wrong_with_such_a_file_is_told(tmp_path, text, message):
    (tmp_path / "days.csv").write_text(text)
    with pytest.raises(InputError, match=f"conditions .*days.csv {message}"):
        base.add_listed_conditions(makers.labelled_dataset(tmp_path, 1), f"{tmp_path}/days.csv")
