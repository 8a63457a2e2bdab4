"""Image and label files of every kind, as found in data sets, to 8-bit RGB images and arrays of ids."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from fada_tf.errors import InputError

STORED_FORMATS = {"JPEG": "jpeg", "PNG": "png"}
ORIENTATION_TAG = 0x0112  # EXIF: how a viewer turns the image


@dataclass(frozen=True)
class StoredImage:
    """An image as a record holds it: every reader decodes it to the same upright 8-bit RGB pixels.

    Args:
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


def to_stored(data: bytes) -> StoredImage:
    """Takes an image file over as it is where that is possible, otherwise its pixels as an RGB PNG.

    Args:
        data: the file.

    Raises:
        InputError: it is no image, is cut short, or has 16-bit channels.
    """
    with _decoding():
        original = _open(data)
        orientation = original.getexif().get(ORIENTATION_TAG, 1)
        upright = ImageOps.exif_transpose(original)
    reasons = {
        "turned as its EXIF tag says": orientation != 1,
        f"{original.mode} made RGB": original.mode != "RGB",
        f"{original.format} made PNG": original.format not in STORED_FORMATS,
    }
    changes = ", ".join(text for text, applies in reasons.items() if applies)
    if changes:
        data, stored_format = encode_png(np.asarray(upright.convert("RGB"))), "png"
    else:
        stored_format = STORED_FORMATS[original.format]
    return StoredImage(data, stored_format, upright.height, upright.width, changes)


def read_ids(data: bytes) -> np.ndarray:
    """Decodes a label image of one channel, or of palette indices, [height, width] uint8.

    Raises:
        InputError: it is no image, is cut short, or has several or 16-bit channels.
    """
    with _decoding():
        image = _open(data)
    if image.mode not in ("L", "P", "1"):
        raise InputError(f"a label must have one 8-bit channel of ids, this has mode {image.mode}")
    return np.asarray(image).astype(np.uint8)


def encode_png(array: np.ndarray) -> bytes:
    """Returns a [height, width] or [height, width, 3] uint8 array as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def _open(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    # Pillow cuts 16-bit RGB down to 8 without a word; byte 24 of a PNG is its bit depth.
    if image.mode.startswith(("I", "F")) or (image.format == "PNG" and data[24] == 16):
        raise InputError("has 16-bit channels where 8-bit ones are due; convert it to 8 bits")
    return image


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds on bytes that are not what they should be
        raise InputError(f"cannot be read as an image ({error})") from error
