import inspect

import numpy as np
import pytest

from fada_tf import registry
from fada_tf.data.datasets import base
from fada_tf.data.images import SUFFIXES
from fada_tf.errors import InputError
from tests.data import makers

DATASETS = registry.names("fada_tf.data.datasets")


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_has_a_documented_find(name, tmp_path):
    dataset = registry.load("fada_tf.data.datasets", name).find
    arguments = inspect.signature(dataset).parameters
    assert all(f"{argument}: " in dataset.__doc__ for argument in arguments)
    required = {key: str(tmp_path / "none") for key, value in arguments.items() if value.default is value.empty}
    with pytest.raises(InputError):
        base.find(name, **required)
    with pytest.raises(InputError, match=f"data set {name}: got an unexpected keyword argument 'colour': it takes --"):
        base.find(name, **required, colour="red")


def test_a_wrong_name_lists_the_right_ones():
    with pytest.raises(InputError, match=f"choose from {', '.join(DATASETS)}$"):
        base.find("kitti")


def test_a_missing_option_is_named():
    with pytest.raises(
        InputError, match="data set gta5: missing a required argument: 'root': it takes --root, --split"
    ):
        base.find("gta5", root=None)


def test_keep_listed_keeps_order_and_names_what_is_missing():
    pairs = tuple(base.Pair(f"{name}.png", f"/{name}.png") for name in "abc")
    kept = base.keep_listed(base.DataSet(pairs, problems=("old",)), ["c", "a.png", "x", "a"], "list.txt")
    assert [pair.name for pair in kept.pairs] == ["a.png", "c.png"]
    assert kept.problems == ("x: is listed in list.txt but there is no such pair",)
    assert base.keep_listed(base.DataSet(pairs), None, "") == base.DataSet(pairs)
    with pytest.raises(InputError, match=r"list\.txt names no images"):
        base.keep_listed(base.DataSet(pairs), [], "list.txt")


def test_paths_by_key_walks_nested_folders_in_order(tmp_path):
    for name in ("b/1.PNG", "a/2.jpg", "3.jpeg"):
        makers.save(f"{tmp_path}/{name}", np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    assert base.paths_by_key(str(tmp_path), SUFFIXES) == {"3": "3.jpeg", "a/2": "a/2.jpg", "b/1": "b/1.PNG"}


def test_letters_of_one_code_and_of_two_are_the_same(tmp_path):
    composed, decomposed = "gr\u00fcn", "gru\u0308n"
    makers.save(f"{tmp_path}/images/{composed}.jpg", np.zeros((2, 2, 3), np.uint8))
    makers.save(f"{tmp_path}/labels/{decomposed}.png", np.zeros((2, 2), np.uint8))
    images, labels = f"{tmp_path}/images", f"{tmp_path}/labels"
    dataset = base.pair_up(base.paths_by_key(images, SUFFIXES), base.paths_by_key(labels, SUFFIXES), images, labels)
    assert len(dataset.pairs) == 1 and not dataset.problems
    assert base.keep_listed(dataset, [decomposed], "list.txt") == dataset


def test_two_files_of_one_key_are_an_error(tmp_path):
    for name in ("1.jpg", "1.png"):
        makers.save(f"{tmp_path}/{name}", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(InputError, match=r"1\.png and 1\.jpg there name the same pair"):
        base.paths_by_key(str(tmp_path), SUFFIXES)


def test_lists_are_read_without_blank_lines(tmp_path):
    (tmp_path / "list.txt").write_text("a\n\n  ü.png \r\n")
    assert base.read_list(str(tmp_path / "list.txt")) == ["a", "ü.png"]
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfim0.jpg\r\nim1.jpg\r\n")
    assert base.read_list(str(tmp_path / "list.txt")) == ["im0.jpg", "im1.jpg"]
    with pytest.raises(InputError, match=r"none\.txt cannot be read"):
        base.read_list(str(tmp_path / "none.txt"))
