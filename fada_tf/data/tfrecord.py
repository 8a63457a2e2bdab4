"""Records of an image and its label: written, parsed, read by place.

The keys are those of DeepLab2: https://github.com/google-research/deeplab2/blob/64bc1c1a/common.py#L96-L107.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fada_tf.data import files
from fada_tf.data.entries import FOOTER_BYTES, HEADER_BYTES, Entries, Entry
from fada_tf.data.images import decode_image, encode_png
from fada_tf.data.labels import IGNORE
from fada_tf.data.manifest import Shard
from fada_tf.errors import InputError

IMAGE_ENCODED = "image/encoded"
IMAGE_FILENAME = "image/filename"
IMAGE_FORMAT = "image/format"
IMAGE_HEIGHT = "image/height"
IMAGE_WIDTH = "image/width"
IMAGE_CHANNELS = "image/channels"
LABEL_ENCODED = "image/segmentation/class/encoded"
LABEL_FORMAT = "image/segmentation/class/format"
CONDITION = "image/condition/"  # and the condition's name


@dataclass(frozen=True)
class Record:
    """An image, its label and what the manifest says of them.

    Attributes:
      filename: the image's name in its data set, with `/` between folders.
      image: the encoded image, 8-bit RGB.
      image_format: 'jpeg' or 'png'.
      height: rows of image and label.
      width: columns of image and label.
      label: a PNG of train ids and 255, or None.
      pixels: pixels of each class and, last, of ignored ones; empty without a label.
      conditions: what is known of weather and so on, by the names in `conditions`; older records have none.
    """

    filename: str
    image: bytes
    image_format: str
    height: int
    width: int
    label: bytes | None = None
    pixels: tuple[int, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)

    def labelled(self, label: np.ndarray, num_classes: int) -> "Record":
        """Returns this record with a label, [height, width] uint8 train ids below `num_classes` and 255."""
        pixels = np.bincount(label.ravel(), minlength=256)
        counts = (*pixels[:num_classes].tolist(), int(pixels[IGNORE]))
        return replace(self, label=encode_png(label), pixels=counts)


def encode(record: Record) -> bytes:
    """Returns the record as a serialised tf.train.Example (deterministic: keys are written in order)."""
    from tensorflow.train import BytesList, Example, Feature, Features, Int64List

    def of_bytes(value: bytes) -> Feature:
        return Feature(bytes_list=BytesList(value=[value]))

    def of_int(value: int) -> Feature:
        return Feature(int64_list=Int64List(value=[value]))

    features = {
        IMAGE_ENCODED: of_bytes(record.image),
        IMAGE_FILENAME: of_bytes(record.filename.encode()),
        IMAGE_FORMAT: of_bytes(record.image_format.encode()),
        IMAGE_HEIGHT: of_int(record.height),
        IMAGE_WIDTH: of_int(record.width),
        IMAGE_CHANNELS: of_int(3),
    }
    if record.label is not None:
        features |= {LABEL_ENCODED: of_bytes(record.label), LABEL_FORMAT: of_bytes(b"png")}
    features |= {CONDITION + name: of_bytes(value.encode()) for name, value in record.conditions.items()}
    return Example(features=Features(feature=features)).SerializeToString(deterministic=True)


def decode(payload: bytes) -> Record:
    """Returns the record that `encode` serialised, except its pixel counts, which only the manifest has.

    Raises:
      InputError: the payload is no such record.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.train import Example

    try:
        features = Example.FromString(payload).features.feature
        label = features[LABEL_ENCODED].bytes_list.value
        conditions = {
            name.removeprefix(CONDITION): features[name].bytes_list.value[0].decode()
            for name in sorted(features)
            if name.startswith(CONDITION)
        }
        return Record(
            filename=features[IMAGE_FILENAME].bytes_list.value[0].decode(),
            image=features[IMAGE_ENCODED].bytes_list.value[0],
            image_format=features[IMAGE_FORMAT].bytes_list.value[0].decode(),
            height=features[IMAGE_HEIGHT].int64_list.value[0],
            width=features[IMAGE_WIDTH].int64_list.value[0],
            label=label[0] if label else None,
            conditions=conditions,
        )
    except (DecodeError, IndexError, UnicodeDecodeError) as error:
        raise InputError(
            f"a payload of {len(payload)} bytes is no record of an image: convert the data again"
        ) from error


def parse(payload, *, with_label: bool) -> dict:
    """Decodes a serialised record in graph.

    Args:
      payload: scalar string tensor, what `encode` returned.
      with_label: also decode the label.

    Returns:
      'image' [height, width, 3] uint8, 'name' scalar string and, if asked for, 'label' [height, width] uint8.
    """
    import tensorflow as tf

    scalar = tf.io.FixedLenFeature([], tf.string)
    features = {IMAGE_ENCODED: scalar, IMAGE_FILENAME: scalar}
    if with_label:
        features[LABEL_ENCODED] = scalar
    example = tf.io.parse_single_example(payload, features)
    decoded = {"image": decode_image(example[IMAGE_ENCODED]), "name": example[IMAGE_FILENAME]}
    if with_label:
        decoded["label"] = tf.io.decode_png(example[LABEL_ENCODED], channels=1)[..., 0]
    return decoded


def read_payload(shard, offset, length):
    """Reads one record by its place, in graph; its checksums are verified.

    Args:
      shard: scalar string tensor, the file.
      offset: scalar int64 tensor, where the record begins.
      length: scalar int64 tensor, its payload's bytes.

    Returns:
      Scalar string tensor, the payload; empty if the record is damaged or cannot be read.
    """
    import tensorflow as tf

    def read(_) -> tf.Tensor:
        # FixedLengthRecordDataset would do, but it reads all bytes before the record; this one seeks.
        variant = tf.raw_ops.TFRecordDatasetV2(
            filenames=shard[None],
            compression_type="",
            buffer_size=length + HEADER_BYTES + FOOTER_BYTES,
            byte_offsets=offset[None],
            metadata="",
        )
        records = tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))
        return records.take(1).get_single_element()

    # Within a map, because ignore_errors would ask a reader that cannot open its file again and again.
    attempt = tf.data.Dataset.from_tensors(0).map(read).ignore_errors()
    return attempt.concatenate(tf.data.Dataset.from_tensors("")).take(1).get_single_element()


def read_payloads(shards: Sequence[str], offsets: Sequence[int], lengths: Sequence[int]) -> Iterator[bytes]:
    """Reads records by their places, as `read_payload` does, one after another."""
    import tensorflow as tf

    places = (list(shards), np.array(offsets, np.int64), np.array(lengths, np.int64))
    return tf.data.Dataset.from_tensor_slices(places).map(read_payload).as_numpy_iterator()


def write_shard(path: str, records: Iterable[Record]) -> Shard:
    """Writes records to a shard that appears whole or not at all.

    Args:
      path: the shard.
      records: what to write, in order.

    Returns:
      What the manifest says of the shard.

    Raises:
      InputError: the file cannot be written, for example because the disk is full.
    """
    import tensorflow as tf

    partial = files.partial_name(path)
    entries, offset = [], 0
    try:
        with tf.io.TFRecordWriter(partial) as writer:
            for record in records:
                payload = encode(record)
                writer.write(payload)
                entries.append(
                    Entry(record.filename, offset, len(payload), record.height, record.width, tuple(record.pixels))
                )
                offset += HEADER_BYTES + len(payload) + FOOTER_BYTES
        shard = Shard(path.rsplit("/", 1)[-1], files.size(partial), files.sha256(partial), Entries.of(entries))
    except tf.errors.OpError as error:
        files.remove(partial)
        raise InputError(f"{path} cannot be written ({error.message}); free space or choose another folder") from error
    if shard.size != offset:
        raise InputError(f"{partial} has {shard.size} bytes where {offset} were written: check the disk")
    files.rename(partial, path)
    return shard


def read_shard(path: str) -> Iterator[Record]:
    """Reads the records of a shard in order.

    Raises:
      InputError: the shard is damaged or gone; the records before the damage come first.
    """
    import tensorflow as tf

    try:
        yield from map(decode, tf.data.TFRecordDataset(path).as_numpy_iterator())
    except (InputError, tf.errors.OpError) as error:
        reason = str(getattr(error, "message", error)).splitlines()[0]
        raise InputError(f"shard {path} cannot be read ({reason}): copy or convert it again") from error
