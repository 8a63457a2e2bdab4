import os

import pytest

from fada_tf.data import shards, tfrecord
from fada_tf.data.manifest import Manifest
from fada_tf.errors import InputError


def records_of(group):
    for name in group:
        if name == "interrupt":
            raise KeyboardInterrupt
        yield tfrecord.Record(name, name.encode(), "png", 1, 1)


GROUPS = [["a", "b"], ["c"], ["d", "e"]]


def write(output, groups=GROUPS, job="job", **options):
    return shards.write(str(output), None, groups, records_of, job=job, **options)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_group_is_a_shard(tmp_path):
    manifest = write(tmp_path)
    assert [[r.filename for r in tfrecord.read_shard(path)] for path in manifest.shard_paths] == GROUPS
    assert Manifest.load(str(tmp_path)) == manifest
    assert sorted(os.listdir(tmp_path)) == ["manifest.json", *sorted(shard.file for shard in manifest.shards)]


def test_an_interrupted_job_keeps_its_finished_shards_and_ends_byte_identical(tmp_path):
    write(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cut", [["a", "b"], ["c"], ["d", "interrupt"]])
    first = tmp_path / "cut" / "records-00000-of-00003.tfrecord"
    assert "records-00002-of-00003.tfrecord" not in os.listdir(tmp_path / "cut")
    with pytest.raises(InputError, match="is not a finished conversion"):
        Manifest.load(str(tmp_path / "cut"))
    inode = first.stat().st_ino
    write(tmp_path / "cut")
    assert first.stat().st_ino == inode
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_shards_of_another_job_are_not_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cut", [["x", "y"], ["c"], ["interrupt"]], job="other")
    write(tmp_path / "cut")
    write(tmp_path / "whole")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_shard_without_its_note_is_written_again(tmp_path):
    write(tmp_path)
    expected = contents(tmp_path)
    os.remove(tmp_path / "manifest.json")
    (tmp_path / "records-00001-of-00003.tfrecord").write_bytes(b"half a sha")
    write(tmp_path)
    assert contents(tmp_path) == expected


def test_a_finished_job_is_left_alone_and_another_one_refused(tmp_path):
    write(tmp_path)
    before = (tmp_path / "manifest.json").read_bytes()
    write(
        tmp_path,
        workers=lambda function, tasks, title: [function(task) for task in tasks] and pytest.fail("worked again"),
    )
    assert (tmp_path / "manifest.json").read_bytes() == before
    with pytest.raises(InputError, match="holds other records"):
        write(tmp_path, job="other")


@pytest.mark.parametrize("damaged", [None, b"half a sha", "other bytes"])
def test_a_finished_folder_that_was_damaged_is_mended(tmp_path, damaged):
    write(tmp_path)
    expected = contents(tmp_path)
    shard = tmp_path / "records-00001-of-00003.tfrecord"
    if damaged is None:
        shard.unlink()
    else:
        shard.write_bytes(expected[shard.name][::-1] if damaged == "other bytes" else damaged)
    write(tmp_path)
    assert contents(tmp_path) == expected


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="out is a file: give a new or empty folder"):
        write(tmp_path / "out")


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"holds other files, such as thesis\.tex"):
        write(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_output_may_be_remote(tmp_path):
    write("ram://shards/out")
    write(tmp_path)
    for name, data in contents(tmp_path).items():
        if name != "manifest.json":
            import tensorflow as tf

            assert tf.io.gfile.GFile(f"ram://shards/out/{name}", "rb").read() == data
    assert Manifest.load("ram://shards/out").num_records == 5


@pytest.mark.slow
def test_worker_processes_give_the_same_bytes(tmp_path):
    write(tmp_path / "here")
    with shards.worker_pool(2) as workers:
        write(tmp_path / "pool", workers=workers)
    assert contents(tmp_path / "pool") == contents(tmp_path / "here")


def visible_gpus(task) -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_worker_processes_leave_gpus_alone():
    with shards.worker_pool(1) as workers:
        assert list(workers(visible_gpus, [0], title="look")) == ["-1"]


def die(task):
    os._exit(9)


def test_a_killed_worker_is_reported():
    with pytest.raises(InputError, match="a worker was killed"), shards.worker_pool(1) as workers:
        list(workers(die, [1], title="die"))
