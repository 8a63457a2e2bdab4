"""Picture files of every kind, good and bad."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def picture_file(mode: str, kind: str = "PNG", size: tuple[int, int] = (40, 20), **options) -> bytes:
    """Returns a file of random pixels; `size` is width, height."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def sixteen_bits() -> bytes:
    """Returns a PNG of 16 bits a channel."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((20, 40), np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def bomb(side: int = 20000) -> bytes:
    """Returns a valid PNG of side x side pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows, packer = bytes(side // 8 + 1), zlib.compressobj(9)
    data = b"".join(packer.compress(rows) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
