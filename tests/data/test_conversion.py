import json
import os
from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fada_tf.data import conversion, files, tfrecord, transforms, verification
from fada_tf.data.datasets import base
from fada_tf.data.datasets.base import DataSet, Pair
from fada_tf.data.manifest import MANIFEST_NAME, Manifest, digest
from fada_tf.errors import InputError
from tests.data import makers
from tests.data.datasets import test_coco as coco
from tests.data.makers import read_ids


def convert(dataset, tmp_path, name="records", **options):
    return conversion.convert(dataset, str(tmp_path / name), **options)


def read(manifest) -> dict[str, tfrecord.Record]:
    return {r.filename: r for path in manifest.shard_paths for r in tfrecord.read_shard(path)}


def test_nothing_is_lost(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=7)
    report = convert(dataset, tmp_path, num_shards=3)
    assert report.problems == report.changes == ()
    records = read(report.manifest)
    assert list(records) == [pair.name for pair in dataset.pairs] == [e.filename for e in report.manifest.entries]
    for pair, entry in zip(dataset.pairs, report.manifest.entries, strict=True):
        record = records[pair.name]
        with open(pair.image, "rb") as file:
            assert record.image == file.read()
        expected = makers.THREE_IDS[np.asarray(Image.open(pair.label))]
        np.testing.assert_array_equal(read_ids(record.label), expected)
        assert entry.pixels == tuple(np.count_nonzero(expected == i) for i in (0, 1, 2, 255))


def test_shards_are_deterministic_and_even(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=7)
    first, second = (convert(dataset, tmp_path, name, num_shards=3).manifest for name in ("a", "b"))
    assert [len(shard.entries) for shard in first.shards] == [2, 2, 3]
    assert first.shards == second.shards


def test_all_bad_pairs_are_reported_together_before_anything_is_written(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=8)
    pairs = list(dataset.pairs)
    os.remove(pairs[0].image)
    os.truncate(pairs[1].image, 60)
    makers.save(pairs[2].label, np.zeros((3, 3), np.uint8))
    makers.save(pairs[3].label, np.full((15, 22), 77, np.uint8))
    makers.save(pairs[4].label, np.full((16, 24, 3), (9, 8, 7), np.uint8))
    os.remove(pairs[5].label)
    with pytest.raises(InputError) as error:
        convert(dataset, tmp_path)
    first, *lines = str(error.value).splitlines()
    assert first == "6 bad pairs, nothing was written; mend them or leave them out with --skip_bad:"
    assert lines == [
        f"  {pairs[0].image}: cannot be read (No such file or directory)",
        lines[1],
        f"  {pairs[2].label}: is 3x3 but its image {pairs[2].image} is 20x14 pixels",
        f"  {pairs[3].label}: has ids [77] that the class file lists neither in a class nor in ignore_ids; "
        "mend it, or take such pixels as ignored with --unknown_ids=ignore",
        f"  {pairs[4].label}: has colours [[9, 8, 7]] that no class, or more than one, has; "
        "mend it, or take such pixels as ignored with --unknown_ids=ignore",
        f"  {pairs[5].label}: cannot be read (No such file or directory)",
    ]
    assert lines[1].startswith(f"  {pairs[1].image}: cannot be read as an image")
    assert not os.path.exists(tmp_path / "records")

    report = convert(replace(dataset, problems=("lonely.png: has no label",)), tmp_path, skip_bad=True)
    assert report.problems == ("lonely.png: has no label", *(line.strip() for line in lines))
    assert list(read(report.manifest)) == ["006.png", "007.png"]


def test_nothing_left_is_an_error_even_when_skipping(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=1)
    os.remove(dataset.pairs[0].image)
    with pytest.raises(InputError, match="no image is left to convert"):
        convert(dataset, tmp_path, skip_bad=True)
    with pytest.raises(InputError, match="no image is left to convert"):
        convert(DataSet(()), tmp_path)


def test_more_shards_than_images_is_an_error(tmp_path):
    with pytest.raises(InputError, match="num_shards=3 is more than the 2 images"):
        convert(makers.labelled_dataset(tmp_path, count=2), tmp_path, num_shards=3)


def test_only_the_listed_images(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=4)
    report = convert(dataset, tmp_path, only=["003", "001.png"])
    assert list(read(report.manifest)) == ["001.png", "003.png"]
    with pytest.raises(InputError, match="009: is listed in the list of names but there is no such pair"):
        convert(dataset, tmp_path, "other", only=["001", "009"])


def test_altered_images_are_reported(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=2)
    makers.save(dataset.pairs[1].image, makers.texture(13, 18)[..., 0])
    report = convert(dataset, tmp_path)
    assert report.changes == (f"{dataset.pairs[1].image}: L made RGB",)


def test_resizing_at_conversion_gives_the_pixels_of_resizing_while_training(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=2, suffix=".jpg")
    for record, pair in zip(
        read(convert(dataset, tmp_path, resize=(9, 11)).manifest).values(), dataset.pairs, strict=True
    ):
        assert (record.image_format, record.height, record.width) == ("png", 9, 11)
        with open(pair.image, "rb") as file:
            expected = transforms.resize_image(tfrecord.decode_image(file.read()), (9, 11))
        np.testing.assert_array_equal(tfrecord.decode_image(record.image), expected)
        label = makers.THREE_IDS[np.asarray(Image.open(pair.label))]
        np.testing.assert_array_equal(read_ids(record.label), transforms.resize_label(label, (9, 11)))


def test_the_same_folder_with_changed_inputs_is_refused(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=3)
    convert(dataset, tmp_path)
    convert(dataset, tmp_path)
    label = np.asarray(Image.open(dataset.pairs[0].label)).copy()
    label[0, 0] = 2 if label[0, 0] == 0 else 0
    makers.save(dataset.pairs[0].label, label)
    with pytest.raises(InputError, match="holds other records"):
        convert(dataset, tmp_path)


def test_inputs_may_be_remote(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=2)
    pairs = []
    for pair in dataset.pairs:
        remote = Pair(pair.name, f"ram://in/{pair.name}", f"ram://in/label_{pair.name}")
        tf.io.gfile.copy(pair.image, remote.image, overwrite=True)
        tf.io.gfile.copy(pair.label, remote.label, overwrite=True)
        pairs.append(remote)
    report = convert(replace(dataset, pairs=tuple(pairs)), tmp_path, "remote")
    assert report.manifest.shards == convert(dataset, tmp_path, "local").manifest.shards
    missing = DataSet((Pair("x.png", "ram://in/none.png"),))
    with pytest.raises(InputError, match=r"ram://in/none\.png: cannot be read"):
        convert(missing, tmp_path, "missing")


def test_unicode_and_long_names(tmp_path):
    names = ["ünï/日本 語.png", "n" * 200 + ".png", "deep/" * 20 + "x.png"]
    pairs = tuple(
        Pair(name, makers.save(f"{tmp_path}/{name}", makers.texture(4, 5, i))) for i, name in enumerate(names)
    )
    assert list(read(convert(DataSet(pairs), tmp_path).manifest)) == names


def test_a_name_that_is_not_utf8_is_a_bad_pair(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    path = makers.save(f"{tmp_path}/{name}", makers.texture(4, 5))
    with pytest.raises(InputError, match=r"caf\\xe9.png': the name is not UTF-8: rename the file"):
        convert(DataSet((Pair(name, path),)), tmp_path)


def test_missing_partners_are_reported_before_anything_is_read(tmp_path):
    dataset = replace(makers.labelled_dataset(tmp_path, count=2), problems=("lonely.png: has no label",))

    def workers(function, tasks, *, title):
        raise AssertionError(f"{title} was begun")

    with pytest.raises(InputError, match=r"1 bad pair, nothing was written.*\n  lonely\.png: has no label"):
        convert(dataset, tmp_path, workers=workers)


def test_what_was_checked_is_not_read_again(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=5)
    os.truncate(dataset.pairs[1].image, 60)
    checked = []

    def workers(function, tasks, *, title):
        if title == "check":
            checked.append([pair.name for pair in tasks])
        return [function(task) for task in tasks]

    with pytest.raises(InputError, match="1 bad pair,"):
        convert(dataset, tmp_path, workers=workers)
    assert checked.pop() == [pair.name for pair in dataset.pairs]
    makers.save(dataset.pairs[3].label, np.full((15, 22), 77, np.uint8))
    report = convert(dataset, tmp_path, skip_bad=True, workers=workers)
    assert checked.pop() == ["001.png", "003.png"]  # what was bad, and what has changed
    assert len(report.problems) == 2 and list(read(report.manifest)) == ["000.png", "002.png", "004.png"]
    assert sorted(os.listdir(tmp_path)) == ["images", "labels", "records"]
    convert(dataset, tmp_path, "other", skip_bad=True, workers=workers)
    assert len(checked.pop()) == 5  # another output


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": 1}', '{"settings": "", "pairs": {"000.png": [1]}}'])
def test_a_damaged_note_of_what_was_checked_is_not_followed(tmp_path, text):
    (tmp_path / "records.checked.json").write_text(text)
    assert convert(makers.labelled_dataset(tmp_path, count=2), tmp_path).manifest.num_records == 2
    assert not (tmp_path / "records.checked.json").exists()


def test_a_file_that_could_not_be_read_is_tried_again(tmp_path, monkeypatch):
    dataset = makers.labelled_dataset(tmp_path, count=2)

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_bytes", refuse)
        with pytest.raises(InputError, match=r"(?s)2 bad pairs.*Permission denied"):
            convert(dataset, tmp_path)
    assert convert(dataset, tmp_path).manifest.num_records == 2


def test_other_settings_check_anew(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=1)
    makers.save(dataset.pairs[0].label, np.full((12, 16), 77, np.uint8))
    with pytest.raises(InputError, match=r"has ids \[77\]"):
        convert(dataset, tmp_path)
    assert convert(dataset, tmp_path, ignore_unknown=True).manifest.entries[0].pixels == (0, 0, 0, 192)


def test_older_records_learn_their_classes_without_being_written_anew(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=2)
    manifest = convert(dataset, tmp_path).manifest
    assert manifest.labelled == ("road", "car", "sky")
    path = os.path.join(manifest.folder, MANIFEST_NAME)
    values = files.read_json(path)
    del values["labelled"]
    files.write_atomically(path, json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode())
    before = [digest(manifest.folder), digest(manifest.folder, with_classes=True)]
    assert before == [files.sha256(path)] * 2  # as the provenance of older runs has it
    written = [os.stat(path).st_mtime_ns for path in manifest.shard_paths]
    assert convert(dataset, tmp_path).manifest == manifest
    assert [digest(manifest.folder), digest(manifest.folder, with_classes=True)] == before
    assert [os.stat(path).st_mtime_ns for path in manifest.shard_paths] == written


def test_results_may_come_back_as_json(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=3)

    def workers(function, tasks, *, title):
        return json.loads(json.dumps([function(task) for task in tasks]))

    manifest = convert(dataset, tmp_path, "one", workers=workers).manifest
    assert manifest.shards == convert(dataset, tmp_path, "other").manifest.shards
    verification.verify(manifest.folder, workers)


@pytest.mark.parametrize("options", [{}, {"skip_bad": True}])
def test_an_output_whose_parent_takes_no_file_is_no_hindrance(tmp_path, monkeypatch, options):
    def fail(path, data):
        if path.endswith(".checked.json"):
            raise PermissionError(13, "Permission denied", path)
        write(path, data)

    write = files.write_atomically
    monkeypatch.setattr(files, "write_atomically", fail)
    assert convert(makers.labelled_dataset(tmp_path, count=2), tmp_path, **options).manifest.num_records == 2


def test_problems_are_one_printable_line_whatever_the_names(tmp_path):
    name = os.fsdecode(b"caf\xe9\x1b[2J.png")
    dataset = makers.labelled_dataset(tmp_path, count=1)
    report = convert(replace(dataset, problems=(f"{name}: has no label",)), tmp_path, skip_bad=True)
    assert report.problems == (r"caf\udce9\x1b[2J.png: has no label",)


def test_classes_that_no_label_shows_are_said(tmp_path):
    dataset = makers.labelled_dataset(tmp_path, count=1)
    makers.save(dataset.pairs[0].label, np.full((12, 16), 1, np.uint8))
    assert convert(dataset, tmp_path, "one").remarks == ("no label has a pixel of road, sky",)
    makers.save(dataset.pairs[0].label, np.full((12, 16), 9, np.uint8))
    assert "no label has a pixel of any class" in convert(dataset, tmp_path, "none").remarks[0]


@hypothesis.given(st.data())
def test_whatever_the_sizes_channels_and_ids_a_pair_is_stored_whole_or_reported(tmp_path_factory, data):
    tmp_path = tmp_path_factory.mktemp("any")
    sizes = st.integers(1, 12)
    height, width = data.draw(sizes), data.draw(sizes)
    mode = data.draw(st.sampled_from(["RGB", "L", "RGBA", "CMYK", "P", "I;16", "1"]))
    label_size = data.draw(st.sampled_from([(height, width), (width, height), (height + 1, width)]))
    ids = data.draw(st.lists(st.sampled_from([0, 1, 2, 9, 255, 3, 254]), min_size=1, max_size=4))
    array = makers.texture(height, width)
    image = Image.fromarray(array[..., 0].astype(np.uint16)) if mode == "I;16" else Image.fromarray(array).convert(mode)
    suffix = "jpg" if mode == "CMYK" else "png"
    image.save(tmp_path / f"a.{suffix}")
    label = np.resize(np.array(ids, np.uint8), label_size)
    pair = Pair(f"a.{suffix}", str(tmp_path / f"a.{suffix}"), makers.save(f"{tmp_path}/label.png", label))
    dataset = DataSet((pair,), makers.THREE)
    bad = mode == "I;16" or label_size != (height, width) or not set(label.ravel()) <= {0, 1, 2, 9, 255}
    if bad:
        with pytest.raises(InputError, match="1 bad pair,"):
            convert(dataset, tmp_path)
        return
    report = convert(dataset, tmp_path)
    record = read(report.manifest)[pair.name]
    decoded = tfrecord.decode_image(record.image).numpy()
    np.testing.assert_array_equal(decoded, np.asarray(Image.open(pair.image).convert("RGB")))
    np.testing.assert_array_equal(read_ids(record.label), makers.THREE_IDS[label])
    assert bool(report.changes) == (mode != "RGB")
    assert sum(report.manifest.entries[0].pixels) == height * width


def test_what_one_file_says_of_an_image_is_checked_anew_where_it_changed(tmp_path):
    options = coco.write(tmp_path, [])
    makers.save(f"{tmp_path}/val2017/bad.jpg", makers.texture(4, 4))
    wrong = {"id": 9, "file_name": "bad.jpg", "height": 4, "width": 4}
    right = {"id": 7, "file_name": "000000000007.jpg", "height": coco.HEIGHT, "width": coco.WIDTH}

    def convert(name: str, category: int, *, mended: bool) -> Manifest:
        annotations = [coco.segment(category, [coco.BOX]), coco.segment(category if mended else 5, [coco.BOX], image=9)]
        coco.write(tmp_path, annotations, images=[right, wrong])
        os.utime(tmp_path / "val2017/000000000007.jpg", ns=(1, 1))  # as if it were still the same file
        return conversion.convert(base.find("coco", **options), f"{tmp_path}/{name}").manifest

    with pytest.raises(InputError, match="1 bad pair,"):
        convert("out", 1, mended=False)  # of the other pair it is kept what was found
    assert convert("out", 3, mended=True).job == convert("fresh", 3, mended=True).job
    assert convert("fresh", 3, mended=True).job != convert("other", 1, mended=True).job
