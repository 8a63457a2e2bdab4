import shutil

import numpy as np
import pytest

from fada_tf.data import conversion, tfrecord, verification
from fada_tf.data.datasets import base
from fada_tf.data.labels import CITYSCAPES_ID_MAP
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

BETAS = ("0.005", "0.01", "0.02")
FRAMES = ["aachen/aachen_000000_000019", "ulm/ulm_000001_000019"]
IDS = (np.arange(128).reshape(8, 16) % 34).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    for frame in FRAMES:
        for folder in ("leftImg8bit_foggy", "leftImg8bit_foggyDBF"):
            for seed, beta in enumerate(BETAS):
                image = makers.texture(8, 16, seed)
                makers.save(f"{tmp_path}/{folder}/train/{frame}_leftImg8bit_foggy_beta_{beta}.png", image)
        makers.save(f"{tmp_path}/leftImg8bit/train/{frame}_leftImg8bit.png", makers.texture(8, 16, 9))
        makers.save(f"{tmp_path}/gtFine/train/{frame}_gtFine_labelIds.png", IDS)
        makers.save(f"{tmp_path}/gtFine/train/{frame}_gtFine_color.png", makers.texture(8, 16))
    return tmp_path


@pytest.mark.parametrize("seed", range(3))
def test_one_density_of_fog_has_the_labels_of_cityscapes(root, seed):
    dataset = base.find("foggy_cityscapes", root=str(root), split="train", beta=BETAS[seed])
    report = conversion.convert(dataset, f"{root}/out")
    assert report.problems == report.changes == ()
    records = list(tfrecord.read_shard(report.manifest.shard_paths[0]))
    endings = [f"{frame}_leftImg8bit_foggy_beta_{BETAS[seed]}.png" for frame in FRAMES]
    assert [record.filename for record in records] == endings
    for record in records:
        np.testing.assert_array_equal(tfrecord.decode_image(record.image), makers.texture(8, 16, seed))
        np.testing.assert_array_equal(read_ids(record.label), CITYSCAPES_ID_MAP[IDS])
    assert verification.verify(f"{root}/out").num_records == 2


def test_the_densest_fog_is_the_default_and_labels_may_be_missing(root):
    shutil.rmtree(root / "gtFine")
    options = {"root": str(root), "split": "train", "images": "leftImg8bit_foggyDBF"}
    dataset = base.find("foggy_cityscapes", **options)
    assert dataset.labels is None and dataset.problems == ()
    assert [pair.image for pair in dataset.pairs] == [
        f"{root}/leftImg8bit_foggyDBF/train/{frame}_leftImg8bit_foggy_beta_0.02.png" for frame in FRAMES
    ]


def test_a_lonely_file_is_reported(root):
    name = f"{FRAMES[0]}_leftImg8bit_foggy_beta_0.01.png"
    (root / "leftImg8bit_foggy/train" / name).unlink()
    label = f"{root}/gtFine/train/{FRAMES[0]}_gtFine_labelIds.png"
    dataset = base.find("foggy_cityscapes", root=str(root), split="train", beta="0.01")
    assert dataset.problems == (f"{label}: has no image in {root}/leftImg8bit_foggy/train",)


def test_other_values_of_the_options_are_errors(root):
    for options, message in (
        ({"split": "dev"}, "no split 'dev': use train, val, test"),
        ({"split": "train", "beta": "0.1"}, "no beta '0.1': use 0.005, 0.01, 0.02"),
        ({"split": "train", "images": "leftImg8bit"}, "no images 'leftImg8bit': use leftImg8bit_foggy"),
    ):
        with pytest.raises(InputError, match=message):
            base.find("foggy_cityscapes", root=str(root), **options)
