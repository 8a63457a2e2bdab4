import json

import numpy as np
import pytest
from PIL import Image

from fada_tf.data import conversion, tfrecord, verification
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

# The names in the order of config_v1.2.json.
PARTS = {
    "animal": "bird ground-animal",
    "construction--barrier": "curb fence guard-rail other-barrier wall",
    "construction--flat": "bike-lane crosswalk-plain curb-cut parking pedestrian-area rail-track road service-lane "
    "sidewalk",
    "construction--structure": "bridge building tunnel",
    "human": "person rider--bicyclist rider--motorcyclist rider--other-rider",
    "marking": "crosswalk-zebra general",
    "nature": "mountain sand sky snow terrain vegetation water",
    "object": "banner bench bike-rack billboard catch-basin cctv-camera fire-hydrant junction-box mailbox manhole "
    "phone-booth pothole street-light support--pole support--traffic-sign-frame support--utility-pole traffic-light "
    "traffic-sign--back traffic-sign--front trash-can",
    "object--vehicle": "bicycle boat bus car caravan motorcycle on-rails other-vehicle trailer truck wheeled-slow",
    "void": "car-mount ego-vehicle unlabeled",
}
NAMES = [f"{group}--{name}" for group, names in PARTS.items() for name in names.split()]
# By places of the names, as papers publish their maps.
SHARED = {
    13: 0, 24: 0, 2: 1, 15: 1, 17: 2, 6: 3, 3: 4, 45: 5, 47: 5, 48: 6, 50: 7, 30: 8, 29: 9, 27: 10, 19: 11, 20: 12,
    21: 12, 22: 12, 55: 13, 61: 14, 54: 15, 58: 16, 57: 17, 52: 18,
}  # fmt: skip
MORE = {"rein": {7: 0, 8: 0, 10: 0, 14: 0, 23: 0, 9: 1, 11: 1, 44: 5, 46: 7, 49: 7}, "vfm_uda": {41: 0}}
IDS = np.arange(66, dtype=np.uint8).reshape(6, 11)


def save_label(path, ids: np.ndarray) -> None:
    """Writes a palette PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    label = Image.fromarray(ids).convert("L")
    label.putpalette(np.random.default_rng(0).integers(0, 256, 256 * 3).astype(np.uint8).tobytes())
    label.save(path)


@pytest.fixture(params=["v1.2/labels", "labels"])
def root(tmp_path, request):
    """Two images training, one of them testing, whose folder of labels is empty."""
    for name in ("aaa", "bbb"):
        makers.save(f"{tmp_path}/training/images/{name}.jpg", makers.texture(6, 11))
        save_label(tmp_path / f"training/{request.param}/{name}.png", IDS)
    makers.save(f"{tmp_path}/testing/images/ccc.jpg", makers.texture(6, 11))
    (tmp_path / "testing" / request.param).mkdir(parents=True)
    makers.save(f"{tmp_path}/training/v2.0/labels/aaa.png", IDS)
    (tmp_path / "config_v1.2.json").write_text(json.dumps({"labels": [{"name": name} for name in NAMES]}))
    return tmp_path


def find(root, split: str = "training", **options) -> base.DataSet:
    return base.find("mapillary", root=str(root), split=split, **options)


@pytest.mark.parametrize("classes", ["rein", "vfm_uda", None])
def test_both_maps_read_ids_by_their_place_in_the_config(root, classes):
    report = conversion.convert(find(root, classes=classes), f"{root}/out")
    assert report.problems == report.changes == ()
    train_ids = SHARED | MORE[classes or "rein"]
    expected = np.array([train_ids.get(i, 255) for i in range(66)]).reshape(6, 11)
    records = list(tfrecord.read_shard(report.manifest.shard_paths[0]))
    assert [record.filename for record in records] == ["aaa.jpg", "bbb.jpg"]
    for record in records:
        np.testing.assert_array_equal(read_ids(record.label), expected)
    assert verification.verify(f"{root}/out").num_records == 2


def test_the_older_config_with_its_own_order_is_followed(root):
    (root / "config_v1.2.json").unlink()
    (root / "config.json").write_text(json.dumps({"labels": [{"name": name} for name in NAMES[::-1]]}))
    manifest = conversion.convert(find(root, classes="vfm_uda"), f"{root}/out", resize=(12, 22)).manifest
    train_ids = SHARED | MORE["vfm_uda"]
    expected = np.array([train_ids.get(65 - i, 255) for i in range(66)]).reshape(6, 11)
    first = next(tfrecord.read_shard(manifest.shard_paths[0]))
    np.testing.assert_array_equal(read_ids(first.label), expected.repeat(2, 0).repeat(2, 1))


def test_testing_has_no_labels_though_it_has_their_folder(root):
    dataset = find(root, "testing")
    assert dataset.labels is None and not dataset.problems and len(dataset.pairs) == 1


def test_ids_beyond_the_config_and_lonely_files_are_bad_pairs(root):
    (label,) = set(root.glob("training/**/labels/aaa.png")) - {root / "training/v2.0/labels/aaa.png"}
    save_label(label, np.full((6, 11), 66, np.uint8))
    with pytest.raises(
        InputError, match=r"aaa.png: has ids \[66\] that Mapillary Vistas 1.2 does not have \(it has 0 to 65"
    ):
        conversion.convert(find(root), f"{root}/out")
    label.unlink()
    (problem,) = find(root).problems
    assert problem.startswith(f"{root}/training/images/aaa.jpg: has no label in ")


def test_what_is_not_there_is_named(root):
    with pytest.raises(InputError, match="Mapillary Vistas has no split 'train': use training, validation, testing"):
        find(root, "train")
    with pytest.raises(InputError, match="Mapillary Vistas has no map of classes 'hrda': use rein, vfm_uda"):
        find(root, classes="hrda")
    (root / "config_v1.2.json").write_text(json.dumps({"labels": [{"name": name} for name in NAMES[3:]]}))
    with pytest.raises(InputError, match=r"config_v1.2.json lacks construction--barrier--curb: take config_v1.2.json"):
        find(root)
    (root / "config_v1.2.json").write_text("{}")
    with pytest.raises(InputError, match=r"config_v1.2.json cannot be read .*: copy it from the download again"):
        find(root)
    (root / "config_v1.2.json").unlink()
    with pytest.raises(InputError, match=r"has no config_v1.2.json, which says what the labels' ids mean"):
        find(root)
