import numpy as np
import pytest

from fada_tf.data import relabelling, tfrecord
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.makers import read_ids


def constant(value):
    def labeller(records):
        for record in records:
            yield np.full((record.height, record.width), value, np.uint8)

    return labeller


@pytest.mark.parametrize("labels", [True, False])
def test_images_stay_and_labels_are_the_new_ones(tmp_path, labels):
    old = makers.records(tmp_path, labels=labels)
    new = relabelling.relabel(old.folder, str(tmp_path / "new"), makers.THREE_CLASSES, constant(1), labeller_id="ones")
    assert [shard.file for shard in new.shards] == [shard.file for shard in old.shards]
    for old_path, new_path, shard in zip(old.shard_paths, new.shard_paths, new.shards, strict=True):
        records = zip(tfrecord.read_shard(old_path), tfrecord.read_shard(new_path), shard.entries, strict=True)
        for before, after, entry in records:
            assert (after.filename, after.image, after.height) == (before.filename, before.image, before.height)
            assert (read_ids(after.label) == 1).all()
            assert entry.pixels == (0, after.height * after.width, 0, 0)


def test_another_model_or_other_records_are_not_mixed(tmp_path):
    old = makers.records(tmp_path, labels=False)
    for _ in range(2):
        relabelling.relabel(old.folder, str(tmp_path / "new"), makers.THREE_CLASSES, constant(1), labeller_id="a")
    with pytest.raises(InputError, match="holds other records"):
        relabelling.relabel(old.folder, str(tmp_path / "new"), makers.THREE_CLASSES, constant(1), labeller_id="b")


def test_a_labeller_must_label_every_record(tmp_path):
    old = makers.records(tmp_path, labels=False)
    with pytest.raises(ValueError, match="zip"):
        relabelling.relabel(
            old.folder, str(tmp_path / "new"), makers.THREE_CLASSES, lambda records: iter(()), labeller_id="none"
        )
