"""The order in which training draws records: pure functions of manifest and seed, no TensorFlow.

A strategy is an endless iterator of blocks of draws; what draw number `n` is depends on nothing but manifest, seed and
options, so a run resumes exactly by its number of draws. A block is [any length, 2] int64: the numbers of records, and
the ids of the classes that they were drawn for, -1 where a strategy chooses no class.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from itertools import count as count_from

import numpy as np

from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.data.positions import Positions
from fada_tf.errors import InputError

BLOCK = 1024  # draws computed at a time where a strategy has no natural unit
_APART = 10_000  # draws from one position that is kept to the next: a tenth of a second


def sequential(manifest: Manifest, seed: int, start: int = 0) -> Iterator[np.ndarray]:
    """Draws the records in their order, again and again."""
    for _, skipped in _units(start, manifest.num_records):
        yield _for_no_class(np.arange(skipped, manifest.num_records))


def shuffled(manifest: Manifest, seed: int, start: int = 0) -> Iterator[np.ndarray]:
    """Draws every record once an epoch, each epoch in another random order."""
    for epoch, skipped in _units(start, manifest.num_records):
        yield _for_no_class(np.random.default_rng([seed, epoch]).permutation(manifest.num_records)[skipped:])


def class_balanced(
    manifest: Manifest, seed: int, start: int = 0, sub_epoch: int = 3000, positions: Positions | None = None
) -> Iterator[np.ndarray]:
    """Draws classes that were rare in the draws so far more often, in sub-epochs as the authors'.

    Each draw takes class c with probability proportional to 1 / log(1.01 + share of c), then the next image that
    contains c. The share of c is its part of all (drawn image, class in it) pairs since the sub-epoch began. A class's
    images are visited in random order, each once before any comes again, also across sub-epochs. Formula and constants:
    https://github.com/JDAI-CV/FADA/blob/a1c6403/core/datasets/gta5.py#L37-L60.

    Args:
      manifest: of labelled records.
      seed: of the order.
      start: the first draw.
      sub_epoch: draws after which the shares start at zero again.
      positions: of earlier draws, which are computed (ten microseconds each) from the last one that is known.
    """
    present = manifest.pixels[:, :-1] > 0
    classes = np.flatnonzero(present.any(axis=0))
    positions = positions or Positions()
    decides = [seed, sub_epoch, present.shape, hashlib.sha256(np.packbits(present)).hexdigest()]
    key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
    first, counts = positions.before(key, start // sub_epoch, len(classes))
    noted = first
    images = _shuffled_images(present, seed, dict(zip(classes.tolist(), counts, strict=True)))
    for epoch in count_from(first):
        if (epoch - noted) * sub_epoch >= _APART:
            positions.note(key, epoch, counts)
            noted = epoch
        draws = _sub_epoch(present, classes, images, np.random.default_rng([seed, epoch]).random(sub_epoch))
        counts = np.add(counts, np.bincount(draws[:, 1], minlength=present.shape[1])[classes]).tolist()
        if (skipped := start - epoch * sub_epoch) < sub_epoch:
            yield draws[max(skipped, 0) :]


def _sub_epoch(
    present: np.ndarray, classes: np.ndarray, images: dict[int, Iterator[int]], random: np.ndarray
) -> np.ndarray:
    """Returns the draws of a sub-epoch, see `class_balanced`."""
    seen = np.zeros(len(classes))
    draws = np.empty([len(random), 2], np.int64)
    for position, number in enumerate(random):
        weights = 1 / np.log(1.01 + seen / max(seen.sum(), 1))
        chosen = classes[_pick(weights, number)]
        draws[position] = record, _ = next(images[chosen]), chosen
        seen += present[record, classes]
    return draws


def rare_class(
    manifest: Manifest, seed: int, start: int = 0, temperature: float = 0.01, min_pixels: int = 3000
) -> Iterator[np.ndarray]:
    """Draws class c with probability proportional to exp((1 - f_c) / temperature), then an image with enough of c.

    Hoyer et al., CVPR 2022 (DAFormer), section 3.4; f_c is the class's share of all labelled pixels. Code:
    https://github.com/lhoyer/DAFormer/blob/e6f6e04/mmseg/datasets/uda_dataset.py#L17-L37; constants: line 36 of its
    configs/daformer/gta2cs_uda_warm_fdthings_rcs_croppl_a999_daformer_mitb5_s0.py.

    Args:
      manifest: of labelled records.
      seed: of the order.
      start: the first draw.
      temperature: smaller prefers rare classes more.
      min_pixels: an image counts for c if it has more pixels of c than this, at its stored size; a class that no
        image has so much of is drawn from every image that contains it.
    """
    pixels = manifest.pixels[:, :-1]
    enough = pixels > min_pixels
    enough = np.where(enough.any(axis=0), enough, pixels > 0)
    classes = np.flatnonzero(enough.any(axis=0))
    logits = (1 - manifest.pixel_shares[classes]) / temperature
    weights = np.exp(logits - logits.max())

    def chosen(block: int) -> np.ndarray:
        return classes[_pick(weights, np.random.default_rng([seed, block]).random(BLOCK))]

    first, skipped = divmod(start, BLOCK)
    done = np.bincount(chosen(first)[:skipped], minlength=pixels.shape[1])
    for block in range(first):
        done += np.bincount(chosen(block), minlength=len(done))
    images = _shuffled_images(enough, seed, {class_id: int(done[class_id]) for class_id in classes.tolist()})
    for block, skipped in _units(start, BLOCK):
        yield np.array([(next(images[class_id]), class_id) for class_id in chosen(block)[skipped:]], np.int64)


STRATEGIES: dict[str, Callable[..., Iterator[np.ndarray]]] = {
    strategy.__name__: strategy for strategy in (shuffled, class_balanced, rare_class, sequential)
}
BALANCED = (class_balanced.__name__, rare_class.__name__)  # they choose classes


def blocks(
    strategy: str,
    manifest: Manifest,
    seed: int,
    start: int = 0,
    *,
    label_space: LabelSpace | None = None,
    weights: Sequence[float] = (),
    positions: Positions | None = None,
    **options,
) -> Iterator[np.ndarray]:
    """Draws records from draw number `start` on.

    Args:
      strategy: a name in `STRATEGIES`.
      manifest: of the records, at least one.
      seed: of the order.
      start: the first draw's number.
      label_space: the classes that count, some of those on disk; None for all of them.
      weights: of several data sets that are one domain, how often each is drawn from, where the strategy then draws;
        empty: it draws from all of them together.
      positions: of class-balanced sampling, which are used and added to; other strategies compute theirs in a moment.
      **options: the strategy's own.

    Returns:
      An endless iterator of [any length, 2] int64: record numbers, and for which class of the label space each was
      drawn, -1 for none.

    Raises:
      InputError: no such strategy, no records, no labelled pixels where the label space or strategy needs them, or
        weights of another number of data sets.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"unknown sampling {strategy!r}: use one of {', '.join(STRATEGIES)}")
    if not manifest.num_records:
        raise InputError(f"{manifest.folder} holds no records to draw from")
    if strategy == class_balanced.__name__:
        options["positions"] = positions
    if label_space is not None:
        manifest = manifest.with_classes(label_space)
    if label_space is not None or (strategy in BALANCED and not weights):  # with weights, of what is drawn from
        _check_labelled(manifest)
    if weights:
        if len(weights) != len(manifest.parts):
            many = len(manifest.parts) or 1
            raise InputError(
                f"{len(weights)} weights for {many} folders of records ({manifest.folder}): give one for each"
            )
        return _weighted(strategy, manifest, seed, start, weights, options)
    return STRATEGIES[strategy](manifest, seed, start, **options)


def _weighted(
    strategy: str, manifest: Manifest, seed: int, start: int, weights: Sequence[float], options: dict
) -> Iterator[np.ndarray]:
    """Draws a part of the manifest with probability proportional to its weight, then what is next in that part."""
    shares = np.cumsum(np.array(weights, np.float64) / sum(weights))[:-1]
    first = np.cumsum([0, *(part.num_records for part in manifest.parts)])

    def chosen(block: int) -> np.ndarray:
        return np.searchsorted(shares, np.random.default_rng([seed, block, 2]).random(BLOCK), side="right")

    def count(parts: np.ndarray) -> np.ndarray:
        return np.bincount(parts, minlength=len(weights))

    block, skipped = divmod(start, BLOCK)
    done = sum((count(chosen(earlier)) for earlier in range(block)), count(chosen(block)[:skipped]))
    # Each part has a seed of its own; parts that are never drawn from need no labels either.
    streams = {
        number: chain.from_iterable(blocks(strategy, part, seed + 7919 * (number + 1), int(done[number]), **options))
        for number, part in enumerate(manifest.parts)
        if weights[number]
    }

    def draw() -> Iterator[np.ndarray]:
        for number in count_from(block):
            parts = chosen(number)[skipped if number == block else 0 :]
            drawn = np.empty([len(parts), 2], np.int64)
            for part, stream in streams.items():
                places = np.flatnonzero(parts == part)
                rows = np.array(list(islice(stream, len(places))), np.int64).reshape(-1, 2)
                drawn[places] = np.add(rows, (first[part], 0))
            yield drawn

    return draw()


def draws(strategy: str, manifest: Manifest, seed: int, start: int, count: int, **options) -> np.ndarray:
    """Returns the record numbers of draws `start` to `start + count - 1`, [count] int64; see `blocks`."""
    stream = blocks(strategy, manifest, seed, start, **options)
    return np.fromiter(islice((record for block in stream for record, _ in block), count), np.int64, count)


def _units(start: int, length: int) -> Iterator[tuple[int, int]]:
    """Returns the numbers of units of so many draws, from that of draw `start` on, each with its draws before that."""
    first, skipped = divmod(start, length)
    yield first, skipped
    yield from ((unit, 0) for unit in count_from(first + 1))


def _for_no_class(records: np.ndarray) -> np.ndarray:
    return np.stack([records, np.full_like(records, -1)], axis=1)


def _pick(weights: np.ndarray, random: np.ndarray | float) -> np.ndarray:
    """Returns the places in `weights` that uniform numbers from [0, 1) fall on."""
    sums = np.cumsum(weights)
    return np.minimum(np.searchsorted(sums, random * sums[-1], side="right"), len(weights) - 1)


def _shuffled_images(present: np.ndarray, seed: int, done: dict[int, int]) -> dict[int, Iterator[int]]:
    """Returns, for each class, an endless walk over the images that hold it, each round in a new order.

    Args:
      present: [images, classes] bool.
      seed: of the orders.
      done: the steps of each class's walk that lie behind.
    """

    def walk(class_id: int, steps: int) -> Iterator[int]:
        images = np.flatnonzero(present[:, class_id])
        random = np.random.default_rng([seed, class_id, 1])
        rounds, skipped = divmod(steps, len(images))
        for _ in range(rounds):
            random.permutation(images)
        yield from random.permutation(images)[skipped:].tolist()
        while True:
            yield from random.permutation(images).tolist()

    return {class_id: walk(class_id, steps) for class_id, steps in done.items()}


def _check_labelled(manifest: Manifest) -> None:
    if not manifest.pixels[:, :-1].any():
        names = ", ".join(manifest.label_space.names)
        raise InputError(f"no label in {manifest.folder} has a pixel of {names}: check the ids of the class file")
