import json
import re

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from fada_tf.data import labels
from fada_tf.errors import InputError


def class_file(tmp_path, **changes) -> str:
    values = {
        "name": "mine",
        "classes": [
            {"name": "road", "color": [1, 2, 3], "ids": [7]},
            {"name": "car", "color": [4, 5, 6], "ids": [26, 27]},
        ],
        "ignore_ids": [0, 255],
    } | changes
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(values))
    return str(path)


def test_cityscapes_tables_are_those_of_cityscapesscripts():
    official = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    trained = sorted((label for label in official if 0 <= label.trainId < 255), key=lambda label: label.trainId)
    assert labels.CITYSCAPES19.names == tuple(label.name for label in trained)
    assert labels.CITYSCAPES19.colors == tuple(label.color for label in trained)
    expected = np.full(256, labels.UNKNOWN_ID)
    expected[: max(label.id for label in official) + 1] = 255
    for label in trained:
        expected[label.id] = label.trainId
    np.testing.assert_array_equal(labels.CITYSCAPES_ID_MAP, expected)


def test_synthia_ids_become_the_published_16_class_ids():
    published = {
        3: 0,
        4: 1,
        2: 2,
        21: 3,
        5: 4,
        7: 5,
        15: 6,
        9: 7,
        6: 8,
        1: 9,
        10: 10,
        17: 11,
        8: 12,
        19: 13,
        12: 14,
        11: 15,
    }
    to_16 = labels.CITYSCAPES19.subset_map(labels.CITYSCAPES16)
    mapped = to_16[labels.SYNTHIA_ID_MAP[:23]]
    assert {i: int(label) for i, label in enumerate(mapped) if label != 255} == published


def test_subsets_drop_the_right_classes():
    names = set(labels.CITYSCAPES19.names)
    assert names - set(labels.CITYSCAPES16.names) == {"terrain", "truck", "train"}
    assert names - set(labels.CITYSCAPES13.names) == {"terrain", "truck", "train", "wall", "fence", "pole"}
    crosscity = [
        "road",
        "sidewalk",
        "building",
        "light",
        "sign",
        "vegetation",
        "sky",
        "person",
        "rider",
        "car",
        "bus",
        "motorcycle",
        "bicycle",
    ]
    assert [name.removeprefix("traffic ") for name in labels.CROSSCITY13.names] == crosscity


@pytest.mark.parametrize("space", labels.LABEL_SPACES.values(), ids=lambda space: space.name)
def test_subset_maps_keep_names_and_colours(space):
    table = labels.CITYSCAPES19.subset_map(space)
    assert table.dtype == np.uint8
    assert (table == 255).sum() == 256 - space.num_classes
    for train_id, name in enumerate(labels.CITYSCAPES19.names):
        if name in space.names:
            assert space.names[table[train_id]] == name
            assert space.colors[table[train_id]] == labels.CITYSCAPES19.colors[train_id]
        else:
            assert table[train_id] == 255


def test_palette_colours_classes_and_leaves_the_rest_black_or_as_told():
    palette = labels.CITYSCAPES19.palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    assert palette[13].tolist() == [0, 0, 142]
    assert palette[255].tolist() == palette[19].tolist() == [0, 0, 0]
    assert labels.CITYSCAPES19.palette(ignore=(255, 255, 255))[255].tolist() == [255] * 3


def test_spaces_survive_json():
    for space in labels.LABEL_SPACES.values():
        assert labels.LabelSpace.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_label_space_is_found_by_name_or_class_file(tmp_path):
    assert labels.label_space("cityscapes16") is labels.CITYSCAPES16
    assert labels.label_space(class_file(tmp_path)).names == ("road", "car")
    with pytest.raises(InputError, match="unknown label space 'cityscapes20': use cityscapes19, cityscapes16"):
        labels.label_space("cityscapes20")


def test_class_file_maps_ids(tmp_path):
    loaded = labels.ClassFile.load(class_file(tmp_path))
    assert loaded.label_space.colors == ((1, 2, 3), (4, 5, 6))
    assert {i: int(label) for i, label in enumerate(loaded.id_map) if label != -1} == {
        7: 0,
        26: 1,
        27: 1,
        0: 255,
        255: 255,
    }


def test_class_file_maps_names(tmp_path):
    road = {"name": "road", "color": [1, 2, 3], "labels": ["Straße", "way"]}
    classes = [road, {"name": "car", "color": [4, 5, 6], "ids": []}]
    loaded = labels.ClassFile.load(class_file(tmp_path, classes=classes, ignore_labels=["road"]))
    assert loaded.by_name == {"Straße": 0, "way": 0, "car": 1, "road": 255}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": []}, '"classes" must be a list of 1 to 255'),
        ({"classes": "road"}, '"classes" must be a list'),
        ({"classes": ["road"]}, "class 0 must be a JSON object"),
        ({"classes": [{"name": "a", "color": [1, 2, 3]}]}, "class 0 lacks ids"),
        ({"classes": [{"name": "a", "color": [1, 2, 3], "ids": [], "id": 1}]}, "class 0 has unknown keys id"),
        ({"classes": [{"name": 3, "color": [1, 2, 3], "ids": []}]}, '"name" of class 0 must be a text'),
        (
            {"classes": [{"name": "a", "color": [1, 2], "ids": []}]},
            "\"color\" of class 'a' must be three integers 0-255",
        ),
        ({"classes": [{"name": "a", "color": [1, 2, 256], "ids": []}]}, "must be three integers 0-255"),
        ({"classes": [{"name": "a", "color": [1, 2, 3], "ids": [256]}]}, "ids of 'a' must be a list of integers 0-255"),
        ({"classes": [{"name": "a", "color": [1, 2, 3], "ids": [True]}]}, "ids of 'a' must be a list of integers"),
        ({"classes": [{"name": "a", "color": [1, 2, 3], "ids": [i]} for i in (1, 2)]}, "found twice: a"),
        ({"classes": [{"name": "cat", "color": [1, 2, 3], "ids": [1]}]}, "only class is 'cat'.*list the background"),
        ({"ignore_ids": [7]}, "id 7 belongs to 'road' and to 'ignore_ids'"),
        ({"ignore_labels": ["car"]}, "label car belongs to 'car' and to 'ignore_labels'"),
        ({"ignore_labels": "car"}, "the labels of 'ignore_ids' must be a list of names, not 'car'"),
        ({"classes": [{"name": "a", "color": [1, 2, 3], "labels": [1]}]}, "labels of 'a' must be a list of names"),
        ({"classes": [3]}, "class 0 must be a JSON object"),
        ({"colour": 1}, "the file has unknown keys colour"),
        ({"name": ""}, '"name" of the file must be a text'),
    ],
)
def test_class_file_errors_name_file_and_rule(tmp_path, changes, message):
    path = class_file(tmp_path, **changes)
    with pytest.raises(InputError) as error:
        labels.ClassFile.load(path)
    assert str(error.value).startswith(f"class file {path}: ")
    assert re.search(message, str(error.value))


def test_class_file_that_is_missing_or_not_json(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        labels.ClassFile.load(str(tmp_path / "none.json"))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        labels.ClassFile.load(str(tmp_path / "bad.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n "name": "a",\n "ids": [],\n}\n', """line 3: the comma at the end of '"ids": [],' is one too many"""),
        ("[\n 1,\n\n]", "line 2: the comma at the end of '1,' is one too many"),
        ('{\n "a": "b"\n\n "c": []}', """line 2: a comma or a closing bracket is missing after '"a": "b"'"""),
        ('{\n "ids": [1, 2\n}\n', """line 2: a comma or a closing bracket is missing after '"ids": [1, 2'"""),
        ("{\n name: 1}", "line 2, column 2: Expecting property name enclosed in double quotes"),
        (" \n", "the file is empty"),
    ],
)
def test_class_files_that_are_not_json_name_the_line_to_look_at(tmp_path, text, message):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InputError, match=re.escape(f"not JSON ({message})")):
        labels.ClassFile.load(str(tmp_path / "bad.json"))


@hypothesis.given(st.lists(st.sets(st.integers(0, 255)), min_size=2, max_size=12), st.sets(st.integers(0, 255)))
def test_every_id_of_a_class_file_has_one_meaning(ids_of_class, ignored):
    classes = [{"name": str(i), "color": [i] * 3, "ids": sorted(ids)} for i, ids in enumerate(ids_of_class)]
    values = {"name": "any", "classes": classes, "ignore_ids": sorted(ignored)}
    claimed = [i for ids in [*ids_of_class, ignored] for i in ids]
    if len(claimed) != len(set(claimed)):
        with pytest.raises(InputError, match="belongs to"):
            labels.ClassFile.from_json(values)
        return
    id_map = labels.ClassFile.from_json(values).id_map
    for train_id, ids in enumerate(ids_of_class):
        assert all(id_map[i] == train_id for i in ids)
    assert all(id_map[i] == 255 for i in ignored)
    assert (id_map == -1).sum() == 256 - len(claimed)
