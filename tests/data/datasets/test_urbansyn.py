import numpy as np
import pytest

from fada_tf.data import conversion, images, tfrecord, verification
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

IDS = (np.arange(4 * 10).reshape(4, 10) % 20).astype(np.uint8)
TRAIN_IDS = np.where(IDS == 19, 255, IDS)


def label(ids: np.ndarray) -> np.ndarray:
    """Ids in the first of four channels; the others, alpha too, hold something else."""
    return np.stack([ids, np.zeros_like(ids), 255 - ids, ids], axis=2)


@pytest.fixture
def root(tmp_path):
    for number in ("0001", "7539"):
        makers.save(f"{tmp_path}/rgb/rgb_{number}.png", makers.texture(4, 10))
        makers.save(f"{tmp_path}/ss/ss_{number}.png", label(IDS))
        makers.save(f"{tmp_path}/ss_color/ss_color_{number}.png", makers.texture(4, 10))
    return tmp_path


def test_pairs_are_found_by_number_and_the_first_channel_holds_train_ids(root):
    report = conversion.convert(base.find("urbansyn", root=str(root)), f"{root}/out")
    assert report.problems == report.changes == ()
    records = list(tfrecord.read_shard(report.manifest.shard_paths[0]))
    assert [record.filename for record in records] == ["rgb_0001.png", "rgb_7539.png"]
    for record in records:
        np.testing.assert_array_equal(read_ids(record.label), TRAIN_IDS)
    assert verification.verify(f"{root}/out").num_records == 2


def test_labels_of_one_channel_are_read_as_well(root):
    makers.save(f"{root}/ss/ss_0001.png", IDS)
    manifest = conversion.convert(base.find("urbansyn", root=str(root)), f"{root}/out", resize=(8, 20)).manifest
    first = next(tfrecord.read_shard(manifest.shard_paths[0]))
    np.testing.assert_array_equal(read_ids(first.label), TRAIN_IDS.repeat(2, 0).repeat(2, 1))


def test_other_ids_and_lonely_files_are_bad_pairs(root):
    makers.save(f"{root}/ss/ss_0001.png", label(np.full((4, 10), 20, np.uint8)))
    with pytest.raises(InputError, match=r"ss_0001.png: has ids \[20\] that UrbanSyn does not have \(it has 0 to 19\)"):
        conversion.convert(base.find("urbansyn", root=str(root)), f"{root}/out")
    (root / "ss/ss_7539.png").unlink()
    assert base.find("urbansyn", root=str(root)).problems == (f"{root}/rgb/rgb_7539.png: has no label in {root}/ss",)


def test_labels_that_are_no_png_are_refused():
    with pytest.raises(InputError, match="cannot be read as an image"):
        images.read_first_channel(b"no picture")
