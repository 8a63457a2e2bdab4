import hashlib
import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from fada_tf.data import sampling
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Entry, Manifest, Shard
from fada_tf.data.positions import Positions
from fada_tf.errors import InputError


def manifest_of(pixels) -> Manifest:
    """A manifest of records with the given pixels of each class."""
    pixels = np.asarray(pixels)
    space = LabelSpace("any", tuple(map(str, range(pixels.shape[1]))), ((0, 0, 0),) * pixels.shape[1])
    entries = tuple(Entry(f"{i}", 0, 1, 1, 1, (*map(int, row), 0)) for i, row in enumerate(pixels))
    return Manifest("folder", space, (Shard("shard", 0, "", entries),))


# 60 images of 4 classes: class 0 in all of them, class 3 in two.
MANIFEST = manifest_of(
    [[9000, 4000 * (i % 2), 5000 * (i % 10 == 0), (2000 if i == 7 else 3500) * (i in (7, 31))] for i in range(60)]
)


@pytest.mark.parametrize("strategy", sampling.STRATEGIES)
@hypothesis.given(st.integers(0, 5), st.integers(0, 300), st.integers(0, 200))
@hypothesis.settings(max_examples=20)
def test_draws_depend_on_seed_and_number_alone(strategy, seed, start, count):
    options = {"sub_epoch": 50} if strategy == "class_balanced" else {}
    whole = sampling.draws(strategy, MANIFEST, seed, 0, start + count, **options)
    part = sampling.draws(strategy, MANIFEST, seed, start, count, **options)
    assert part.dtype == np.int64
    np.testing.assert_array_equal(part, whole[start:])
    assert ((whole >= 0) & (whole < 60)).all()


@hypothesis.given(st.integers(0, 5), st.integers(0, 300), st.integers(0, 300))
@hypothesis.settings(max_examples=20)
def test_positions_change_no_draw(seed, first, second):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "_APART", 40)
        positions, whole = Positions(), sampling.draws("class_balanced", MANIFEST, seed, 0, 400, sub_epoch=20)
        for start in (first, second, 0, second):
            part = sampling.draws("class_balanced", MANIFEST, seed, start, 100, sub_epoch=20, positions=positions)
            np.testing.assert_array_equal(part, whole[start : start + 100])
        (known,) = positions.known.values()
        assert all(epoch % 2 == 0 and sum(counts) == 20 * epoch for epoch, counts in known.items())


def golden_manifest() -> Manifest:
    """500 records of 7 classes, from the commonest to the rarest."""
    random = np.random.default_rng(3)
    shown = random.random((500, 7)) < np.linspace(0.98, 0.02, 7)
    return manifest_of(shown * random.integers(1, 9000, (500, 7)))


@pytest.mark.parametrize(
    ("strategy", "options", "digest"),
    [
        ("shuffled", {}, "ad7a7df18e20e56b"),
        ("class_balanced", {"sub_epoch": 700}, "a43193b816691f7b"),
        ("rare_class", {"temperature": 1.0, "min_pixels": 10}, "1f91e1d6279465f9"),
        ("sequential", {}, "a4aa038d0a1493b3"),
    ],
)
def test_draws_are_those_of_the_first_version(strategy, options, digest):
    stream = itertools.chain.from_iterable(sampling.blocks(strategy, golden_manifest(), 11, **options))
    drawn = np.array(list(itertools.islice(stream, 5000)))
    assert hashlib.sha256(drawn.astype("<i8").tobytes()).hexdigest()[:16] == digest


# Draws of each class in the first 333 sub-epochs of the golden manifest, by the first version.
AT_999_000 = [76962, 85373, 112159, 136006, 153382, 192923, 242195]
AT_A_MILLION = [219, 35, 91, 295, 220, 91, 155, 143, 67, 42, 194, 344]


def test_draw_a_million_starts_from_the_last_position(tmp_path, monkeypatch):
    positions, manifest = Positions(), golden_manifest()
    sampling.draws("class_balanced", manifest, 11, 0, 10**4, positions=positions)
    assert not positions.known and not positions.changed  # 10,000 draws are computed in a moment
    sampling.draws("class_balanced", manifest, 11, 0, 12_001, positions=positions)
    ((key, known),) = positions.known.items()
    assert list(known) == [4] and sum(known[4]) == 12_000
    positions.note(key, 333, AT_999_000)
    positions.save(f"{tmp_path}/positions.json")
    loaded, computed = Positions.load(f"{tmp_path}/positions.json"), []
    once = sampling._sub_epoch
    monkeypatch.setattr(sampling, "_sub_epoch", lambda *of: computed.append(1) or once(*of))
    drawn = sampling.draws("class_balanced", manifest, 11, 10**6, 12, positions=loaded)
    assert drawn.tolist() == AT_A_MILLION and len(computed) == 1
    sampling.draws("class_balanced", manifest, 12, 12_000, 1, positions=loaded)
    other = manifest_of(manifest.pixels[:, :-1][::-1])
    sampling.draws("class_balanced", other, 11, 12_000, 1, positions=loaded)
    assert len(computed) == 1 + 5 + 5  # of another seed or other labels nothing is known


@pytest.mark.slow
def test_draw_a_million_without_any_position():
    assert sampling.draws("class_balanced", golden_manifest(), 11, 10**6, 12).tolist() == AT_A_MILLION


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"x": [1]}', '{"x": {"a": [1]}}', '{"x": {"1": 2}}', '{"x": {"1": ["y"]}}']
)
def test_damaged_positions_are_none(tmp_path, text):
    (tmp_path / "positions.json").write_text(text)
    assert Positions.load(f"{tmp_path}/positions.json").known == {} == Positions.load(f"{tmp_path}/missing").known


@pytest.mark.parametrize("strategy", ["shuffled", "rare_class", "sequential"])
def test_other_strategies_start_late_by_arithmetic(strategy, monkeypatch):
    units = []
    each = sampling._units
    monkeypatch.setattr(sampling, "_units", lambda *of: (units.append(unit) or unit for unit in each(*of)))
    sampling.draws(strategy, MANIFEST, 0, 10**5, 1)
    assert len(units) == 1


@pytest.mark.parametrize("strategy", ["shuffled", "class_balanced", "rare_class"])
def test_another_seed_is_another_order(strategy):
    first, second = (sampling.draws(strategy, MANIFEST, seed, 0, 60) for seed in (1, 2))
    assert (first != second).any()


def test_sequential_is_in_order():
    np.testing.assert_array_equal(sampling.draws("sequential", MANIFEST, 0, 58, 4), [58, 59, 0, 1])


def test_shuffled_epochs_are_different_permutations():
    epochs = sampling.draws("shuffled", MANIFEST, 3, 0, 240).reshape(4, 60)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(60), (4, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_class_balanced_follows_the_formula():
    """Images of one class each tell which class a draw chose; its probabilities follow from the draws before it."""
    classes, sub_epoch = 5, 300
    manifest = manifest_of(np.eye(classes, dtype=int)[np.repeat(np.arange(classes), [40, 30, 20, 5, 1])])
    chosen = np.argmax(
        manifest.pixels[sampling.draws("class_balanced", manifest, 0, 0, 6000, sub_epoch=sub_epoch)], axis=1
    )
    surplus, variance = np.zeros(classes), np.zeros(classes)
    for epoch in chosen.reshape(-1, sub_epoch):
        counts = np.zeros(classes)
        for position, class_id in enumerate(epoch):
            share = counts / counts.sum() if position else counts
            weight = 1 / np.log(1 + 1e-2 + share)
            probability = weight / weight.sum()
            # Early in an epoch the rule is at its most selective: weigh those draws alone.
            if position < 20:
                surplus += np.eye(classes)[class_id] - probability
                variance += probability * (1 - probability)
            counts[class_id] += 1
    assert (np.abs(surplus) < 4 * np.sqrt(variance)).all()
    shares = np.bincount(chosen) / len(chosen)
    np.testing.assert_allclose(shares, 1 / classes, atol=0.02)


def test_class_balanced_counts_every_class_of_a_drawn_image():
    """Class 0 is in every image, so it is soon the commonest and chosen least; images of rare classes come often."""
    drawn = sampling.draws("class_balanced", MANIFEST, 0, 0, 3000)
    # Shares settle where class 0 has the largest; each class is chosen with p ~ 1 / log(1.01 + share).
    present = MANIFEST.pixels[:, :-1] > 0
    seen = present[drawn].sum(axis=0)
    weight = 1 / np.log(1.01 + seen / seen.sum())
    probability = weight / weight.sum()
    expected = sum(p * present[:, c] / present[:, c].sum() for c, p in enumerate(probability))
    counts = np.bincount(drawn, minlength=60)
    assert abs(counts[[7, 31]].sum() / 3000 - expected[[7, 31]].sum()) < 0.03


def test_class_balanced_visits_all_images_of_a_class_before_any_twice():
    manifest = manifest_of(np.ones((30, 1), int))
    rounds = sampling.draws("class_balanced", manifest, 5, 0, 120, sub_epoch=7).reshape(4, 30)
    np.testing.assert_array_equal(np.sort(rounds, axis=1), np.tile(np.arange(30), (4, 1)))
    assert (rounds[0] != rounds[1]).any()


def test_rare_class_follows_the_formula():
    # One class an image, all with enough pixels; shares chosen so that no probability is negligible.
    pixels = np.diag([40000, 39500, 39000, 41000])
    manifest = manifest_of(pixels)
    share = np.diag(pixels) / pixels.sum()
    expected = np.exp((1 - share) / 0.01) / np.exp((1 - share) / 0.01).sum()
    counts = np.bincount(sampling.draws("rare_class", manifest, 0, 0, 20000), minlength=4)
    assert (np.abs(counts - 20000 * expected) < 4 * np.sqrt(20000 * expected * (1 - expected))).all()


def test_rare_class_needs_enough_pixels_in_an_image():
    drawn = sampling.draws("rare_class", MANIFEST, 0, 0, 500)
    assert 31 in drawn
    assert 7 not in sampling.draws("rare_class", MANIFEST, 0, 0, 500, temperature=1e-4)
    # A class that no image has enough of is still drawn.
    assert set(sampling.draws("rare_class", MANIFEST, 0, 0, 500, temperature=1e-4, min_pixels=4500)) == {7, 31}


@pytest.mark.parametrize("strategy", sampling.STRATEGIES)
def test_a_block_tells_for_which_class_each_record_was_drawn(strategy):
    trained = LabelSpace("some", ("3", "0", "1"), ((0, 0, 0),) * 3)
    options = {"temperature": 1.0} if strategy == "rare_class" else {}
    block = next(sampling.blocks(strategy, MANIFEST, 0, label_space=trained, **options))
    assert block.shape[1:] == (2,) and block.dtype == np.int64
    records, classes = block.T
    if strategy in ("class_balanced", "rare_class"):
        assert set(classes) == {0, 1, 2}
        enough = 3000 if strategy == "rare_class" else 0
        assert (MANIFEST.with_classes(trained).pixels[records, classes] > enough).all()
    else:
        assert set(classes) == {-1}
    np.testing.assert_array_equal(
        records, sampling.draws(strategy, MANIFEST, 0, 0, len(block), label_space=trained, **options)
    )


def test_a_class_in_no_image_is_never_chosen():
    manifest = manifest_of([[5, 0, 1], [5, 0, 0]])
    assert set(sampling.draws("class_balanced", manifest, 0, 0, 100)) == {0, 1}
    assert set(sampling.draws("rare_class", manifest, 0, 0, 100, temperature=10)) == {0, 1}


@pytest.mark.parametrize("strategy", ["class_balanced", "rare_class"])
def test_classes_that_are_not_trained_do_not_count(strategy):
    trained = LabelSpace("some", ("1", "0"), ((0, 0, 0),) * 2)
    found = sampling.draws(strategy, MANIFEST, 3, 0, 500, label_space=trained)
    np.testing.assert_array_equal(found, sampling.draws(strategy, manifest_of(MANIFEST.pixels[:, [1, 0]]), 3, 0, 500))
    reduced = MANIFEST.with_classes(trained)
    np.testing.assert_array_equal(reduced.pixels.sum(axis=1), MANIFEST.pixels.sum(axis=1))
    assert MANIFEST.with_classes(MANIFEST.label_space) is MANIFEST


@pytest.mark.parametrize("strategy", ["class_balanced", "rare_class"])
def test_labels_without_a_pixel_of_the_classes_are_named(strategy):
    with pytest.raises(InputError, match="no label in folder has a pixel of 0, 1: check the ids"):
        sampling.blocks(strategy, manifest_of(np.zeros([3, 2], int)), 0)


def test_a_wrong_name_lists_the_right_ones():
    with pytest.raises(
        InputError, match="unknown sampling 'balanced': use one of shuffled, class_balanced, rare_class"
    ):
        sampling.blocks("balanced", MANIFEST, 0)


def test_balanced_sampling_needs_labels():
    unlabelled = Manifest("folder", None, MANIFEST.shards)
    sampling.blocks("shuffled", unlabelled, 0)
    for strategy in ("class_balanced", "rare_class"):
        with pytest.raises(InputError, match="folder have no labels"):
            sampling.blocks(strategy, unlabelled, 0)


def test_labels_without_a_pixel_of_any_class_are_not_trained_on():
    manifest = manifest_of([[0, 0]])
    sampling.blocks("shuffled", manifest, 0)  # without its labels
    for strategy in sampling.STRATEGIES:
        with pytest.raises(InputError, match="no label in folder has a pixel of 0, 1: check the ids"):
            sampling.blocks(strategy, manifest, 0, label_space=manifest.label_space)


def test_no_records_is_an_error():
    with pytest.raises(InputError, match="holds no records"):
        sampling.blocks("shuffled", Manifest("folder", None, ()), 0)


def test_memory_is_bounded():
    stream = sampling.blocks("class_balanced", MANIFEST, 0, start=10**4)
    assert all(len(block) <= 3000 for block in itertools.islice(stream, 5))
