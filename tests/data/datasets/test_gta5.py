import os

import numpy as np
import pytest
from PIL import Image

from fada_tf.data import conversion, tfrecord
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids


@pytest.fixture
def root(tmp_path):
    """Frames 1 to 6: palette labels; frame 3 lacks its label, frame 5's label has another size."""
    for number in range(1, 7):
        makers.save(f"{tmp_path}/images/{number:05d}.png", makers.texture(8, 12, number))
        if number != 3:
            ids = np.arange(96).reshape(8, 12) % 35
            label = Image.fromarray((ids if number != 5 else ids[:4]).astype(np.uint8))
            label.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
            os.makedirs(tmp_path / "labels", exist_ok=True)
            label.save(tmp_path / "labels" / f"{number:05d}.png")
    return tmp_path


def test_palette_labels_become_train_ids_and_known_bad_frames_are_reported(root):
    dataset = base.find("gta5", root=str(root))
    with pytest.raises(InputError, match="1 bad pair,") as error:
        conversion.convert(dataset, f"{root}/out")
    report = conversion.convert(dataset, f"{root}/out", skip_bad=True)
    assert report.problems == (
        f"{root}/images/00003.png: has no label in {root}/labels",
        f"{root}/labels/00005.png: is 12x4 but its image {root}/images/00005.png is 12x8 pixels",
    )
    assert report.problems[0] in str(error.value)
    assert report.manifest.label_space.name == "cityscapes19"
    official = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13}
    official |= {27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    expected = np.vectorize(lambda i: official.get(i, 255))(np.arange(96).reshape(8, 12) % 35)
    records = list(tfrecord.read_shard(report.manifest.shard_paths[0]))
    assert [record.filename for record in records] == ["00001.png", "00002.png", "00004.png", "00006.png"]
    for record in records:
        np.testing.assert_array_equal(read_ids(record.label), expected)


@pytest.mark.parametrize("place", ["split.mat", "read_mapping/split.mat"])
def test_the_authors_split_is_honoured(root, place):
    io = pytest.importorskip("scipy.io")
    os.makedirs((root / place).parent, exist_ok=True)
    io.savemat(root / place, {"trainIds": [[1], [6]], "valIds": [[2]], "testIds": [[4], [9]]})
    names = {
        split: [pair.name for pair in base.find("gta5", root=str(root), split=split).pairs]
        for split in ("train", "val")
    }
    assert names == {"train": ["00001.png", "00006.png"], "val": ["00002.png"]}
    test = base.find("gta5", root=str(root), split="test")
    assert test.problems == (f"00009: is listed in {root}/{place} but there is no such pair",)


def test_a_split_without_its_file_and_an_unknown_one_are_errors(root):
    with pytest.raises(InputError, match=r"needs the authors' split\.mat"):
        base.find("gta5", root=str(root), split="train")
    with pytest.raises(InputError, match="no split 'dev': use all, train, val, test"):
        base.find("gta5", root=str(root), split="dev")
