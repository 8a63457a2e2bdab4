import re

import numpy as np
import pytest

from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.exports import class_file, converted

HEIGHT, WIDTH = 6, 8
META = """<meta>
    <task>
      <id>4</id>
      <name>streets</name>
      <labels>
        <label><name>road</name><color>#804080</color><type>polygon</type><attributes></attributes></label>
        <label><name>car</name><color>#00008e</color><type>any</type><attributes></attributes></label>
        <label><name>body</name><color>#010203</color><type>skeleton</type></label>
        <label><name>head</name><color>#040506</color><type>points</type><parent>body</parent></label>
      </labels>
    </task>
    <dumped>2026-01-01 00:00:00.000000+00:00</dumped>
  </meta>"""
COMMON = 'source="manual" occluded="0"'


def polygon(label: str, points: str, z_order: int = 0) -> str:
    return f'<polygon label="{label}" {COMMON} points="{points}" z_order="{z_order}"></polygon>'


def box(label: str, left: float, top: float, right: float, bottom: float, more: str = "") -> str:
    sides = f'xtl="{left:.2f}" ytl="{top:.2f}" xbr="{right:.2f}" ybr="{bottom:.2f}"'
    return f'<box label="{label}" {COMMON} {sides} {more} z_order="0"></box>'


def image(*shapes: str, name: str = "a.jpg", size: str = f'width="{WIDTH}" height="{HEIGHT}"', more: str = "") -> str:
    return f'<image id="0" name="{name}" {more} {size}>\n{"".join(shapes)}\n</image>'


def write(root, *images: str, meta: str = META) -> dict[str, str]:
    """Writes annotations.xml, an image, and a class file; returns the options."""
    makers.save(f"{root}/images/a.jpg", makers.texture(HEIGHT, WIDTH))
    lines = "\n".join(images)
    head = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  {meta}\n'
    (root / "annotations.xml").write_text(f"{head}{lines}\n</annotations>\n")
    labels = f"{root}/annotations.xml"
    return {"images": f"{root}/images", "labels": labels, "classes": class_file(root, "road", "car")}


def label_of(root, *shapes: str, **more) -> np.ndarray:
    (label,) = converted("cvat", f"{root}/out", write(root, image(*shapes, **more)))
    return label


def test_shapes_are_drawn_by_z_order_and_then_in_their_order(tmp_path):
    label = label_of(
        tmp_path,
        polygon("car", "0.00,0.00;8.00,0.00;8.00,1.00;0.00,1.00", z_order=1),
        polygon("road", "0.00,0.00;8.00,0.00;8.00,3.00;0.00,3.00"),
        box("car", 2, 1, 4, 3),
        f'<mask label="road" {COMMON} rle="1, 2, 1, 2" left="5" top="4" width="3" height="2" z_order="0"></mask>',
        '<tag label="car" source="manual"></tag>',
    )
    expected = [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [0, 0, 1, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0, 0],
        [255] * 8,
        [255, 255, 255, 255, 255, 255, 0, 0],
        [255, 255, 255, 255, 255, 255, 0, 0],
    ]
    np.testing.assert_array_equal(label, expected)


def test_boxes_are_turned_and_ellipses_are_round(tmp_path):
    turned = label_of(tmp_path, box("car", 1, 2, 7, 4, 'rotation="90.00"'))
    np.testing.assert_array_equal(turned == 1, np.tile([0, 0, 0, 1, 1, 0, 0, 0], (6, 1)) > 0)
    ellipse = f'<ellipse label="car" {COMMON} cx="4.00" cy="3.00" rx="4.00" ry="2.00" z_order="0"></ellipse>'
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    inside = ((x - 4) / 4) ** 2 + ((y - 3) / 2) ** 2
    label = label_of(tmp_path / "ellipse", ellipse) == 1
    assert label[inside < 0.8].all() and not label[inside > 1.2].any()


def test_projects_have_images_by_subset(tmp_path):
    options = write(tmp_path, image(box("car", 0, 0, 8, 6), more='subset="train" task_id="5"'), image(name="b.jpg"))
    makers.save(f"{tmp_path}/images/b.jpg", makers.texture(HEIGHT, WIDTH))
    (tmp_path / "images/train").mkdir()
    (tmp_path / "images/a.jpg").rename(tmp_path / "images/train/a.jpg")
    assert [pair.name for pair in base.find("cvat", **options).pairs] == ["b.jpg", "train/a.jpg"]
    nothing, car = converted("cvat", f"{tmp_path}/out", options, num_shards=1)
    assert (nothing == 255).all() and (car == 1).all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            polygon("car", "1.00,1.00;2.00,2.00"),
            "of .*a.jpg: has a polygon of 'car' with 2 corners, where 3 are",
        ),
        (polygon("car", "1.00;2.00,2.00"), "has a polygon of 'car' whose corners are no pairs of numbers"),
        (polygon("dog", "0,0;8,0;8,6"), "has objects dog that the class file lists neither in a class nor"),
        (
            f'<polyline label="car" {COMMON} points="0,0;1,1"></polyline>',
            "has a polyline of 'car', which covers no",
        ),
        (
            f'<mask label="car" {COMMON} rle="3, 2" left="0" top="0" width="3" height="2"></mask>',
            "5 pixels, where 6",
        ),
        (f'<box label="car" {COMMON} xtl="1.00"></box>', r"is not as CVAT writes it \(KeyError\('ytl'\)\)"),
        (f'<blob label="car" {COMMON}></blob>', "has a blob of 'car', which this program does not know"),
    ],
)
def test_damaged_shapes_are_bad_pairs(tmp_path, shape, message):
    with pytest.raises(InputError, match=message):
        label_of(tmp_path, shape)


def test_what_has_no_partner_is_named(tmp_path):
    options = write(tmp_path, image(), image(), image(name="gone.jpg"))
    makers.save(f"{tmp_path}/images/more.jpg", makers.texture(HEIGHT, WIDTH))
    folder, listing = options["images"], options["labels"]
    assert base.find("cvat", **options).problems == (
        f"a.jpg: is listed twice in {listing}",
        f"gone.jpg: is listed in {listing} and not in {folder}",
        f"{folder}/more.jpg: is not listed in {listing}",
    )


def test_a_size_that_is_not_the_images_is_a_bad_pair(tmp_path):
    with pytest.raises(InputError, match=r"the annotation of \S+a.jpg: is 6x8 but its image \S+ is 8x6 pixels"):
        label_of(tmp_path, size='width="6" height="8"')


def test_other_files_are_refused(tmp_path):
    options = write(tmp_path, image())
    text = (tmp_path / "annotations.xml").read_text()
    for content, message in [
        (text[:-20], "is damaged (unclosed"),
        (text.replace("annotations>", "sheet>"), "is no annotations.xml of CVAT's, but has the root 'sheet'"),
        (
            text.replace("<image", '<track id="0" label="car"></track><image'),
            "is of 'CVAT for video': export 'CV",
        ),
    ]:
        (tmp_path / "annotations.xml").write_text(content)
        with pytest.raises(InputError, match=re.escape(message).replace("unclosed", ".*")):
            base.find("cvat", **options)
    with pytest.raises(InputError, match=r"cannot be read .*: name CVAT's annotations.xml"):
        base.find("cvat", **options | {"labels": f"{tmp_path}/none.xml"})


def test_labels_become_classes_with_their_colours(tmp_path):
    names = base.names_of_classes("cvat", **write(tmp_path, image()))
    assert names == {"road": (128, 64, 128), "car": (0, 0, 142), "body": (1, 2, 3)}
    options = write(tmp_path, image(), meta=META.replace("#804080", "red"))
    assert base.names_of_classes("cvat", **options)["road"] is None
