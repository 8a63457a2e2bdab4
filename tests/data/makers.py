"""Writes small data sets in the layouts and encodings of the real ones."""

import os
import struct
import zlib

import numpy as np
from PIL import Image

from fada_tf.data import conversion, images
from fada_tf.data.datasets.base import DataSet, Pair
from fada_tf.data.label_files import LabelFiles
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Manifest

THREE_CLASSES = LabelSpace("three", ("road", "car", "sky"), ((128, 64, 128), (0, 0, 142), (70, 130, 180)))
THREE_IDS = np.full(256, -1, np.int16)
THREE_IDS[[0, 1, 2, 9, 255]] = [0, 1, 2, 255, 255]
THREE = LabelFiles(THREE_CLASSES, THREE_IDS, "the class file lists neither in a class nor in ignore_ids", by_color=True)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A photo-like image: smooth at large scale, noisy at small, with hard edges. [height, width, 3] uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = (
        127
        + 60 * np.sin(y / 9 + random.random(3)[:, None, None] * 6) * np.cos(x / 13)
        + 8 * random.standard_normal((3, height, width))
    )
    waves[:, height // 3 : height // 2, width // 4 : width // 2] = random.integers(0, 256, 3)[:, None, None]
    return np.clip(waves, 0, 255).astype(np.uint8).transpose(1, 2, 0)


def save(path, array: np.ndarray, **options) -> str:
    """Writes an image file by Pillow, and its folders."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return str(path)


def png16(array: np.ndarray) -> bytes:
    """A 16-bit RGB PNG made by hand, [height, width, 3] uint16: no decoder under test had a part in it."""
    height, width, _ = array.shape
    return png((width, height, 16, 2), b"".join(b"\x00" + row.astype(">u2").tobytes() for row in array))


def png(
    header: tuple[int, int, int, int], rows: bytes, *, interlaced: int = 0, crc: int = 0, end: bool = True
) -> bytes:
    """A PNG made by hand.

    Args:
      header: width, height, bits a channel, colour type.
      rows: what is compressed.
      interlaced: 1 if the rows are those of Adam7.
      crc: added to the checksum of the compressed data; other than 0 makes it wrong.
      end: whether the last chunk is there.
    """

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    data = bytearray(chunk(b"IDAT", zlib.compress(rows)))
    data[-1] ^= crc
    parts = chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, interlaced)), bytes(data), chunk(b"IEND", b"") * end
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def labelled_dataset(folder, count: int = 5, size: tuple[int, int] = (12, 16), suffix: str = ".png") -> DataSet:
    """Writes images and labels of the three classes: pair i has a class only if i says so. Every size differs by i."""
    pairs = []
    for i in range(count):
        height, width = size[0] + i, size[1] + 2 * i
        label = (
            np.random.default_rng(i).choice([0, 2, 9] if i % 3 else [0, 1, 2, 255], (height, width)).astype(np.uint8)
        )
        image = save(f"{folder}/images/{i:03d}{suffix}", texture(height, width, i))
        pairs.append(Pair(f"{i:03d}{suffix}", image, save(f"{folder}/labels/{i:03d}.png", label)))
    return DataSet(tuple(pairs), THREE)


def records(folder, count: int = 5, num_shards: int = 2, labels: bool = True, **options) -> Manifest:
    """Writes shards of `labelled_dataset`, with or without the labels, to `folder`/records."""
    dataset = labelled_dataset(folder, count, **options)
    if not labels:
        dataset = DataSet(tuple(Pair(pair.name, pair.image) for pair in dataset.pairs))
    return conversion.convert(dataset, f"{folder}/records", num_shards=num_shards).manifest


def flip_bit(path: str, position: int) -> None:
    """Damages one byte of a file."""
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))


def read_ids(data: bytes) -> np.ndarray:
    """Decodes a label PNG of one channel, or of palette indices, [height, width] uint8."""
    label = images.read_label(data)
    assert label.are_ids
    return label.values
