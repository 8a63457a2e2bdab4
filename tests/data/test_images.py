import io

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fada_tf.data import images
from fada_tf.data.tfrecord import decode_image
from fada_tf.errors import InputError
from tests.data import makers


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PHOTO = Image.fromarray(makers.texture(20, 30))


@pytest.mark.parametrize(("kind", "name"), [("JPEG", "jpeg"), ("PNG", "png")])
def test_rgb_files_are_stored_as_they_are(kind, name):
    data = encoded(PHOTO, kind)
    assert images.to_stored(data) == images.StoredImage(data, name, 20, 30, "")


@pytest.mark.parametrize(
    ("image", "kind", "changes"),
    [
        (PHOTO.convert("L"), "JPEG", "L made RGB"),
        (PHOTO.convert("L"), "PNG", "L made RGB"),
        (PHOTO.convert("CMYK"), "JPEG", "CMYK made RGB"),
        (PHOTO.convert("RGBA"), "PNG", "RGBA made RGB"),
        (PHOTO.convert("P"), "PNG", "P made RGB"),
        (PHOTO.convert("1"), "PNG", "1 made RGB"),
        (PHOTO, "BMP", "BMP made PNG"),
    ],
)
def test_other_files_are_stored_as_rgb_png_and_said_to_be(image, kind, changes):
    data = encoded(image, kind)
    stored = images.to_stored(data)
    assert (stored.format, stored.height, stored.width, stored.changes) == ("png", 20, 30, changes)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decode_image(stored.data), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation):
    exif = Image.Exif()
    exif[images.ORIENTATION_TAG] = orientation
    data = encoded(PHOTO, "PNG", exif=exif)
    stored = images.to_stored(data)
    array = np.asarray(PHOTO)
    turned = {
        1: array,
        2: array[:, ::-1],
        3: array[::-1, ::-1],
        4: array[::-1],
        5: array.transpose(1, 0, 2),
        6: array[::-1].transpose(1, 0, 2),
        7: array[::-1, ::-1].transpose(1, 0, 2),
        8: array.transpose(1, 0, 2)[::-1],
    }[orientation]
    np.testing.assert_array_equal(decode_image(stored.data), turned)
    assert (stored.height, stored.width) == turned.shape[:2]
    assert stored.changes == ("" if orientation == 1 else "turned as its EXIF tag says")


@pytest.mark.parametrize(
    "data",
    [
        makers.png16(np.full((4, 5, 3), 300, np.uint16)),
        encoded(Image.fromarray(np.full((4, 5), 300, np.uint16)), "PNG"),
        encoded(Image.fromarray(np.full((4, 5), 3, np.int32)), "TIFF"),
    ],
    ids=["rgb", "grey", "tiff"],
)
def test_16_bit_images_are_refused_where_8_bits_are_due(data):
    for read in (images.to_stored, images.read_ids):
        with pytest.raises(InputError, match="16-bit channels"):
            read(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_broken_files_are_refused(kind):
    data = encoded(PHOTO, kind)
    for broken in (b"", b"not an image", data[: len(data) // 2], data[:20]):
        for read in (images.to_stored, images.read_ids):
            with pytest.raises(InputError, match="cannot be read as an image"):
                read(broken)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK"])
def test_labels_of_several_channels_are_refused(mode):
    data = encoded(PHOTO.convert(mode), "TIFF")
    with pytest.raises(InputError, match=f"one 8-bit channel of ids, this has mode {mode}"):
        images.read_ids(data)


@hypothesis.given(st.data(), st.integers(1, 40), st.integers(1, 40), st.sampled_from(["L", "P"]))
def test_ids_are_read_as_written(data, height, width, mode):
    seed = data.draw(st.integers(0, 2**32 - 1))
    ids = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    label = Image.fromarray(ids)
    if mode == "P":  # colours in another order than ids, as GTA5's
        label.putpalette(np.random.default_rng(1).integers(0, 256, 768).astype(np.uint8).tobytes())
    read = images.read_ids(encoded(label, "PNG"))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, ids)
    np.testing.assert_array_equal(images.read_ids(images.encode_png(read)), ids)


def test_one_bit_labels_have_ids_0_and_1():
    ids = np.eye(9, dtype=np.uint8)
    np.testing.assert_array_equal(images.read_ids(encoded(Image.fromarray(ids * 255).convert("1"), "PNG")), ids)


@hypothesis.given(st.integers(1, 64), st.integers(1, 64), st.sampled_from(["JPEG", "PNG"]), st.integers(0, 2**16))
def test_stored_images_decode_to_pillows_pixels(height, width, kind, seed):
    data = encoded(Image.fromarray(makers.texture(height, width, seed)), kind)
    stored = images.to_stored(data)
    decoded = decode_image(tf.constant(stored.data)).numpy()
    np.testing.assert_array_equal(decoded, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
