import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from fada_tf.data import conversion
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.exports import class_file, converted

HEIGHT, WIDTH = 6, 8


def shape(label: str, kind: str | None, *points: tuple[float, float], **more) -> dict:
    return {
        "label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {},
        "mask": None,
    } | more  # fmt: skip


def write(folder, name: str, *shapes: dict, **more) -> None:
    """Writes an image and its JSON file."""
    makers.save(f"{folder}/{name}.jpg", makers.texture(HEIGHT, WIDTH))
    content = {
        "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"{name.rpartition('/')[2]}.jpg",
        "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH,
    } | more  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False, indent=2))


def label_of(root, *shapes: dict, **more) -> np.ndarray:
    write(root / "images", "a", *shapes, **more)
    options = {"images": f"{root}/images", "classes": class_file(root, "road", "car")}
    (label,) = converted("labelme", f"{root}/out", options)
    return label


def embedded(mask: np.ndarray) -> str:
    """A mask as labelme writes it: a PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_shapes_are_drawn_in_their_order(tmp_path):
    mask = np.array([[1, 0, 1], [0, 1, 0]])
    label = label_of(
        tmp_path,
        shape("road", "polygon", (0, 3), (7, 3), (7, 5), (0, 5)),
        shape("car", "rectangle", (3, 4.0), (1, 2.0)),  # from right and below to left and above
        shape("car", "circle", (6, 1), (6, 2)),
        shape("car", "mask", (4, 3), (6, 4), mask=embedded(mask)),
        shape("road", None, (0, 0), (2, 0), (2, 1), (0, 1)),  # of old versions
    )
    expected = [
        [0, 0, 0, 255, 255, 255, 1, 255],
        [0, 0, 0, 255, 255, 1, 1, 1],
        [255, 1, 1, 1, 255, 255, 1, 255],
        [0, 1, 1, 1, 1, 0, 1, 0],
        [0, 1, 1, 1, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(label, expected)


def test_files_in_a_folder_of_their_own(tmp_path):
    write(tmp_path / "both", "drive/a", shape("car", "polygon", (0, 0), (7, 0), (7, 5), (0, 5)))
    (tmp_path / "json/drive").mkdir(parents=True)
    (tmp_path / "both/drive/a.json").rename(tmp_path / "json/drive/a.json")
    options = {
        "images": f"{tmp_path}/both",
        "labels": f"{tmp_path}/json",
        "classes": class_file(tmp_path, "road", "car"),
    }
    assert base.names_of_classes("labelme", **options) == {"car": None}
    (label,) = converted("labelme", f"{tmp_path}/out", options)
    assert (label == 1).all()
    manifest = conversion.convert(base.find("labelme", **options), f"{tmp_path}/small", resize=(3, 4)).manifest
    assert manifest.entries[0].filename == "drive/a.jpg"
    assert (manifest.entries[0].height, manifest.pixels[0, 1]) == (3, 12)


def test_what_has_no_partner_is_named(tmp_path):
    for name in ("a", "b"):
        write(tmp_path, name)
    (tmp_path / "a.json").unlink()
    (tmp_path / "b.jpg").unlink()
    problems = base.find("labelme", images=str(tmp_path), classes=class_file(tmp_path / "..", "road", "car")).problems
    assert problems == (
        f"{tmp_path}/a.jpg: has no label in {tmp_path}",
        f"{tmp_path}/b.json: has no image in {tmp_path}",
    )


@pytest.mark.parametrize(
    ("shapes", "more", "message"),
    [
        (
            [shape("car", "polygon", (1, 1), (2, 2))],
            {},
            r"a.json: has a polygon of 'car' with 2 corners, where 3 are the",
        ),
        ([shape("car", "rectangle", (1, 1))], {}, "has a polygon of 'car' with 1 corners, where 2 are due"),
        ([shape("car", "linestrip", (1, 1), (2, 2))], {}, "has a linestrip of 'car', which covers no pixels: make it"),
        ([shape("dog", "rectangle", (1, 1), (2, 2))], {}, "has objects dog that the class file lists neither"),
        (
            [shape("car", "mask", (1, 1), (2, 2), mask=embedded(np.ones((3, 2))))],
            {},
            "of 2x3 pixels, where 2x2 are due",
        ),
        ([shape("car", "mask", (1, 1), (2, 2), mask="!")], {}, "a.json: "),
        ([], {"imageHeight": 7}, r"a.json: is 8x7 but its image \S+a.jpg is 8x6 pixels"),
        ([], {"imageHeight": None}, "has the size 8xNone, which no image can have"),
        ([], {"imagePath": "..\\\\images\\\\b.jpg"}, "is the annotation of b.jpg, by its imagePath, and not of a.jpg"),
        ([{"label": "car"}], {}, r"is no file of labelme's \(KeyError\('points'\)\)"),
        ([], {"shapes": 3}, "is no file of labelme's"),
    ],
)
def test_damaged_files_are_bad_pairs(tmp_path, shapes, more, message):
    with pytest.raises(InputError, match=message):
        label_of(tmp_path, *shapes, **more)


def test_an_image_may_be_saved_in_another_kind(tmp_path):
    assert (label_of(tmp_path, imagePath="..\\\\somewhere\\\\a.PNG") == 255).all()


def test_labels_become_classes(tmp_path):
    write(tmp_path, "a", shape("road", "rectangle", (0, 0), (1, 1)), shape("__ignore__", "rectangle", (0, 0), (1, 1)))
    write(tmp_path, "b", shape("Äpfel", "rectangle", (0, 0), (1, 1)), shape("road", "rectangle", (0, 0), (1, 1)))
    assert base.names_of_classes("labelme", images=str(tmp_path)) == dict.fromkeys(["__ignore__", "road", "Äpfel"])
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(InputError, match=r"b.json is no file of labelme's .*: mend or move it"):
        base.names_of_classes("labelme", images=str(tmp_path))
