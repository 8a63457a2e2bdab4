import numpy as np
import pytest
from PIL import Image

from fada_tf.data import conversion, tfrecord, verification
from fada_tf.data.datasets import base
from fada_tf.data.labels import CITYSCAPES_ID_MAP
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

IDS = (np.arange(45 * 90).reshape(45, 90) // 7 % 34).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    for number in (1, 25000):
        makers.save(f"{tmp_path}/Synscapes/img/rgb/{number}.png", makers.texture(45, 90))
        makers.save(f"{tmp_path}/Synscapes/img/rgb-2k/{number}.png", makers.texture(64, 128))
        makers.save(f"{tmp_path}/Synscapes/img/class/{number}.png", IDS)
        makers.save(f"{tmp_path}/Synscapes/img/instance/{number}.png", makers.texture(45, 90))
    return tmp_path


@pytest.mark.parametrize("below", ["", "Synscapes"])
def test_label_ids_become_train_ids(root, below):
    report = conversion.convert(base.find("synscapes", root=str(root / below)), f"{root}/out")
    assert report.problems == report.changes == ()
    records = list(tfrecord.read_shard(report.manifest.shard_paths[0]))
    assert [record.filename for record in records] == ["1.png", "25000.png"]
    for record in records:
        np.testing.assert_array_equal(read_ids(record.label), CITYSCAPES_ID_MAP[IDS])
    assert verification.verify(f"{root}/out").num_records == 2


def test_labels_of_the_larger_images_are_enlarged(root):
    dataset = base.find("synscapes", root=str(root), images="rgb-2k")
    manifest = conversion.convert(dataset, f"{root}/out").manifest
    first = next(tfrecord.read_shard(manifest.shard_paths[0]))
    assert (first.height, first.width) == (64, 128)
    expected = np.asarray(Image.fromarray(IDS).resize((128, 64), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(read_ids(first.label), CITYSCAPES_ID_MAP[expected])


def test_what_synscapes_does_not_have_is_refused(root):
    with pytest.raises(InputError, match="Synscapes has no images 'rgb-4k': use rgb, rgb-2k"):
        base.find("synscapes", root=str(root), images="rgb-4k")
    makers.save(f"{root}/Synscapes/img/class/1.png", np.full((45, 90), 34, np.uint8))
    with pytest.raises(InputError, match=r"1.png: has ids \[34\] that Cityscapes, whose ids these labels have"):
        conversion.convert(base.find("synscapes", root=str(root)), f"{root}/out")
