import shutil

import numpy as np
import pytest

from fada_tf.data import conversion, tfrecord
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

IDS = np.array([[*range(19), 255]], np.uint8)
NEWER = "images/10k/{split}/{name}.jpg", "labels/sem_seg/masks/{split}/{name}.png"
OLDER = "seg/images/{split}/{name}.jpg", "seg/labels/{split}/{name}_train_id.png"
DEPTHS = {  # release: folders of images and of labels below the root
    NEWER: [
        ("", ""),
        ("bdd100k", "bdd100k"),
        ("bdd100k_images_10k/bdd100k", "bdd100k_sem_seg_labels_trainval/bdd100k"),
    ],
    OLDER: [("", ""), ("bdd100k", "bdd100k"), ("bdd100k_seg/bdd100k", "bdd100k_seg/bdd100k")],
}
NAMES = ("0a0a0b1a-7c39d841", "7d2f7975-e0c1c5a7")


def write(root, release: tuple[str, str], depth: tuple[str, str] = ("", ""), splits=("train", "val", "test")):
    for split in splits:
        for name in NAMES:
            image, label = (f"{root}/{depth[i]}/{release[i].format(split=split, name=name)}" for i in range(2))
            makers.save(image, makers.texture(1, 20))
            if split != "test":
                makers.save(label, IDS)
                for kind in ("color_labels", "colormaps"):  # lie beside, and are no ids
                    makers.save(
                        label.replace("seg/labels", f"seg/{kind}").replace("masks", kind), makers.texture(1, 20)
                    )


@pytest.mark.parametrize(("release", "depth"), [(release, depth) for release in DEPTHS for depth in DEPTHS[release]])
def test_both_releases_are_read(tmp_path, release, depth):
    write(tmp_path, release, depth)
    manifest = conversion.convert(base.find("bdd100k", root=str(tmp_path), split="val"), f"{tmp_path}/out").manifest
    assert [entry.filename for entry in manifest.entries] == [f"val/{name}.jpg" for name in NAMES]
    for record in tfrecord.read_shard(manifest.shard_paths[0]):
        np.testing.assert_array_equal(read_ids(record.label), IDS)
    test = base.find("bdd100k", root=str(tmp_path), split="test")
    assert test.labels is None and len(test.pairs) == 2


def test_of_two_releases_the_newer_one_is_taken_unless_it_lacks_the_labels(tmp_path):
    write(tmp_path, NEWER)
    write(tmp_path, OLDER)
    assert "/images/10k/train/" in base.find("bdd100k", root=str(tmp_path), split="train").pairs[0].image
    shutil.rmtree(tmp_path / "labels")
    assert "/seg/images/train/" in base.find("bdd100k", root=str(tmp_path), split="train").pairs[0].image
    assert "/images/10k/test/" in base.find("bdd100k", root=str(tmp_path), split="test").pairs[0].image


def test_what_there_is_not_is_an_error(tmp_path):
    with pytest.raises(InputError, match="BDD100K has no split 'dev': use train, val, test"):
        base.find("bdd100k", root=str(tmp_path), split="dev")
    with pytest.raises(InputError, match=r"no such folder: \S+/images/10k/val: check --root"):
        base.find("bdd100k", root=str(tmp_path), split="val")
