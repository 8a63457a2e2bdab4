import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from fada_tf.data import coco_masks
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.exports import class_file, converted

CATEGORIES = [
    {"supercategory": "vehicle", "id": 3, "name": "car"},
    {"supercategory": "person", "id": 1, "name": "person"},
    {"supercategory": "animal", "id": 300, "name": "cat"},  # more than a label image could hold
]
NAMES = ("car", "person", "cat")
BOX = [1, 1, 4, 1, 4, 3, 1, 3]  # columns 1 to 3 and rows 1 and 2
HEIGHT, WIDTH = 6, 8


def box(left: int, top: int, right: int, bottom: int) -> list[int]:
    """A polygon whose pixels are those from left and top to, and without, right and bottom."""
    return [left, top, right, top, right, bottom, left, bottom]


def runs(mask: np.ndarray, *, compressed: bool) -> dict:
    """A mask as COCO's own program encodes it."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    if compressed:
        return {"size": list(mask.shape), "counts": encoded["counts"].decode()}
    columns = mask.T.ravel()
    changes = np.flatnonzero(np.diff(columns, prepend=False))
    return {"size": list(mask.shape), "counts": np.diff(changes, prepend=0, append=len(columns)).tolist()}


def segment(category: int, segmentation, image: int = 7, **more) -> dict:
    return {"id": 1, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0} | more


def write(root, annotations: list[dict], *, images: list[dict] | None = None, **more) -> dict[str, str]:
    """Writes one image, instances.json and a class file; returns the options."""
    makers.save(f"{root}/val2017/000000000007.jpg", makers.texture(HEIGHT, WIDTH))
    listed = [{"id": 7, "file_name": "000000000007.jpg", "height": HEIGHT, "width": WIDTH}]
    content = {"info": {}, "licenses": [], "images": images or listed, "categories": CATEGORIES}
    (root / "instances.json").write_text(json.dumps(content | {"annotations": annotations} | more))
    return {"images": f"{root}/val2017", "labels": f"{root}/instances.json", "classes": class_file(root, *NAMES)}


def label_of(root, annotations: list[dict], **options) -> np.ndarray:
    (label,) = converted("coco", f"{root}/out", write(root, annotations), **options)
    return label


@pytest.mark.parametrize("kind", ["polygon", "text", "numbers"])
def test_segments_of_every_kind_are_drawn(tmp_path, kind):
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[1:3, 1:4] = True
    segmentation = [BOX] if kind == "polygon" else runs(region, compressed=kind == "text")
    label = label_of(tmp_path, [segment(300, segmentation)])
    np.testing.assert_array_equal(label, np.where(region, 2, 255))


def test_an_object_of_several_polygons(tmp_path):
    label = label_of(tmp_path, [segment(1, [box(0, 0, 1, 6), box(7, 0, 8, 6)])])
    np.testing.assert_array_equal(label[0], [1, 255, 255, 255, 255, 255, 255, 1])


def test_smaller_segments_lie_on_larger_ones_and_crowds_below_all(tmp_path):
    crowd = np.zeros((HEIGHT, WIDTH), bool)
    crowd[0, :2] = True  # the smallest of all
    annotations = [
        segment(1, [box(1, 0, 3, 2)]),
        segment(3, [box(0, 0, 8, 3)]),
        segment(300, [box(2, 0, 4, 2)]),  # as large as the first one
        segment(300, runs(crowd, compressed=False), iscrowd=1),
    ]
    label = label_of(tmp_path, annotations)
    np.testing.assert_array_equal(label[0], [0, 1, 2, 2, 0, 0, 0, 0])
    assert (label[3:] == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (37, 41)])
def test_run_lengths_are_those_of_cocos_own_program(size):
    random = np.random.default_rng(0)
    for share in (0, 0.02, 0.5, 1):
        mask = random.random(size) < share
        for compressed in (True, False):
            counts = runs(mask, compressed=compressed)["counts"]
            np.testing.assert_array_equal(coco_masks.of_runs("x", counts, *size), mask)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 1, 4, 1]], r"of \S+7.jpg: has a polygon of 'car' with 2 corners, where 3 are the least: mend or remove"),
        ([[1, 1, 4, 1, 3]], "has a polygon of 'car' whose corners are no pairs of numbers"),
        ([[1, 1, 4, "x", 3, 3]], "has a polygon of 'car' whose corners are no pairs of numbers"),
        ([[1, 1, 4, 1e12, 3, 3]], "has a polygon of 'car' that is far outside of the image"),
        ([], "has an object 'car' without a segmentation: boxes alone say no pixels"),
        (None, "has an object 'car' without a segmentation: boxes alone say no pixels"),
        ({"size": [6, 8], "counts": [8, 30]}, "has run lengths of 'car' for 38 pixels, where 48 are due"),
        ({"size": [6, 8], "counts": [-1, 49]}, "has run lengths of 'car' that are no numbers of pixels"),
        ({"size": [8, 6], "counts": [48]}, r"has run lengths of 'car' of size \[8, 6\], where \[6, 8\] is due"),
        ({"size": [6, 8], "counts": "0"}, "has run lengths of 'car' for 0 pixels, where 48 are due"),
        ({"size": [6, 8], "counts": "P"}, "has run lengths of 'car' that end in the middle of a number"),
        ({"size": [6, 8], "counts": "\x7f"}, r"with the letter '\\x7f', which COCO's text cannot have"),
    ],
)
def test_damaged_segments_are_bad_pairs(tmp_path, segmentation, message):
    with pytest.raises(InputError, match=message):
        label_of(tmp_path, [segment(3, segmentation)])


def test_a_category_that_is_not_listed_is_a_bad_pair(tmp_path):
    annotations = [segment(3, [BOX]), segment(4, [box(0, 0, 1, 1)])]
    with pytest.raises(InputError, match=r"has objects of category 4 \(which is not listed\) that the class file"):
        label_of(tmp_path, annotations)
    label = label_of(tmp_path, annotations, ignore_unknown=True)
    assert label[0, 0] == 255 and label[1, 1] == 0


def test_a_size_that_is_not_the_images_is_a_bad_pair(tmp_path):
    images = [{"id": 7, "file_name": "000000000007.jpg", "height": 8, "width": 6}]
    options = write(tmp_path, [], images=images)
    with pytest.raises(InputError, match=r"the annotation of \S+7.jpg: is 6x8 but its image \S+ is 8x6 pixels"):
        converted("coco", f"{tmp_path}/out", options)


def test_what_has_no_partner_is_named(tmp_path):
    images = [
        {"id": 7, "file_name": "000000000007.jpg", "height": HEIGHT, "width": WIDTH},
        {"id": 8, "file_name": "000000000007.jpg", "height": HEIGHT, "width": WIDTH},
        {"id": 9, "file_name": "gone.jpg", "height": HEIGHT, "width": WIDTH},
    ]
    options = write(tmp_path, [segment(1, [BOX], image=99), segment(1, [BOX], image=99)], images=images)
    makers.save(f"{tmp_path}/val2017/more.jpg", makers.texture(HEIGHT, WIDTH))
    listing = options["labels"]
    assert sorted(base.find("coco", **options).problems) == [
        f"{listing}: has 2 annotations of image 99, which it does not list",
        f"{options['images']}/more.jpg: is not listed in {listing}",
        f"000000000007.jpg: is listed twice in {listing}",
        f"gone.jpg: is listed in {listing} and not in {options['images']}",
    ]
    assert base.find("coco", **options).pairs == ()  # of the image that is listed twice, neither is trusted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON file of COCO's"),
        ("[]", "is no JSON file of COCO's"),
        ("{}", r"is no JSON file of COCO's \(KeyError\('categories'\)\)"),
        (json.dumps({"categories": CATEGORIES * 2}), "two categories have one id: rename one of them"),
        (json.dumps({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}), "two categories are called 'a'"),
    ],
)
def test_files_that_are_not_cocos(tmp_path, content, message):
    options = write(tmp_path, [])
    (tmp_path / "instances.json").write_text(content)
    with pytest.raises(InputError, match=message):
        base.find("coco", **options)
    with pytest.raises(InputError, match=r"cannot be read .*: name a JSON file of COCO's"):
        base.find("coco", **options | {"labels": f"{tmp_path}/none.json"})


# A panoptic file: ids of segments are 24-bit numbers, as the colours of the PNG beside it.
IDS = np.array([[0, 0, 5, 5], [70_000, 70_000, 5, 300]])
SEGMENTS = [
    {"id": 5, "category_id": 3, "iscrowd": 0, "area": 3, "bbox": [2, 0, 2, 2]},
    {"id": 70_000, "category_id": 1, "iscrowd": 1, "area": 2, "bbox": [0, 1, 2, 1]},
    {"id": 300, "category_id": 300, "iscrowd": 0, "area": 1, "bbox": [3, 1, 1, 1]},
]


def write_panoptic(root, segments: list[dict], count: int = 1, ids: np.ndarray = IDS) -> dict[str, str]:
    makers.save(f"{root}/val2017/a.jpg", makers.texture(2, 4))
    colors = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8)
    makers.save(f"{root}/annotations/panoptic_val2017/a.png", colors)
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 2, "width": 4}],
        "annotations": [{"image_id": 7, "file_name": "a.png", "segments_info": segments}] * count,
        "categories": CATEGORIES,
    }
    (root / "annotations/panoptic_val2017.json").write_text(json.dumps(content))
    labels = f"{root}/annotations/panoptic_val2017.json"
    return {"images": f"{root}/val2017", "labels": labels, "classes": class_file(root, *NAMES)}


def test_panoptic_colours_number_segments(tmp_path):
    (label,) = converted("coco", f"{tmp_path}/out", write_panoptic(tmp_path, SEGMENTS))
    np.testing.assert_array_equal(label, [[255, 255, 0, 0], [1, 1, 0, 2]])
    (empty,) = converted("coco", f"{tmp_path}/empty", write_panoptic(tmp_path, SEGMENTS, ids=IDS * 0))
    assert (empty == 255).all()  # a PNG all of whose colours are grey


def test_panoptic_labels_that_do_not_fit(tmp_path):
    with pytest.raises(InputError, match=r"a.png: has objects of segment 300 \(which is not listed\) that the class"):
        converted("coco", f"{tmp_path}/out", write_panoptic(tmp_path, SEGMENTS[:2]))
    options = write_panoptic(tmp_path, SEGMENTS, count=2)
    assert base.find("coco", **options).problems == (
        f"a.jpg: has 2 annotations in {options['labels']}, where one is due",
    )
    options = write_panoptic(tmp_path, SEGMENTS)
    Image.fromarray(np.zeros((2, 4), np.uint8)).save(tmp_path / "annotations/panoptic_val2017/a.png")
    with pytest.raises(InputError, match=r"a.png: has one channel, where colours are due that number segments"):
        converted("coco", f"{tmp_path}/out", options)
    (tmp_path / "annotations/panoptic_val2017/a.png").unlink()
    with pytest.raises(InputError, match=r"a.png: cannot be read \(No such file"):
        converted("coco", f"{tmp_path}/out", options)


def test_categories_become_classes(tmp_path):
    options = write(tmp_path, [], categories=[*CATEGORIES, {"id": 4, "name": "road", "color": [128, 64, 128]}])
    assert base.names_of_classes("coco", **options) == dict.fromkeys(NAMES) | {"road": (128, 64, 128)}
