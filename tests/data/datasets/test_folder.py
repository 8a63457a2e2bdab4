import json

import numpy as np
import pytest

from fada_tf.data import conversion, tfrecord
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids


@pytest.fixture
def options(tmp_path) -> dict[str, str]:
    """Two pairs, one nested, with ids 5 (a class), 7 (another) and 0 (ignored)."""
    label = np.array([[5, 7, 0], [5, 5, 7]], np.uint8)
    for name in ("a", "deep/er/b"):
        makers.save(f"{tmp_path}/images/{name}.jpg", makers.texture(2, 3))
        makers.save(f"{tmp_path}/labels/{name}.png", label)
    classes = [{"name": "x", "color": [1, 1, 1], "ids": [7]}, {"name": "y", "color": [2, 2, 2], "ids": [5]}]
    (tmp_path / "c.json").write_text(json.dumps({"name": "xy", "classes": classes, "ignore_ids": [0]}))
    return {
        key: str(tmp_path / name) for key, name in [("images", "images"), ("labels", "labels"), ("classes", "c.json")]
    }


def test_pairs_are_found_by_stem_and_ids_mapped(options, tmp_path):
    dataset = base.find("folder", **options)
    assert [pair.name for pair in dataset.pairs] == ["a.jpg", "deep/er/b.jpg"]
    manifest = conversion.convert(dataset, str(tmp_path / "out")).manifest
    assert manifest.label_space.names == ("x", "y")
    for record in tfrecord.read_shard(manifest.shard_paths[0]):
        np.testing.assert_array_equal(read_ids(record.label), [[1, 0, 255], [1, 1, 0]])


def test_labels_may_be_missing_as_a_whole_but_not_one_by_one(options, tmp_path):
    dataset = base.find("folder", images=options["images"])
    assert dataset.labels is None and len(dataset.pairs) == 2
    makers.save(f"{tmp_path}/images/c.png", makers.texture(2, 3))
    makers.save(f"{tmp_path}/labels/d.png", np.zeros((2, 3), np.uint8))
    dataset = base.find("folder", **options)
    assert [pair.name for pair in dataset.pairs] == ["a.jpg", "deep/er/b.jpg"]
    assert dataset.problems == (
        f"{options['images']}/c.png: has no label in {options['labels']}",
        f"{options['labels']}/d.png: has no image in {options['images']}",
    )


def test_names_choose_pairs_by_patterns(options, tmp_path):
    makers.save(f"{tmp_path}/images/night_1.jpg", makers.texture(2, 3))  # has no label, and is not asked for
    assert [pair.name for pair in base.find("folder", **options, names="deep/*").pairs] == ["deep/er/b.jpg"]
    dataset = base.find("folder", **options, names="a, deep/*,")
    assert [pair.name for pair in dataset.pairs] == ["a.jpg", "deep/er/b.jpg"]
    assert not dataset.problems
    with pytest.raises(InputError, match=r"no image found with .*--names=dusk_\*"):
        base.find("folder", **options, names="dusk_*")


def test_a_pattern_that_matches_nothing_is_an_error(options):
    with pytest.raises(InputError, match=r"no image found with .*--names=dusk_\*: patterns are without suffixes"):
        base.find("folder", **options, names="a,dusk_*")


def test_files_that_are_no_pictures_by_their_names_are_said_to_be_passed_over(options, tmp_path):
    for name in ("b.gif", "deep/c.gif", "README", ".hidden.gif"):
        (tmp_path / "images" / name).write_bytes(b"")
    found = base.find("folder", **options)
    assert [line.partition(": ")[0].removeprefix(f"{tmp_path}/") for line in found.passed_over] == [
        "images/README",
        "images/b.gif and 1 more",
    ]
    assert "no picture, since the name ends in '.gif' and not in .jpg, " in found.passed_over[1]
    (tmp_path / "others").mkdir()
    (tmp_path / "others/c.gif").write_bytes(b"")
    with pytest.raises(InputError, match=r"no image found with .* \(\S+c.gif: no picture, .*\): check the folder"):
        base.find("folder", images=f"{tmp_path}/others")


@pytest.mark.parametrize("suffix", ["bmp", "webp", "tif", "TIFF", "jfif"])
def test_pictures_of_every_suffix_are_read(tmp_path, suffix):
    kind = {"tif": "TIFF", "jfif": "JPEG"}.get(suffix, suffix)
    makers.save(f"{tmp_path}/images/a.{suffix}", makers.texture(6, 8), format=kind)
    report = conversion.convert(base.find("folder", images=f"{tmp_path}/images"), f"{tmp_path}/out")
    assert [entry.filename for entry in report.manifest.entries] == [f"a.{suffix}"]
    assert bool(report.changes) == (suffix != "jfif")


def test_a_mask_that_is_no_png_is_named(options, tmp_path):
    (tmp_path / "labels/a.png").unlink()
    makers.save(f"{tmp_path}/labels/a.jpg", np.zeros((2, 3), np.uint8))
    assert base.find("folder", **options).problems == (
        f"{tmp_path}/images/a.jpg: has no label in {tmp_path}/labels; labels are PNGs, and a.jpg is none: "
        "save ids as PNG",
    )


def test_errors(options, tmp_path):
    with pytest.raises(InputError, match="labels need a class file"):
        base.find("folder", images=options["images"], labels=options["labels"])
    with pytest.raises(InputError, match=f"folder {tmp_path}/none does not exist"):
        base.find("folder", images=f"{tmp_path}/none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=f"no image found with --images={tmp_path}/empty"):
        base.find("folder", images=f"{tmp_path}/empty")
