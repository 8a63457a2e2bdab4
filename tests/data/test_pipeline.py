import functools

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.data import pipeline, transforms
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError
from tests.data import makers

CROP = transforms.Augmentation(
    10, 14, color_jitter=True, random_scale=(0.5, 1.5), base_height=12, base_width=18, crop=True, flip=True
)
RESIZE = transforms.Augmentation(10, 14)
# Cars stand in every third label, alone; a fifth of the first crops shows them often enough.
RARE = {
    "augmentation": transforms.Augmentation(4, 4, base_height=12, base_width=18, crop=True, crop_class_pixels=6.0),
    "sampling_strategy": "rare_class",
    "sampling_options": {"temperature": 0.05, "min_pixels": 20},
}
CAR_AND_ROAD = LabelSpace("two", ("car", "road"), ((0, 0, 142), (128, 64, 128)))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return makers.records(tmp_path_factory.mktemp("labelled"), count=7, num_shards=3)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    return makers.records(tmp_path_factory.mktemp("unlabelled"), labels=False)


def train(manifest, label_space=makers.THREE_CLASSES, augmentation=CROP, batch_size=2, seed=3, **options):
    return pipeline.train_dataset(
        manifest.folder, label_space, augmentation, batch_size=batch_size, seed=seed, **options
    )


def batches(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


def assert_equal(batch, other):
    assert batch.keys() == other.keys()
    for key in batch:
        np.testing.assert_array_equal(batch[key], other[key])


def test_training_batches_have_the_promised_shapes_and_values(labelled):
    dataset = train(labelled)
    assert dataset.element_spec == {
        "image": tf.TensorSpec((2, 10, 14, 3), tf.uint8),
        "label": tf.TensorSpec((2, 10, 14), tf.uint8),
        "name": tf.TensorSpec((2,), tf.string),
        "draw": tf.TensorSpec((2,), tf.int64),
    }
    for number, batch in enumerate(batches(dataset, 10)):
        assert batch["image"].min() >= 0 and 1 < batch["image"].max() <= 255
        assert set(np.unique(batch["label"])) <= {0, 1, 2, 255}
        assert batch["draw"].tolist() == [2 * number, 2 * number + 1]


@pytest.mark.parametrize("strategy", [{"sampling_strategy": "shuffled"}, {"sampling_strategy": "class_balanced"}, RARE])
def test_resuming_at_a_draw_continues_bit_by_bit(labelled, strategy):
    whole = batches(train(labelled, **strategy), 8)
    for batch, expected in zip(batches(train(labelled, **strategy, start_draw=10), 3), whole[5:], strict=True):
        assert_equal(batch, expected)


def test_batch_size_changes_only_the_grouping(labelled):
    one_by_one, by_three = batches(train(labelled, batch_size=1), 6), batches(train(labelled, batch_size=3), 2)
    np.testing.assert_array_equal(
        np.concatenate([b["image"] for b in one_by_one]), np.concatenate([b["image"] for b in by_three])
    )


def test_parallelism_changes_nothing(labelled):
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.autotune.enabled = False
    for batch, expected in zip(
        batches(train(labelled).with_options(options), 6), batches(train(labelled), 6), strict=True
    ):
        assert_equal(batch, expected)


def test_a_repeated_record_is_augmented_anew_and_another_seed_differs(labelled):
    first, second = batches(train(labelled, batch_size=7), 2)
    assert sorted(first["name"]) == sorted(second["name"])
    again = {name: image for name, image in zip(second["name"], second["image"], strict=True)}
    assert all((image != again[name]).any() for name, image in zip(first["name"], first["image"], strict=True))
    other = batches(train(labelled, batch_size=7, seed=4), 1)[0]
    assert (other["image"] != first["image"]).any()


def test_images_and_labels_are_those_of_the_files(labelled):
    dataset = makers.labelled_dataset(f"{labelled.folder}/../again", count=7)
    pairs = {pair.name.encode(): pair for pair in dataset.pairs}
    options = transforms.Augmentation(12, 16)
    for batch in batches(train(labelled, augmentation=options, sampling_strategy="sequential", batch_size=1), 7):
        pair = pairs[batch["name"][0]]
        image = tf.io.decode_png(tf.io.read_file(pair.image))
        label = tf.io.decode_png(tf.io.read_file(pair.label))[..., 0].numpy()
        np.testing.assert_array_equal(batch["image"][0], transforms.resize_image(image, (12, 16)))
        expected = np.asarray(makers.THREE_IDS)[transforms.resize_label(label, (12, 16))]
        np.testing.assert_array_equal(batch["label"][0], expected)


def test_labels_are_mapped_to_a_subset_by_name(labelled):
    full = batches(train(labelled), 5)
    subset = batches(train(labelled, label_space=CAR_AND_ROAD), 5)
    table = np.full(256, 255)
    table[[0, 1]] = [1, 0]
    for batch, expected in zip(subset, full, strict=True):
        np.testing.assert_array_equal(batch["label"], table[expected["label"]])
        np.testing.assert_array_equal(batch["image"], expected["image"])


def test_a_target_needs_no_labels_and_ignores_those_it_has(labelled, unlabelled):
    for manifest in (labelled, unlabelled):
        assert "label" not in batches(train(manifest, label_space=None), 1)[0]
    with_labels, without = batches(train(labelled), 2), batches(train(labelled, label_space=None), 2)
    np.testing.assert_array_equal(with_labels[1]["image"], without[1]["image"])


def test_without_labels_valid_tells_where_they_would_be(labelled):
    # Higher and narrower than the images after their resize.
    size = {"height": 14, "width": 13, "base_height": 12, "base_width": 18, "crop": True, "flip": True}
    cut, inside = transforms.Augmentation(**size), transforms.Augmentation(**size, margins=(2, 3, 0, 5))
    dataset = train(labelled, None, cut)
    assert dataset.element_spec["valid"] == tf.TensorSpec((2, 14, 13), tf.uint8)
    assert "label" not in dataset.element_spec
    for batch, without_margins, with_label in zip(
        batches(dataset, 7),
        batches(train(labelled, None, inside), 7),
        batches(train(labelled, augmentation=inside), 7),
        strict=True,
    ):
        np.testing.assert_array_equal(batch["valid"], batch["image"].any(axis=-1))  # no pixel of a texture is black
        assert (batch["valid"].sum(axis=(1, 2)) == 12 * 13).all()
        np.testing.assert_array_equal(batch["image"], without_margins["image"])
        np.testing.assert_array_equal(batch["image"], with_label["image"])
        valid = without_margins["valid"]
        assert valid.sum() < batch["valid"].sum() and (valid <= batch["valid"]).all()
        # Some stored pixels have no label either.
        assert (with_label["label"][valid == 0] == 255).all() and (with_label["label"][valid == 1] != 255).any()
        assert "valid" not in with_label


def test_valid_is_left_out_where_it_would_be_everywhere(labelled):
    assert "valid" not in train(labelled, None, RESIZE).element_spec
    margins = transforms.Augmentation(10, 14, margins=(1, 0, 0, 0))
    assert (batches(train(labelled, None, margins), 1)[0]["valid"].sum(axis=(1, 2)) == 9 * 14).all()


@pytest.mark.parametrize("margins", [(6, 6, 0, 0), (0, 0, 20, 0)])
def test_more_margin_than_image_is_one_line_before_the_first_batch(labelled, margins):
    with pytest.raises(InputError) as error:
        train(labelled, augmentation=transforms.Augmentation(10, 14, margins=margins))
    top, bottom, left, right = margins
    assert str(error.value) == (
        f"margins of {top} + {bottom} rows and {left} + {right} columns leave nothing of 000.png in {labelled.folder}, "
        "which is 12x16: lower margin_top and the like"
    )


def test_asking_for_what_is_not_there_fails_before_the_first_batch(labelled, unlabelled, tmp_path):
    with pytest.raises(InputError, match="have no labels"):
        train(unlabelled)
    with pytest.raises(InputError, match="lacks: tree"):
        train(labelled, label_space=LabelSpace("x", ("tree",), ((0, 0, 0),)))
    with pytest.raises(InputError, match="has no manifest"):
        pipeline.train_dataset(str(tmp_path), None, RESIZE, batch_size=1, seed=0)
    with pytest.raises(InputError, match="unknown sampling"):
        train(labelled, sampling_strategy="random")
    with pytest.raises(InputError, match="have no labels"):
        train(unlabelled, label_space=None, sampling_strategy="rare_class")


def evaluate(manifest, label_space=makers.THREE_CLASSES, **options):
    options = {"batch_size": 3, "height": 10, "width": 14} | options
    return pipeline.evaluation_dataset(manifest.folder, label_space, **options)


def test_evaluation_reads_every_record_once_in_order_with_labels_of_their_own_size(labelled):
    seen = batches(evaluate(labelled), -1)
    assert [len(batch["name"]) for batch in seen] == [3, 3, 1]
    assert [record for batch in seen for record in batch["record"]] == list(range(7))
    for batch in seen:
        assert batch["image"].shape[1:] == (10, 14, 3)
        assert batch["label"].shape[1:] == tuple(batch["label_size"].max(axis=0))
        for record, label, (height, width) in zip(batch["record"], batch["label"], batch["label_size"], strict=True):
            entry = labelled.entries[record]
            assert (height, width) == (entry.height, entry.width)
            counts = np.bincount(label[:height, :width].ravel(), minlength=256)
            assert (*counts[:3], counts[255]) == entry.pixels
            assert (label[height:] == 255).all() and (label[:, width:] == 255).all()


def test_evaluation_without_labels(unlabelled):
    batch = batches(evaluate(unlabelled, label_space=None), 1)[0]
    assert batch.keys() == {"image", "name", "record"}


def test_evaluation_at_native_size_needs_one_size(labelled, tmp_path):
    with pytest.raises(InputError, match="images of 7 sizes"):
        evaluate(labelled, height=0, width=0)
    single = makers.records(tmp_path, count=1, num_shards=1)
    assert batches(evaluate(single, height=0, width=0), 1)[0]["image"].shape == (1, 12, 16, 3)


@pytest.fixture
def damaged(tmp_path):
    """Records of which number 1 and 4 (of 7, in 3 shards) are damaged."""
    manifest = makers.records(tmp_path, count=7, num_shards=3)
    shard, offset, length = manifest.places
    for record in (1, 4):
        makers.flip_bit(manifest.shard_paths[shard[record]], offset[record] + length[record] // 2)
    return manifest


def test_a_damaged_record_stops_training_and_evaluation_and_is_named(damaged):
    message = r"records-00000-of-00003.tfrecord, record 1 \(001.png\) at byte \d+ is damaged"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        batches(train(damaged), 10)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        batches(evaluate(damaged), -1)


def test_evaluation_of_some_records_reads_no_others(damaged):
    seen = batches(evaluate(damaged, only=[0, 2, 3, 6], batch_size=4), -1)
    assert [batch["record"].tolist() for batch in seen] == [[0, 2, 3, 6]]


def test_crops_for_a_class_need_labels(labelled):
    with pytest.raises(InputError, match=r"crops that must show a class need labels, and none of .*: let them be any"):
        train(labelled, label_space=None, **RARE)


def test_too_many_damaged_records_stop_training(damaged):
    with pytest.raises(tf.errors.InvalidArgumentError, match="bad records so far: 2, allowed by max_bad_records: 1"):
        batches(train(damaged, max_bad_records=1), 10)


def test_allowed_damaged_records_are_replaced_and_the_stream_still_resumes(damaged, caplog):
    whole = batches(
        train(damaged, augmentation=RESIZE, sampling_strategy="sequential", max_bad_records=2, batch_size=1), 14
    )
    names = [batch["name"][0].decode()[:3] for batch in whole]
    assert names == ["000", "002", "002", "003", "005", "005", "006"] * 2
    warnings = [record.message for record in caplog.records if "damaged" in record.message]
    assert len(warnings) == 2  # each is counted once, however often it is drawn
    assert "record 1 (001.png)" in " ".join(warnings) and "record 4 (004.png)" in " ".join(warnings)
    assert "1 of at most 2" in warnings[0] and "2 of at most 2" in warnings[1]
    for start in (1, 4):
        resumed = train(
            damaged,
            augmentation=RESIZE,
            sampling_strategy="sequential",
            max_bad_records=2,
            batch_size=1,
            start_draw=start,
        )
        assert_equal(batches(resumed, 1)[0], whole[start])


def test_allowed_damaged_records_are_left_out_of_an_evaluation(damaged):
    seen = batches(evaluate(damaged, max_bad_records=2), -1)
    assert [record for batch in seen for record in batch["record"]] == [0, 2, 3, 5, 6]


def test_shards_cut_short_or_missing_are_named_at_once(damaged):
    path = damaged.shard_paths[2]
    with open(path, "r+b") as file:
        file.truncate(damaged.shards[2].size - 1)
    message = r"00002-of-00003.tfrecord has \d+ bytes instead of .*1 records are cut off.*convert it again"
    with pytest.raises(InputError, match=f"{message}, or skip them with max_bad_records$"):
        train(damaged)
    with pytest.raises(InputError, match=f"{message}$"):  # what evaluates has no such option
        evaluate(damaged)
    batch = batches(evaluate(damaged, max_bad_records=3), -1)
    assert sum(len(b["name"]) for b in batch) == 4


def test_two_replicas_together_see_what_one_sees(labelled, two_replicas):
    expected = batches(train(labelled, batch_size=4), 3)
    distributed = iter(two_replicas.experimental_distribute_dataset(train(labelled, batch_size=4)))
    for batch in expected:
        parts = two_replicas.experimental_local_results(next(distributed)["image"])
        np.testing.assert_array_equal(np.concatenate(parts), batch["image"])


@pytest.mark.parametrize("build", [train, functools.partial(train, **RARE), evaluate])
def test_the_map_that_decodes_has_no_state(labelled, monkeypatch, build):
    # Where operations must be deterministic, TensorFlow runs maps with a stateful operation one element at a time.
    maps, of_dataset = [], tf.data.Dataset.map

    def recorded(dataset, function, **options):
        if function.__module__ == pipeline.__name__:
            maps.append((function, dataset.element_spec))
        return of_dataset(dataset, function, **options)

    monkeypatch.setattr(tf.data.Dataset, "map", recorded)
    build(labelled)
    decoding = []
    for function, spec in maps:
        inputs = spec if isinstance(spec, tuple) else (spec,)
        operations = tf.function(function).get_concrete_function(*inputs).graph.get_operations()
        if {"DecodeJpeg", "DecodePng"} & {operation.type for operation in operations}:
            decoding.append({operation.type for operation in operations if operation.op_def.is_stateful})
    assert decoding == [set()]
