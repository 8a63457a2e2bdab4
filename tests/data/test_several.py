"""Several data sets as one domain: by size or by weights, in any strategy, resumed exactly."""

import numpy as np
import pytest

from fada_tf.config import Config
from fada_tf.data import conversion, pipeline, relabelling, sampling, transforms
from fada_tf.data.datasets.base import DataSet, Pair
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Manifest, digest, folders
from fada_tf.errors import InputError
from fada_tf.runs import provenance, results
from fada_tf.training import datasets
from fada_tf.validation import validate
from tests.data import makers
from tests.data.test_conditions import labels_of

COUNTS = {"many": 7, "few": 3, "two": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three folders of records in folders of their names."""
    root = tmp_path_factory.mktemp("several")
    for name, count in COUNTS.items():
        makers.records(root / name, count)
    return root


def joined(root, *names: str) -> str:
    return ",".join(f"{root}/{name}/records" for name in names)


def test_records_of_all_are_numbered_in_order(root):
    manifest = Manifest.load(joined(root, "many", "few"))
    parts = [Manifest.load(f"{root}/{name}/records") for name in ("many", "few")]
    assert manifest.num_records == 10 and manifest.entries == [*parts[0].entries, *parts[1].entries]
    assert manifest.shard_paths == parts[0].shard_paths + parts[1].shard_paths
    np.testing.assert_array_equal(manifest.pixels, np.concatenate([part.pixels for part in parts]))
    assert manifest.label_space == makers.THREE_CLASSES and manifest.classes == makers.THREE_CLASSES.names
    assert manifest.conditions == {"data_set": ("records",) * 10}
    place = manifest.locate(8)
    assert f"{root}/few/records" in place and "001.png" in place


def test_a_folder_with_a_comma_in_its_name_is_one(tmp_path):
    manifest = makers.records(tmp_path / "a,b")
    assert folders(manifest.folder) == [manifest.folder] and Manifest.load(manifest.folder) == manifest
    assert folders("x/a, x/b,") == ["x/a", "x/b"]
    with pytest.raises(InputError, match=r"nowhere has no manifest\.json"):
        Manifest.load("nowhere,x")


def test_some_images_come_from_each(root):
    records, size = joined(root, "many", "few"), transforms.Augmentation(10, 14)
    space = makers.THREE_CLASSES
    stream = pipeline.train_dataset(records, space, size, batch_size=10, seed=3)
    batch = next(iter(stream))
    order = sampling.draws("shuffled", Manifest.load(records), 3, 0, 10)
    assert sorted(order) == list(range(10))  # each image once an epoch
    assert [name.decode() for name in batch["name"].numpy()] == [f"{i if i < 7 else i - 7:03d}.png" for i in order]
    alone = {
        name: {e["name"].numpy(): e["image"].numpy() for e in pipeline.evaluation_dataset(
            f"{root}/{name}/records", None, batch_size=1, height=10, width=14).unbatch()}
        for name in ("many", "few")
    }  # fmt: skip
    for image, name, number in zip(batch["image"].numpy(), batch["name"].numpy(), order, strict=True):
        np.testing.assert_array_equal(image, alone["many" if number < 7 else "few"][name])


@pytest.mark.parametrize("strategy", sampling.STRATEGIES)
@pytest.mark.parametrize("weights", [(), (1, 2, 3)])
def test_a_stream_goes_on_as_if_it_had_never_stopped(root, strategy, weights):
    manifest = Manifest.load(joined(root, *COUNTS))
    options = {"sub_epoch": 50} if strategy == "class_balanced" else {}
    options |= {"min_pixels": 10, "temperature": 0.5} if strategy == "rare_class" else {}

    def draw(start: int, count: int) -> np.ndarray:
        return sampling.draws(
            strategy, manifest, 5, start, count, label_space=makers.THREE_CLASSES, weights=weights, **options
        )

    whole = draw(0, 3000)
    assert set(whole) == set(range(12))
    for start in (1, 1023, 1024, 1025, 2500):
        np.testing.assert_array_equal(draw(start, 400), whole[start : start + 400])


def test_weights_say_how_often_each_is_drawn_from(root):
    manifest = Manifest.load(joined(root, *COUNTS))
    drawn = sampling.draws("shuffled", manifest, 0, 0, 20000, weights=(6, 0, 2))
    part = np.searchsorted([7, 10], drawn, side="right")
    expected = np.array([0.75, 0, 0.25])
    shares = np.bincount(part, minlength=3) / 20000
    assert (np.abs(shares - expected) <= 4 * np.sqrt(expected * (1 - expected) / 20000)).all()
    many = drawn[part == 0]
    for epoch in many[: len(many) // 7 * 7].reshape(-1, 7)[:50]:
        assert sorted(epoch) == list(range(7))  # what is drawn in a part is the part's own order
    block = next(sampling.blocks("class_balanced", manifest, 0, label_space=makers.THREE_CLASSES, weights=(1, 1, 1)))
    records, classes = block.T
    assert (manifest.pixels[records, classes] > 0).all()


def test_by_size_is_what_one_folder_of_all_draws(root, tmp_path):
    parts = [makers.labelled_dataset(tmp_path / name, count) for name, count in (("many", 7), ("few", 3))]
    pairs = [Pair(f"{i}/{pair.name}", pair.image, pair.label) for i, part in enumerate(parts) for pair in part.pairs]
    whole = conversion.convert(DataSet(tuple(pairs), parts[0].labels), f"{tmp_path}/whole").manifest
    several = Manifest.load(joined(root, "many", "few"))
    for strategy in sampling.STRATEGIES:
        np.testing.assert_array_equal(*(sampling.draws(strategy, manifest, 1, 7, 500) for manifest in (whole, several)))


def test_weights_need_as_many_folders(root):
    manifest = Manifest.load(joined(root, "many", "few"))
    with pytest.raises(InputError, match=r"3 weights for 2 folders of records .*: give one for each"):
        sampling.blocks("shuffled", manifest, 0, weights=(1, 1, 1))
    with pytest.raises(InputError, match="2 weights for 1 folders of records"):
        sampling.blocks("shuffled", Manifest.load(f"{root}/few/records"), 0, weights=(1, 1))


def config_of(records: str, weights: str = "") -> Config:
    config = Config()
    source = config.data.source
    source.records, source.weights, source.height, source.width = records, weights, 8, 8
    return config


def test_a_config_names_folders_and_weights():
    config = config_of("a,b", "2, 1")
    validate(config)
    assert datasets.sampling_options(config.data.source) == {"weights": (2, 1)}
    assert datasets.sampling_options(config_of("a,b").data.source) == {}
    for weights in ("2,x", "2,-1", "0,0", "nan,1", "1,"):
        with pytest.raises(InputError, match=r"config\.data\.source\.weights are .*: give a number for each folder"):
            validate(config_of("a,b", weights))


def test_digests_and_places_of_scores_are_of_all(root):
    few_first, many_first = joined(root, "few", "many"), joined(root, "many", "few")
    assert len({digest(few_first), digest(many_first), digest(f"{root}/few/records")}) == 3
    checksums = provenance.input_checksums(config_of(many_first))
    assert checksums["config.data.source.records"] == digest(many_first)
    folder = results.Scoring(many_first, 8, 8).folder("run")
    assert f"/records+records-{digest(many_first, with_classes=True)[:8]}/" in folder


def test_labels_of_other_classes_are_refused_and_images_are_not(root, tmp_path):
    space = LabelSpace("other", ("x", "y", "z"), makers.THREE_CLASSES.colors)
    relabelling.relabel(f"{root}/two/records", f"{tmp_path}/other", space, labels_of, labeller_id="x")
    records = f"{root}/few/records,{tmp_path}/other"
    size = transforms.Augmentation(10, 14)
    with pytest.raises(InputError, match=r"the labels in .* are of several sets of classes: convert them alike"):
        pipeline.train_dataset(records, makers.THREE_CLASSES, size, batch_size=1, seed=0)
    assert next(iter(pipeline.train_dataset(records, None, size, batch_size=2, seed=0)))["image"].shape[0] == 2
    makers.records(tmp_path / "bare", 2, labels=False)
    with pytest.raises(InputError, match="have no labels: convert them again with labels"):
        pipeline.train_dataset(
            f"{root}/few/records,{tmp_path}/bare/records", makers.THREE_CLASSES, size, batch_size=1, seed=0
        )


def test_what_a_part_was_not_labelled_with_another_may_hold(root, tmp_path):
    from dataclasses import replace

    for name, labelled in (("a", ("road",)), ("b", ("sky", "car"))):
        manifest = makers.records(tmp_path / name, 1, 1)
        replace(manifest, labelled=labelled).save()
    assert set(Manifest.load(f"{tmp_path}/a/records,{tmp_path}/b/records").labelled) == {"road", "sky", "car"}
    assert Manifest.load(f"{tmp_path}/a/records,{root}/few/records").labelled == ("road", "car", "sky")


def test_pseudo_labels_are_made_for_all(root, tmp_path):
    records = joined(root, "few", "two")
    new = relabelling.relabel(records, f"{tmp_path}/new", makers.THREE_CLASSES, labels_of, labeller_id="x")
    assert new.num_records == 5 and new.conditions["data_set"] == ("records",) * 5
