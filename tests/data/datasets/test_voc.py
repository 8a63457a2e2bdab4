import numpy as np
import pytest
from PIL import Image

from fada_tf.data import class_files
from fada_tf.data.datasets import base, voc
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.exports import class_file, converted

IDS = np.array([[0, 15, 255], [20, 15, 0]], np.uint8)
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\ncar:0,0,142::\n"
COLORS = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 142]], np.uint8)


def palette_png(path, ids: np.ndarray) -> None:
    """Writes a mask with VOC's palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.fromarray(ids).convert("L")
    mask.putpalette(np.array([class_files.voc_color(i) for i in range(256)], np.uint8).tobytes())
    assert mask.mode == "P"
    mask.save(path)


@pytest.fixture
def devkit(tmp_path):
    """VOC's own layout: three images, of which two have masks, one of them in train.txt."""
    for name in ("2007_000001", "2007_000002", "2007_000003"):
        makers.save(f"{tmp_path}/JPEGImages/{name}.jpg", makers.texture(2, 3))
    for name in ("2007_000001", "2007_000003"):
        palette_png(tmp_path / f"SegmentationClass/{name}.png", IDS)
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("2007_000003\n")
    return tmp_path


def voc_classes(folder) -> str:
    return class_file(folder, *voc.NAMES, ignored=("void",))


def test_the_palette_is_pascal_vocs():
    # Of the development kit's documentation.
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 7: (128, 128, 128), 8: (64, 0, 0), 15: (192, 128, 128)}
    known |= {20: (0, 64, 128), 255: (224, 224, 192)}
    assert {i: class_files.voc_color(i) for i in known} == known


def test_masks_in_vocs_palette(devkit):
    options = {"root": str(devkit), "classes": voc_classes(devkit)}
    first, third = converted("voc", f"{devkit}/out", options, num_shards=1)
    np.testing.assert_array_equal(first, IDS)
    np.testing.assert_array_equal(third, IDS)
    assert [pair.name for pair in base.find("voc", **options, split="train").pairs] == ["2007_000003.jpg"]


@pytest.mark.parametrize("kind", ["colours", "ids", "other palette"])
def test_masks_in_colours_or_ids(devkit, kind):
    path = devkit / "SegmentationClass/2007_000003.png"
    colors = np.array([class_files.voc_color(i) for i in range(256)], np.uint8)
    mask = Image.fromarray(colors[IDS] if kind == "colours" else IDS)
    if kind == "other palette":
        mask.putpalette(np.arange(768, dtype=np.uint8).tobytes())
    mask.save(path)
    (label,) = converted(
        "voc", f"{devkit}/out", {"root": str(devkit), "classes": voc_classes(devkit), "split": "train"}
    )
    np.testing.assert_array_equal(label, IDS)


@pytest.fixture
def export(tmp_path):
    """CVAT's "Segmentation mask 1.1" with images elsewhere: RGB masks, labelmap.txt, default.txt."""
    makers.save(f"{tmp_path}/photos/drive/a.png", makers.texture(2, 3))
    makers.save(f"{tmp_path}/SegmentationClass/drive/a.png", COLORS[[[0, 1, 1], [2, 2, 0]]])
    makers.save(f"{tmp_path}/SegmentationObject/drive/a.png", COLORS[[[0, 1, 1], [2, 2, 0]]])
    (tmp_path / "labelmap.txt").write_text(LABELMAP)
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/default.txt").write_text("drive/a\n")
    return {"root": str(tmp_path), "images": f"{tmp_path}/photos"}


def test_masks_of_a_labelmap(export, tmp_path):
    named = {"background": (0, 0, 0), "road": (128, 64, 128), "car": (0, 0, 142)}
    assert base.names_of_classes("voc", **export) == named
    classes = class_file(tmp_path, "car", "road", ignored=("background",))
    (label,) = converted("voc", f"{tmp_path}/out", export | {"classes": classes, "split": "default"})
    np.testing.assert_array_equal(label, [[255, 1, 1], [0, 0, 255]])


def test_bad_masks_and_lists(export, tmp_path):
    options = export | {"classes": class_file(tmp_path, "car", "road", ignored=("background",))}
    makers.save(f"{tmp_path}/SegmentationClass/drive/a.png", np.full((2, 3, 3), (1, 2, 3), np.uint8))
    with pytest.raises(InputError, match=r"a.png: has objects of colour \(1, 2, 3\) that the class file lists neither"):
        converted("voc", f"{tmp_path}/out", options)
    makers.save(f"{tmp_path}/SegmentationClass/drive/a.png", np.full((2, 3), 7, np.uint8))
    with pytest.raises(InputError, match=r"a.png: has objects of id 7 that the class file"):
        converted("voc", f"{tmp_path}/out", options)
    makers.save(f"{tmp_path}/SegmentationClass/drive/a.png", np.full((3, 3), 1, np.uint8))
    with pytest.raises(InputError, match=r"a.png: is 3x3 but its image \S+ is 3x2 pixels"):
        converted("voc", f"{tmp_path}/out", options)
    makers.save(f"{tmp_path}/SegmentationClass/b.png", np.full((3, 3), 1, np.uint8))
    assert base.find("voc", **options).problems == (
        f"{tmp_path}/SegmentationClass/b.png: has no image in {tmp_path}/photos",
    )
    (tmp_path / "ImageSets/Segmentation/default.txt").write_text("b\n")
    (problem,) = base.find("voc", **options, split="default").problems
    assert problem == f"b: is listed in {tmp_path}/ImageSets/Segmentation/default.txt but there is no such pair"
    (tmp_path / "labelmap.txt").write_text("road:128,64::\n")
    with pytest.raises(InputError, match=r"labelmap.txt has the line 'road:128,64::', where 'label:red,green,blue::'"):
        base.names_of_classes("voc", **export)
