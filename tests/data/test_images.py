import io
import itertools

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
    for read in (images.to_stored, images.read_label):
        with pytest.raises(InputError, match="16-bit channels"):
            read(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_broken_files_are_refused(kind):
    data = encoded(PHOTO, kind)
    for broken in (b"", b"not an image", data[: len(data) // 2], data[:20]):
        for read in (images.to_stored, images.read_label):
            with pytest.raises(InputError, match="cannot be read as an image"):
                read(broken)


def test_what_is_wrong_is_said_without_the_name_of_an_object():
    for read in (images.to_stored, images.read_label):
        with pytest.raises(InputError, match=r"^cannot be read as an image \(its kind is unknown\)$"):
            read(b"\0\5\x16\7" * 20)


ROWS = np.asarray(PHOTO)
RAW = b"".join(b"\0" + row.tobytes() for row in ROWS)


@pytest.mark.parametrize("damage", [{"crc": 1}, {"end": False}])
def test_a_damaged_png_with_all_its_pixels_is_stored_anew(damage):
    data = makers.png((30, 20, 8, 2), RAW, **damage)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(data)
    stored = images.to_stored(data)
    assert stored.changes == "damaged, but with all pixels: stored anew"
    np.testing.assert_array_equal(decode_image(stored.data), ROWS)
    label = makers.png((30, 20, 8, 0), b"".join(b"\0" + row[:, 0].tobytes() for row in ROWS), **damage)
    np.testing.assert_array_equal(makers.read_ids(label), ROWS[..., 0])


def test_rows_that_no_png_held_are_not_invented():
    data = makers.png((30, 20, 8, 2), RAW[: 91 * 13])
    assert (np.asarray(Image.open(io.BytesIO(data)))[13:] == 0).all()  # so Pillow does
    label = makers.png((30, 20, 8, 0), bytes(31 * 12))
    for read, short in ((images.to_stored, data), (images.read_label, label)):
        with pytest.raises(InputError, match=r"cannot be read as an image \(it ends before its last row\)"):
            read(short)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (8, 8), (13, 9), (1, 20), (20, 1)])
def test_interlaced_pngs_are_whole_or_refused(size):
    width, height = size
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    pixels = ROWS.reshape(-1)[: width * height].reshape(height, width)
    rows = [row for left, top, across, down in passes for row in pixels[top::down, left::across] if row.size]
    raw = [b"\0" + row.tobytes() for row in rows]
    label = makers.png((width, height, 8, 0), b"".join(raw), interlaced=1)
    np.testing.assert_array_equal(makers.read_ids(label), pixels)
    with pytest.raises(InputError, match="cannot be read as an image"):
        images.read_label(makers.png((width, height, 8, 0), b"".join(raw)[:-1], interlaced=1))


def test_a_jpeg_that_two_decoders_read_differently_is_refused(monkeypatch):
    data = encoded(PHOTO, "JPEG", quality=90)
    others = decode_image(encoded(PHOTO, "JPEG", quality=89))
    monkeypatch.setattr(images, "decode_image", lambda data: others)
    with pytest.raises(InputError, match="is damaged: Pillow and TensorFlow read different pixels"):
        images.to_stored(data)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_sound_jpegs_of_every_kind_are_taken(mode):
    for quality, sampling, progressive, restart in itertools.product((5, 95), (0, 1, 2), (False, True), (0, 1)):
        options = {"quality": quality, "progressive": progressive, "restart_marker_blocks": restart}
        data = encoded(PHOTO.convert(mode), "JPEG", **options, **({} if mode == "L" else {"subsampling": sampling}))
        stored = images.to_stored(data)
        assert (stored.format, stored.changes) == (("jpeg", "") if mode == "RGB" else ("png", f"{mode} made RGB"))


def test_labels_of_other_formats_are_refused():
    with pytest.raises(InputError, match="a label must be a PNG, this is JPEG"):
        images.read_label(encoded(PHOTO.convert("L"), "JPEG"))


@hypothesis.given(st.data(), st.integers(1, 40), st.integers(1, 40), st.sampled_from(["L", "P"]))
def test_ids_are_read_as_written(data, height, width, mode):
    seed = data.draw(st.integers(0, 2**32 - 1))
    ids = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    label = Image.fromarray(ids)
    if mode == "P":  # colours in another order than ids, as GTA5's
        label.putpalette(np.random.default_rng(1).integers(0, 256, 768).astype(np.uint8).tobytes())
    read = makers.read_ids(encoded(label, "PNG"))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, ids)
    np.testing.assert_array_equal(makers.read_ids(images.encode_png(read)), ids)


def test_one_bit_labels_have_ids_0_and_1():
    ids = np.eye(9, dtype=np.uint8)
    np.testing.assert_array_equal(makers.read_ids(encoded(Image.fromarray(ids * 255).convert("1"), "PNG")), ids)


@hypothesis.given(st.integers(1, 64), st.integers(1, 64), st.sampled_from(["JPEG", "PNG"]), st.integers(0, 2**16))
def test_stored_images_decode_to_pillows_pixels(height, width, kind, seed):
    data = encoded(Image.fromarray(makers.texture(height, width, seed)), kind)
    stored = images.to_stored(data)
    decoded = decode_image(tf.constant(stored.data)).numpy()
    np.testing.assert_array_equal(decoded, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
