import json

import numpy as np
import pytest

from fada_tf.data import conversion, tfrecord
from fada_tf.data.datasets import base
from fada_tf.data.images import read_ids
from fada_tf.errors import InputError
from tests.data import makers


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
    source = base.find("folder", **options)
    assert [pair.name for pair in source.pairs] == ["a.jpg", "deep/er/b.jpg"]
    manifest = conversion.convert(source, str(tmp_path / "out")).manifest
    assert manifest.label_space.names == ("x", "y")
    for record in tfrecord.read_shard(manifest.shard_paths[0]):
        np.testing.assert_array_equal(read_ids(record.label), [[1, 0, 255], [1, 1, 0]])


def test_labels_may_be_missing_as_a_whole_but_not_one_by_one(options, tmp_path):
    source = base.find("folder", images=options["images"])
    assert source.label_space is None and len(source.pairs) == 2
    makers.save(f"{tmp_path}/images/c.png", makers.texture(2, 3))
    makers.save(f"{tmp_path}/labels/d.png", np.zeros((2, 3), np.uint8))
    source = base.find("folder", **options)
    assert [pair.name for pair in source.pairs] == ["a.jpg", "deep/er/b.jpg"]
    assert source.problems == (
        f"{options['images']}/c.png: has no label in {options['labels']}",
        f"{options['labels']}/d.png: has no image in {options['images']}",
    )


def test_names_choose_pairs_by_patterns(options, tmp_path):
    makers.save(f"{tmp_path}/images/night_1.jpg", makers.texture(2, 3))  # has no label, and is not asked for
    assert [pair.name for pair in base.find("folder", **options, names="deep/*").pairs] == ["deep/er/b.jpg"]
    source = base.find("folder", **options, names="a,deep/*")
    assert [pair.name for pair in source.pairs] == ["a.jpg", "deep/er/b.jpg"]
    assert not source.problems
    with pytest.raises(InputError, match=r"no image found with .*--names=dusk_\*"):
        base.find("folder", **options, names="dusk_*")


def test_errors(options, tmp_path):
    with pytest.raises(InputError, match="labels need a class file"):
        base.find("folder", images=options["images"], labels=options["labels"])
    with pytest.raises(InputError, match=f"folder {tmp_path}/none does not exist"):
        base.find("folder", images=f"{tmp_path}/none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=f"no image found with --images={tmp_path}/empty"):
        base.find("folder", images=f"{tmp_path}/empty")
