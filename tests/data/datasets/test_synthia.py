import numpy as np
import pytest
from PIL import Image

from fada_tf.data import conversion, tfrecord
from fada_tf.data.datasets import base, synthia
from fada_tf.data.labels import CITYSCAPES16, CITYSCAPES19
from fada_tf.data.manifest import Manifest
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

PUBLISHED = {
    3: 0,
    4: 1,
    2: 2,
    21: 3,
    5: 4,
    7: 5,
    15: 6,
    9: 7,
    6: 8,
    1: 10,
    10: 11,
    17: 12,
    8: 13,
    19: 15,
    12: 17,
    11: 18,
}


def label16(height: int = 6, width: int = 10) -> np.ndarray:
    """Class ids 0 to 22 in the first channel, instance numbers in the second."""
    ids = np.arange(height * width).reshape(height, width) % 23
    return np.stack([ids, 1000 + ids, np.zeros_like(ids)], axis=2).astype(np.uint16)


@pytest.fixture
def root(tmp_path):
    for number in range(2):
        makers.save(f"{tmp_path}/RAND_CITYSCAPES/RGB/{number:07d}.png", makers.texture(6, 10, number))
        folder = tmp_path / "RAND_CITYSCAPES/GT/LABELS"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:07d}.png").write_bytes(makers.png16(label16()))
    return tmp_path


def test_pillow_does_read_these_files_wrongly(root):
    wrong = np.asarray(Image.open(root / "RAND_CITYSCAPES/GT/LABELS/0000000.png"))
    assert not np.array_equal(wrong[..., 0], label16()[..., 0])


@pytest.mark.parametrize("below", ["", "RAND_CITYSCAPES"])
def test_the_class_is_the_first_of_16_bit_channels(root, below, tmp_path):
    report = conversion.convert(base.find("synthia", root=str(root / below)), f"{tmp_path}/out")
    assert report.problems == report.changes == ()
    expected = np.vectorize(lambda i: PUBLISHED.get(i, 255))(label16()[..., 0])
    records = list(tfrecord.read_shard(report.manifest.shard_paths[0]))
    assert [record.filename for record in records] == ["0000000.png", "0000001.png"]
    for record in records:
        np.testing.assert_array_equal(read_ids(record.label), expected)
    assert report.manifest.label_space.name == "cityscapes19"


def test_ids_that_synthia_does_not_have_are_a_bad_pair_or_ignored(root, tmp_path):
    label = label16()
    label[0, :3, 0] = [23, 255, 3 + 256]  # only a true 16-bit reader sees that the last is not 3
    (root / "RAND_CITYSCAPES/GT/LABELS/0000000.png").write_bytes(makers.png16(label))
    dataset = base.find("synthia", root=str(root))
    with pytest.raises(InputError, match=r"0000000.png: has ids \[23, 255, 259\] that SYNTHIA does not have.*0 to 22"):
        conversion.convert(dataset, f"{tmp_path}/out")
    manifest = conversion.convert(dataset, f"{tmp_path}/out", ignore_unknown=True).manifest
    first = next(tfrecord.read_shard(manifest.shard_paths[0]))
    expected = np.vectorize(lambda i: PUBLISHED.get(i, 255))(label[..., 0])
    np.testing.assert_array_equal(read_ids(first.label), expected)


def test_records_know_that_three_of_the_19_classes_cannot_be_labelled(root, tmp_path):
    manifest = conversion.convert(base.find("synthia", root=str(root)), f"{tmp_path}/out").manifest
    assert Manifest.load(manifest.folder).classes == CITYSCAPES16.names
    with pytest.raises(InputError, match="lacks: terrain, truck, train: choose a space made of road, sidewalk"):
        manifest.label_map(CITYSCAPES19)
    np.testing.assert_array_equal(manifest.label_map(CITYSCAPES16), CITYSCAPES19.subset_map(CITYSCAPES16))


def test_colour_labels_and_broken_files_are_refused():
    with pytest.raises(InputError, match="must be a 16-bit RGB PNG"):
        synthia.read_label(Image.fromarray(np.zeros((2, 2, 3), np.uint8)).tobytes())
    with pytest.raises(InputError, match="cannot be read as an image"):
        synthia.read_label(makers.png16(label16())[:60])
