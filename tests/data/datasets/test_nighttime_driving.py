import numpy as np
import pytest

from fada_tf.data import conversion, tfrecord
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids

IDS = np.array([[*range(19), 255]], np.uint8)
FRAMES = ("0_frame_0205", "1_frame_0001")


@pytest.fixture
def root(tmp_path):
    for frame in FRAMES:
        folder = tmp_path / "NighttimeDrivingTest"
        makers.save(f"{folder}/leftImg8bit/test/night/{frame}_leftImg8bit.png", makers.texture(1, 20))
        for ending, ids in (("labelTrainIds", IDS), ("labelIds", IDS + 7), ("color", makers.texture(1, 20))):
            makers.save(f"{folder}/gtCoarse_daytime_trainvaltest/test/night/{frame}_gtCoarse_{ending}.png", ids)
    return tmp_path


@pytest.mark.parametrize("below", ["", "NighttimeDrivingTest"])
def test_images_at_night_have_labels_in_a_folder_called_daytime(root, below):
    manifest = conversion.convert(base.find("nighttime_driving", root=f"{root}/{below}"), f"{root}/out").manifest
    expected = [f"test/night/{frame}_leftImg8bit.png" for frame in FRAMES]
    assert [entry.filename for entry in manifest.entries] == expected
    for record in tfrecord.read_shard(manifest.shard_paths[0]):
        np.testing.assert_array_equal(read_ids(record.label), IDS)


def test_another_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no such folder: \S+/leftImg8bit/test/night: check --root"):
        base.find("nighttime_driving", root=str(tmp_path))
