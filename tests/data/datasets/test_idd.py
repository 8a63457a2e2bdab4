import json

import numpy as np
import pytest

from fada_tf.data import conversion, tfrecord, verification
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

# By name, as in the authors' table of labels.
TRAIN_IDS = {
    "road": 0, "sidewalk": 1, "building": 2, "wall": 3, "fence": 4, "pole": 5, "traffic light": 6, "traffic sign": 7,
    "vegetation": 8, "non-drivable fallback": 9, "sky": 10, "person": 11, "rider": 12, "car": 13, "truck": 14,
    "bus": 15, "train": 16, "motorcycle": 17, "bicycle": 18,
}  # fmt: skip
IGNORED = (
    "parking", "drivable fallback", "rail track", "animal", "autorickshaw", "caravan", "trailer", "vehicle fallback",
    "curb", "guard rail", "billboard", "polegroup", "obs-str-bar-fallback", "bridge", "tunnel", "fallback background",
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "license plate",
)  # fmt: skip


def box(name: str, left: float, top: float, right: float, bottom: float, **more) -> dict:
    """An object that covers columns left to right and rows top to bottom, both included."""
    return {"label": name, "polygon": [[left, top], [right, top], [right, bottom], [left, bottom]], **more}


def polygons(*objects: dict, height: int = 4, width: int = 6) -> str:
    return json.dumps({"imgHeight": height, "imgWidth": width, "objects": objects})


def write(root, part: str, frame: str, label: str | None, suffix: str = ".png", split: str = "train") -> None:
    makers.save(f"{root}/{part}/leftImg8bit/{split}/{frame}_leftImg8bit{suffix}", makers.texture(4, 6))
    if label is not None:
        path = root / part / "gtFine" / split / f"{frame}_gtFine_polygons.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(label)


def converted(root, **options) -> list[tfrecord.Record]:
    manifest = conversion.convert(base.find("idd", root=str(root), split="train"), f"{root}/out", **options).manifest
    assert verification.verify(manifest.folder).num_records == manifest.num_records
    return list(tfrecord.read_shard(manifest.shard_paths[0]))


def test_polygons_are_drawn_in_the_order_of_the_file(tmp_path):
    objects = (
        box("road", 0, 2, 5, 3),
        box("cargroup", 1, 1, 2.0, 2),
        box("sky", 0, 0, 5, 0),
        box("person", 0, 0, 5, 3, deleted=1),
        {"label": "truck", "polygon": [[0, 0], [5, 3]]},
        box("polegroup", 5, -3, 9, 2, deleted=0),
    )
    write(tmp_path, "", "12/0001", polygons(*objects))
    (record,) = converted(tmp_path)
    expected = [
        [10, 10, 10, 10, 10, 255],
        [255, 13, 13, 255, 255, 255],
        [0, 13, 13, 0, 0, 255],
        [0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(read_ids(record.label), expected)


@pytest.mark.parametrize("names", [tuple(TRAIN_IDS), IGNORED])
def test_every_name_has_its_train_id(tmp_path, names):
    objects = [box(name, column, 0, column, 3) for column, name in enumerate(names)]
    makers.save(f"{tmp_path}/leftImg8bit/train/12/0001_leftImg8bit.png", makers.texture(4, 24))
    write(tmp_path, "", "13/0001", polygons())  # nothing drawn
    (tmp_path / "gtFine/train/12").mkdir()
    (tmp_path / "gtFine/train/12/0001_gtFine_polygons.json").write_text(polygons(*objects, width=24))
    first, empty = converted(tmp_path, resize=(8, 48))
    expected = np.full(24, 255)
    expected[: len(names)] = [TRAIN_IDS.get(name, 255) for name in names]
    np.testing.assert_array_equal(read_ids(first.label), np.tile(expected.repeat(2), (8, 1)))
    assert (read_ids(empty.label) == 255).all()


def test_both_parts_are_one_data_set(tmp_path):
    write(tmp_path, "IDD_Segmentation", "0/frame0029", polygons(box("road", 0, 0, 5, 3)))
    write(tmp_path, "idd20kII", "0/frame0029", polygons(box("sky", 0, 0, 5, 3)), ".jpg")
    first, second = converted(tmp_path)
    assert first.filename == "IDD_Segmentation/leftImg8bit/train/0/frame0029_leftImg8bit.png"
    assert second.filename == "idd20kII/leftImg8bit/train/0/frame0029_leftImg8bit.jpg"
    assert (read_ids(first.label) == 0).all() and (read_ids(second.label) == 10).all()
    assert len(base.find("idd", root=f"{tmp_path}/idd20kII", split="train").pairs) == 1


def test_images_without_labels(tmp_path):
    write(tmp_path, "", "12/0001", None, split="test")
    dataset = base.find("idd", root=str(tmp_path), split="test")
    assert dataset.labels is None and not dataset.problems and len(dataset.pairs) == 1


def test_a_name_that_is_not_listed_is_a_bad_pair(tmp_path):
    write(tmp_path, "", "12/0001", polygons(box("road", 0, 0, 5, 3), box("robotgroup", 0, 0, 1, 1)))
    with pytest.raises(
        InputError, match=r"0001_gtFine_polygons.json: has objects robotgroup that IDD does not have; mend"
    ):
        converted(tmp_path)
    (record,) = converted(tmp_path, ignore_unknown=True)
    assert (read_ids(record.label) == 255).sum() == 4


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("[]", "json: is no file of polygons"),
        ("{", "is no file of polygons"),
        (polygons({"label": "road"}), "is no file of polygons .*polygon"),
        (polygons(height=0), "json: has the size 6x0, which no image can have"),
        (polygons(height=10**9), "has the size 6x1000000000, which no image can have"),
        (polygons(height=5), "is 6x5 but its image .* is 6x4 pixels"),
        (polygons({"label": "road", "polygon": [[0, 0], [1], [2, 2]]}), "polygon of 'road' whose corners are no pairs"),
        (
            polygons(box("road", 0, 0, float("nan"), 1)),
            "json: has a polygon of 'road' that is far outside of the image",
        ),
        (polygons(box("road", 0, 0, 1e300, 1)), "json: has a polygon of 'road' that is far outside of the image"),
    ],
)
def test_damaged_labels_are_bad_pairs(tmp_path, label, message):
    write(tmp_path, "", "12/0001", label)
    with pytest.raises(InputError, match=message):
        converted(tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="IDD has no split 'dev': use train, val, test"):
        base.find("idd", root=str(tmp_path), split="dev")
    with pytest.raises(InputError, match=r"no image found in .*IDD_Segmentation/leftImg8bit/val.*: check --root"):
        base.find("idd", root=str(tmp_path), split="val")
