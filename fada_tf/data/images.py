"""Image and label files of every kind, as found in data sets, to 8-bit RGB images and arrays of ids."""

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fada_tf.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff")  # of picture files
LABEL_SUFFIX = ".png"
STORED_FORMATS = {"JPEG": "jpeg", "PNG": "png"}
ORIENTATION_TAG = 0x0112  # EXIF: how a viewer turns the image


@dataclass(frozen=True)
class StoredImage:
    """An image as a record holds it: every reader decodes it to the same upright 8-bit RGB pixels.

    Attributes:
      data: the encoded image.
      format: 'jpeg' or 'png'.
      height: in pixels.
      width: in pixels.
      changes: why `data` is not the original file but its pixels as a PNG; '' if it is the file.
    """

    data: bytes
    format: str
    height: int
    width: int
    changes: str = ""


def passed_over(names: Iterable[str], folder: str) -> tuple[str, ...]:
    """Says which of the files below a folder are no pictures by their names, a line for each suffix."""
    others: dict[str, list[str]] = {}
    for name in names:
        if not name.lower().endswith(SUFFIXES):
            others.setdefault(os.path.splitext(name)[1], []).append(name)
    return tuple(
        f"{os.path.join(folder, first)}{f' and {len(rest)} more' if rest else ''}: no picture, since the "
        f"name ends in {suffix!r} and not in {', '.join(SUFFIXES)}"
        for suffix, (first, *rest) in sorted(others.items())
    )


def decode_image(encoded: Any) -> Any:
    """Decodes a JPEG or PNG with the pixels that Pillow gives (the accurate DCT), [height, width, 3] uint8 tensor."""
    import tensorflow as tf

    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")  # the op reads PNG as well


def to_stored(data: bytes) -> StoredImage:
    """Takes an image file over as it is where TensorFlow reads it so, otherwise its pixels as an RGB PNG.

    Args:
      data: the file.

    Raises:
      InputError: it is no image, lacks pixels, has 16-bit channels, or is a JPEG that TensorFlow reads differently.
    """
    with _decoding():
        original = _open(data)
        orientation = original.getexif().get(ORIENTATION_TAG, 1)
        upright = ImageOps.exif_transpose(original)
        trained = _trained_pixels(data, original)
    reasons = {
        "turned as its EXIF tag says": orientation != 1,
        f"{original.mode} made RGB": original.mode != "RGB",
        f"{original.format} made PNG": original.format not in STORED_FORMATS,
        "damaged, but with all pixels: stored anew": original.format in STORED_FORMATS and trained is None,
    }
    changes = ", ".join(text for text, applies in reasons.items() if applies)
    if changes:
        data, stored_format = encode_png(np.asarray(upright.convert("RGB"))), "png"
    else:
        stored_format = STORED_FORMATS[str(original.format)]
    return StoredImage(data, stored_format, upright.height, upright.width, changes)


def _trained_pixels(data: bytes, image: Image.Image) -> np.ndarray | None:
    """Returns what training would read of the file; None if it could not, and none of the pixels is missing."""
    if image.format not in STORED_FORMATS:
        return None
    import tensorflow as tf

    try:
        pixels = decode_image(data).numpy()
    except (tf.errors.OpError, UnicodeDecodeError) as error:  # the second: TensorFlow's message may quote the bytes
        if image.format == "PNG":
            return None
        raise InputError("is damaged: Pillow reads it and TensorFlow does not: save it anew") from error
    # Files of other modes are stored anew, with Pillow's pixels; from CMYK the two make RGB differently.
    if image.mode == "RGB" and not np.array_equal(pixels, np.asarray(image.convert("RGB"))):
        raise InputError("is damaged: Pillow and TensorFlow read different pixels: save it anew")
    return pixels


@dataclass(frozen=True)
class LabelPixels:
    """What a label file holds, before anyone says what it means.

    Attributes:
      values: [height, width] unsigned integers.
      colors: [n, 3] uint8, the colour that the file gives to each value; None if it has no colours.
      are_ids: whether the values themselves can be ids; otherwise they only number the colours or names.
      names: n names of classes, what the file calls each value; None if it has no names.
    """

    values: np.ndarray
    colors: np.ndarray | None = None
    are_ids: bool = True
    names: tuple[str, ...] | None = None


def read_label(data: bytes) -> LabelPixels:
    """Decodes a label PNG: one channel of any depth to 8, palette indices, or three channels, alike or colours.

    Raises:
      InputError: it is no PNG, is cut short, or has 16-bit channels or transparent pixels.
    """
    with _decoding():
        image = _open(data)
    if image.format != "PNG":
        raise InputError(f"a label must be a PNG, this is {image.format}: save it anew (from ids, not from a JPEG)")
    depth = data[24]
    if (
        image.mode in ("1", "L") and depth < 8
    ):  # the standard stretches these to 0-255, as it does the ids of some tools
        grey = 255 // (2**depth - 1)
        greys = np.repeat(np.arange(0, 256, grey, dtype=np.uint8)[:, None], 3, axis=1)
        return LabelPixels(np.asarray(image.convert("L")) // grey, greys)
    if image.mode == "P":
        palette = np.zeros((256, 3), np.uint8)
        given = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(given)] = given
        return LabelPixels(np.asarray(image), palette)
    array = np.asarray(image)
    if array.ndim == 2:
        return LabelPixels(array)
    if array.shape[2] in (2, 4):
        if (array[..., -1] != 255).any():
            raise InputError(f"a label must be opaque, this has mode {image.mode} and transparent pixels")
        array = array[..., :-1]
    if (array == array[..., :1]).all():
        greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        return LabelPixels(array[..., 0], greys)
    packed = array.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    unique, values = np.unique(packed, return_inverse=True)
    colors = np.stack([unique >> 16, unique >> 8 & 255, unique & 255], axis=1).astype(np.uint8)
    return LabelPixels(values.reshape(packed.shape), colors, are_ids=False)


def read_first_channel(data: bytes) -> LabelPixels:
    """Decodes a label PNG whose ids are in the first of its 8-bit channels, whatever the others hold.

    Raises:
      InputError: it is no PNG, is cut short, or has 16-bit channels.
    """
    with _decoding():
        image = _open(data)
    if image.format != "PNG":
        raise InputError(f"a label must be a PNG, this is {image.format}: take the files of the data set")
    return LabelPixels(np.asarray(image.getchannel(0)))


def encode_png(array: np.ndarray) -> bytes:
    """Returns a [height, width] or [height, width, 3] uint8 array, or a [height, width] uint16 one, as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def _open(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    # Pillow cuts 16-bit RGB down to 8 without a word; byte 24 of a PNG is its bit depth.
    if image.mode.startswith(("I", "F")) or (image.format == "PNG" and data[24] == 16):
        raise InputError("has 16-bit channels where 8-bit ones are due: convert it to 8 bits")
    # It fills rows that are missing with zeros without a word, too.
    if image.format == "PNG" and not _holds_all_rows(data):
        raise InputError("cannot be read as an image (it ends before its last row)")
    return image


_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# First column and row, and the steps to the next ones, of the passes of an interlaced PNG.
_PNG_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _holds_all_rows(png: bytes) -> bool:
    """Tells whether a PNG's compressed data is whole, whatever its checksums say."""
    width, height, depth, color_type, _, _, interlaced = struct.unpack(">IIBBBBB", png[16:29])
    due = 0
    for left, top, across, down in _PNG_PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0:
            due += max(rows, 0) * (1 + -(-columns * depth * _PNG_CHANNELS[color_type] // 8))
    inflated, position, size = zlib.decompressobj(), 8, 0
    try:
        while size < due and position + 8 <= len(png):
            length, chunk_type = struct.unpack(">I4s", png[position : position + 8])
            if chunk_type == b"IDAT":
                size += len(inflated.decompress(png[position + 8 : position + 8 + length], due - size))
            position += length + 12
    except zlib.error:
        return False
    return size >= due


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError("cannot be read as an image (its kind is unknown)") from error
    except Exception as error:  # Pillow's decoders raise many kinds on bytes that are not what they should be
        raise InputError(f"cannot be read as an image ({error})") from error
