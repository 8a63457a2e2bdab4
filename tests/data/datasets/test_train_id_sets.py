"""The data sets of Cityscapes' classes, resized and verified, by the program too."""

import numpy as np
import pytest

from fada_tf.data import conversion, tfrecord, verification
from fada_tf.data.datasets import base
from fada_tf.data.labels import CITYSCAPES_ID_MAP
from tests.data import makers
from tests.data.makers import read_ids
from tests.processes import run

IDS = np.array([[*range(19), 255]], np.uint8)
LABEL_IDS = np.append(np.flatnonzero(CITYSCAPES_ID_MAP[:34] < 19), 0).astype(np.uint8)[None]
SETS = {  # name: options, an image, its label
    "acdc": (
        {"split": "val", "condition": "night"},
        "rgb_anon/night/val/GOPR0356/GOPR0356_frame_000321_rgb_anon.png",
        "gt/night/val/GOPR0356/GOPR0356_frame_000321_gt_labelTrainIds.png",
    ),
    "bdd100k": (
        {"split": "val"},
        "images/10k/val/7d2f7975-e0c1c5a7.jpg",
        "labels/sem_seg/masks/val/7d2f7975-e0c1c5a7.png",
    ),
    "dark_zurich": (
        {"split": "val"},
        "rgb_anon/val/night/GOPR0356/GOPR0356_frame_000321_rgb_anon.png",
        "gt/val/night/GOPR0356/GOPR0356_frame_000321_gt_labelTrainIds.png",
    ),
    "foggy_cityscapes": (
        {"split": "val", "beta": "0.01"},
        "leftImg8bit_foggy/val/lindau/lindau_000000_000019_leftImg8bit_foggy_beta_0.01.png",
        "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png",
    ),
    "muses": (
        {"split": "val", "condition": "fog/night"},
        "frame_camera/val/fog/night/REC0006_frame_083390_frame_camera.png",
        "gt_semantic/val/fog/night/REC0006_frame_083390_gt_labelTrainIds.png",
    ),
    "nighttime_driving": (
        {},
        "leftImg8bit/test/night/0_frame_0205_leftImg8bit.png",
        "gtCoarse_daytime_trainvaltest/test/night/0_frame_0205_gtCoarse_labelTrainIds.png",
    ),
    "synscapes": ({}, "img/rgb/1.png", "img/class/1.png"),
}


def write(root, name: str) -> dict[str, str]:
    """Writes an image of 2x20 pixels and its label; returns the options that find them."""
    options, image, label = SETS[name]
    makers.save(f"{root}/{image}", makers.texture(2, 20))
    ids = LABEL_IDS if name in ("foggy_cityscapes", "synscapes") else IDS
    makers.save(f"{root}/{label}", np.repeat(ids, 2, axis=0))
    return {"root": str(root), **options}


@pytest.mark.parametrize("name", SETS)
def test_records_of_another_size_are_whole(name, tmp_path):
    dataset = base.find(name, **write(tmp_path, name))
    manifest = conversion.convert(dataset, f"{tmp_path}/out", resize=(4, 40)).manifest
    assert verification.verify(manifest.folder).num_records == 1
    (record,) = tfrecord.read_shard(manifest.shard_paths[0])
    np.testing.assert_array_equal(read_ids(record.label), np.repeat(np.repeat(IDS, 4, axis=0), 2, axis=1))


@pytest.mark.slow
def test_the_program_passes_condition_and_beta_on(tmp_path):
    options = write(tmp_path, "acdc")
    flags = [f"--{name}={value}" for name, value in options.items()]
    result = run(tmp_path, "make_tfrecords", "--dataset=acdc", *flags, "--resize=4x40", "--workers=1", "--output=out")
    assert "1 image with labels of cityscapes19" in result.stdout, result.stderr
    flags[-1] = "--condition=fog"
    result = run(tmp_path, "make_tfrecords", "--dataset=acdc", *flags, "--workers=1", "--output=other")
    assert result.returncode == 2 and "rgb_anon/fog/val: check --root" in result.stderr
    options = write(tmp_path, "foggy_cityscapes") | {"beta": "0.1"}
    flags = [f"--{name}={value}" for name, value in options.items()]
    result = run(tmp_path, "make_tfrecords", "--dataset=foggy_cityscapes", *flags, "--output=other")
    assert result.returncode == 2 and "Foggy Cityscapes has no beta '0.1'" in result.stderr
