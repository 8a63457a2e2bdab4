"""Records to batches: a training stream that resumes exactly by its draw number, and an evaluation pass in order."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from fada_tf.data import files, sampling, transforms
from fada_tf.data.labels import IGNORE, LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.data.positions import Positions
from fada_tf.data.tfrecord import parse, read_payload, read_payloads
from fada_tf.errors import InputError

# AutoGraph takes seconds to read what is below, and finds no condition or loop on tensors to convert.
_as_written = tf.autograph.experimental.do_not_convert


def train_dataset(
    records: str,
    label_space: LabelSpace | None,
    augmentation: transforms.Augmentation,
    *,
    batch_size: int,
    seed: int,
    start_draw: int = 0,
    part: tuple[int, int] = (0, 1),
    sampling_strategy: str = "shuffled",
    sampling_options: dict | None = None,
    positions: Positions | None = None,
    max_bad_records: int = 0,
) -> tf.data.Dataset:
    """Builds an endless stream of augmented batches; draw number and seed alone decide what each image is.

    Args:
      records: a folder of shards with a manifest.
      label_space: the classes to train, by name a part of those on disk; None leaves the labels out.
      augmentation: what happens to each image; fixes height and width.
      batch_size: images in a batch.
      seed: of order and augmentation.
      start_draw: number of images drawn before; resuming at k gives the batches that would have followed.
      part: (i, n): of every n batches the i-th, from 0; n readers with one seed share the stream.
      sampling_strategy: a name in `sampling.STRATEGIES`.
      sampling_options: that strategy's own options.
      positions: of earlier draws; they save time where `start_draw` is high.
      max_bad_records: this many different unreadable records are replaced by others, with a warning; one more is an
        error.

    Returns:
      A dataset of 'image' [batch, height, width, 3] uint8, 'name' [batch] string, 'draw' [batch] int64 and,
      with a label space, 'label' [batch, height, width] uint8, train ids and 255. Without one, but with margins or
      crops, 'valid' [batch, height, width] uint8: 0 in the margins and beside the image, 1 elsewhere.

    Raises:
      InputError: no manifest, missing or shortened shards, no labels, other classes than those asked for, or an image
        that is all margin.
    """
    manifest = Manifest.load(records)
    translate = _translation(manifest, label_space)
    reader = _Reader(manifest, max_bad_records)
    _check_margins(manifest, augmentation.margins)
    if augmentation.crop_class_pixels and label_space is None:
        raise InputError(f"crops that must show a class need labels, and none of {records} are read: let them be any")
    reader.check_shards(", or skip them with max_bad_records")

    def blocks():
        options = {"label_space": label_space, "positions": positions} | (sampling_options or {})
        return sampling.blocks(sampling_strategy, manifest, seed, start_draw, **options)

    blocks()  # raises what is wrong with the options now, not in the first batch

    @_as_written
    def read(draw, drawn):
        record, class_id = tf.unstack(drawn)
        return draw, class_id, reader.read(record, replace=True)

    @_as_written
    def load(draw, class_id, payload):
        element = parse(payload, with_label=label_space is not None)
        draw_seed = tf.random.experimental.stateless_fold_in([seed, 0], draw)
        label = None
        if label_space is not None:
            label = translate(element["label"])
        elif not augmentation.labels_all:
            label = tf.zeros(tf.shape(element["image"])[:2], tf.uint8)  # to see where labels would be
        image, label = transforms.augment(element["image"], label, draw_seed, augmentation, class_id)
        loaded = {"image": image, "name": element["name"], "draw": draw}
        if label is None:
            return loaded
        if label_space is None:
            return loaded | {"valid": tf.cast(label != IGNORE, tf.uint8)}
        return loaded | {"label": label}

    drawn = tf.data.Dataset.from_generator(blocks, output_signature=tf.TensorSpec([None, 2], tf.int64)).unbatch()
    draws = drawn.enumerate(start_draw)
    index, count = part
    if count > 1:
        draws = draws.filter(lambda draw, drawn: draw // batch_size % count == index)
    # Two maps: reading has a state, and where operations must be deterministic such a map works on one image at a time.
    dataset = draws.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def evaluation_dataset(
    records: str,
    label_space: LabelSpace | None,
    *,
    batch_size: int,
    height: int = 0,
    width: int = 0,
    max_bad_records: int = 0,
    partial_labels: bool = False,
    only: Sequence[int] | None = None,
) -> tf.data.Dataset:
    """Builds one pass over the records in order; images are resized, labels keep their own size.

    Args:
      records: a folder of shards with a manifest.
      label_space: the classes to score, by name a part of those on disk; None leaves the labels out.
      batch_size: images in a batch; the last batch may be smaller.
      height: rows of the images; 0 for their own, which must then be the same for all.
      width: columns of the images; 0 as above.
      max_bad_records: this many unreadable records are left out, with a warning; one more is an error.
      partial_labels: allow labels that can hold only some of the classes.
      only: numbers of the records to read; None for all.

    Returns:
      A dataset of 'image' [batch, height, width, 3] uint8, 'name' [batch] string, 'record' [batch] int64
      and, with a label space, 'label' [batch, largest height, largest width] uint8, filled up with 255, and
      'label_size' [batch, 2] int32, each label's own height and width.

    Raises:
      InputError: as `train_dataset`; or images of several sizes and no size to bring them to.
    """
    manifest = Manifest.load(records)
    translate = _translation(manifest, label_space, partial_labels)
    reader = _Reader(manifest, max_bad_records)
    reader.check_shards()
    size = (height, width) if height and width else only_size(manifest)

    @_as_written
    def read(record):
        return record, reader.read(record, replace=False)

    @_as_written
    def load(record, payload):
        element = parse(payload, with_label=label_space is not None) | {"record": record}
        element["image"] = tf.ensure_shape(transforms.resize_image(element["image"], size), [*size, 3])
        if "label" in element:
            element |= {"label": translate(element["label"]), "label_size": tf.shape(element["label"])}
        return element

    dataset = tf.data.Dataset.from_tensor_slices(np.arange(manifest.num_records) if only is None else np.asarray(only))
    dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.filter(lambda record, payload: payload != b"")
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    padding = {
        key: tf.constant(IGNORE if key == "label" else 0, spec.dtype) if spec.dtype != tf.string else ""
        for key, spec in dataset.element_spec.items()
    }
    return dataset.padded_batch(batch_size, padding_values=padding).prefetch(tf.data.AUTOTUNE)


def only_size(manifest: Manifest) -> tuple[int, int]:
    """Returns height and width of all images.

    Raises:
      InputError: they differ.
    """
    sizes = [(height, width) for height, width in np.unique(manifest.entries.sizes, axis=0).tolist()]
    if len(sizes) != 1:
        raise InputError(
            f"{manifest.folder} holds images of {len(sizes)} sizes, {sizes[:3]} and so on: give a height and a width"
        )
    return sizes[0]


def _check_margins(manifest: Manifest, margins: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = margins
    too_small = (manifest.entries.sizes <= (top + bottom, left + right)).any(axis=1)
    if any(margins) and too_small.any():
        entry = manifest.entries[int(np.argmax(too_small))]
        raise InputError(
            f"margins of {top} + {bottom} rows and {left} + {right} columns leave nothing of {entry.filename} in "
            f"{manifest.folder}, which is {entry.height}x{entry.width}: lower margin_top and the like"
        )


def _translation(
    manifest: Manifest, label_space: LabelSpace | None, partial: bool = False
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function from labels on disk to labels of `label_space`."""
    if label_space is None:
        return lambda label: label
    table = manifest.label_map(label_space, partial=partial)
    if label_space == manifest.label_space:
        return lambda label: label
    return lambda label: tf.gather(tf.constant(table), tf.cast(label, tf.int32))


class _Reader:
    """Reads records by number; owns the list of those that could not be read."""

    def __init__(self, manifest: Manifest, max_bad_records: int):
        self._manifest = manifest
        self._max_bad = max_bad_records
        self._bad: set[int] = set()

    def check_shards(self, advice: str = "") -> None:
        """Raises `InputError` if shards are missing or have another size, and more records than allowed are lost.

        `advice` says what else can be done.
        """
        for path, shard in zip(self._manifest.shard_paths, self._manifest.shards, strict=True):
            size = files.size(path) if files.exists(path) else 0
            if size != shard.size and not self._max_bad:
                lost = [shard.entries.filenames[place] for place in np.flatnonzero(shard.entries.ends > size)]
                raise InputError(
                    f"shard {path} has {size} bytes instead of {shard.size}; {len(lost)} records are cut off, "
                    f"beginning with {lost[:1]}: copy or convert it again{advice}"
                )

    def read(self, record: tf.Tensor, *, replace: bool) -> tf.Tensor:
        """Returns the payload of a record; of a bad one another record's (`replace`) or an empty string."""
        shard, offset, length = (tf.gather(column, record) for column in self._manifest.places)
        payload = read_payload(tf.gather(self._manifest.shard_paths, shard), offset, length)

        def replacement():
            payload = tf.numpy_function(lambda i: self._replacement(int(i), replace), [record], tf.string)
            return tf.ensure_shape(payload, [])

        return tf.cond(payload == b"", replacement, lambda: payload)

    def _replacement(self, record: int, replace: bool) -> bytes:
        """Counts and reports a bad record; returns the payload of the next good one."""
        if record not in self._bad:
            self._bad.add(record)
            shard = self._manifest.shard_paths[self._manifest.places[0][record]]
            reason = "is damaged: its checksum or length is wrong" if files.exists(shard) else "is gone: no such file"
            problem = f"{self._manifest.locate(record)} {reason}"
            if len(self._bad) > self._max_bad:
                raise InputError(
                    f"{problem}; bad records so far: {len(self._bad)}, allowed by max_bad_records: {self._max_bad}"
                )
            logging.warning("%s; skipped (%d of at most %d)", problem, len(self._bad), self._max_bad)
        if not replace:
            return b""
        others = np.roll(np.arange(self._manifest.num_records), -record - 1)
        shard, offset, length = (column[others] for column in self._manifest.places)
        for payload in read_payloads([self._manifest.shard_paths[i] for i in shard], offset, length):
            if payload:
                return payload
        raise InputError(f"no record in {self._manifest.folder} can be read: convert the data again")
