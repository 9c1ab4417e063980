"""PNG files of 16 bits a channel, which Pillow reads but does not write."""

from __future__ import annotations

import struct
import zlib

import numpy as np

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels


def png(values: np.ndarray) -> bytes:
    """Return a PNG of (H, W, C) or (H, W) numbers of 16 bits."""
    values = values.reshape(*values.shape[:2], -1)
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png_of(width, height, COLOUR_TYPES[channels], zlib.compress(rows))


def png_of(width: int, height: int, colour_type: int, data: bytes, bits: int = 16) -> bytes:
    """Return a PNG with compressed rows."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
