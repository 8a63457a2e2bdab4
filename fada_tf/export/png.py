"""PNG in graph: what a file's header says, before anything is decoded, and masks with a palette."""

import zlib

import numpy as np
import tensorflow as tf

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = 33  # the signature and the chunk IHDR: length, type, 13 bytes, checksum
_SIZE_BYTES = 8  # width and height, right after the type
_CHANNELS = (1, 0, 3, 3, 2, 0, 4)  # by colour type; 3 is a palette of RGB colours, 1 and 5 do not exist


def header_shape(header: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads the size out of a PNG's header.

    Args:
      header: uint8 [HEADER_BYTES], the first bytes of the file.

    Returns:
      int64 [3], height, width and channels of the pixels (0 for an unknown kind), and int64 [], bits a channel.
    """
    header = tf.cast(header, tf.int64)
    place_values = tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64)
    width, height = tf.tensordot(header[16:20], place_values, 1), tf.tensordot(header[20:24], place_values, 1)
    channels = tf.gather(tf.constant(_CHANNELS, tf.int64), tf.minimum(header[25], len(_CHANNELS) - 1))
    return tf.stack([height, width, channels]), header[24]


def encode_palette_png(class_map: tf.Tensor, palette: np.ndarray) -> tf.Tensor:
    """Encodes class ids as a PNG whose pixels are the ids and whose palette has the classes' colours.

    TensorFlow writes greyscale PNGs only; the header of one is changed and a palette is put after it.

    Args:
      class_map: uint8 [height, width], ids below the palette's length.
      palette: uint8 [1 to 256, 3].

    Returns:
      string [].
    """
    grey = tf.io.encode_png(class_map[..., None], compression=1)
    size = tf.strings.substr(grey, 16, _SIZE_BYTES)
    header = SIGNATURE + b"\x00\x00\x00\x0dIHDR"
    kind = b"\x08\x03\x00\x00\x00"  # 8 bits, palette, deflate, standard filters, not interlaced
    rest = tf.strings.substr(grey, HEADER_BYTES, tf.strings.length(grey) - HEADER_BYTES)
    colors = b"PLTE" + np.asarray(palette, np.uint8).tobytes()
    chunk = (len(colors) - 4).to_bytes(4, "big") + colors + zlib.crc32(colors).to_bytes(4, "big")
    return tf.strings.join([header, size, kind, _header_checksum(size, kind), chunk, rest])


def _header_checksum(size: tf.Tensor, kind: bytes) -> tf.Tensor:
    # A CRC is affine over GF(2): that of a header is that of size 0 XOR what each byte of the size adds on its own.
    zero = bytearray(b"IHDR" + bytes(_SIZE_BYTES) + kind)
    base = zlib.crc32(zero)
    tables = np.zeros([_SIZE_BYTES, 256], np.int64)
    for place in range(_SIZE_BYTES):
        for value in range(256):
            changed = bytearray(zero)
            changed[4 + place] = value
            tables[place, value] = zlib.crc32(changed) ^ base
    values = tf.cast(tf.io.decode_raw(size, tf.uint8), tf.int64)
    checksum = tf.constant(base, tf.int64)
    for place in range(_SIZE_BYTES):
        checksum = tf.bitwise.bitwise_xor(checksum, tf.gather(tables[place], values[place]))
    octets = tf.bitwise.bitwise_and(tf.bitwise.right_shift(checksum, tf.constant([24, 16, 8, 0], tf.int64)), 255)
    return tf.strings.reduce_join(tf.gather([bytes([value]) for value in range(256)], octets))
