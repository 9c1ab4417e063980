"""What a picture may cost before it is shown: pixels, passes over them, seconds, and memory together with all that are decoded.

A small file can ask for a lot: every pass of a progressive JPEG goes over all its pixels again, and 100 KB of zeros are a
picture of 89 megapixels. The first bounds, on pixels and passes, depend on the file alone, so the same files are refused
everywhere. The bound on seconds is for what they cannot tell.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO

from PIL import Image

from ..errors import PictureError

#: The most pixels that are decoded: from there on Pillow warns of a decompression bomb (a quarter of a gigabyte as RGB).
MAX_PIXELS = 89_478_485

#: A larger file is not read, in bytes: no picture that is small enough to be decoded needs more.
MAX_BYTES = 2**30

#: The most pixels times passes of a progressive JPEG: seconds. Cameras and programs write about ten passes.
MAX_PASSED_PIXELS = 2_000_000_000

#: The most seconds of one processor that decoding a picture may take.
MAX_SECONDS = 30.0

#: What the pictures that are decoded at once take together, about, in bytes; one alone may take more.
DECODING_BYTES = 2**31

_BYTES_PER_PIXEL = 8  # as Pillow holds it, twice: before and after it is converted
_START_OF_SCAN = b"\xff\xda"
_MARK = re.compile(
    rb"\xff[^\x00\x01\xd0-\xd8\xff]"
)  # in coded data 0xff is followed by 0, or by a restart, which has no length


class TooSlowError(Exception):
    """Decoding took longer than `MAX_SECONDS`."""


class TimedFile:
    """A file that stops being read once its reader has used up its seconds: Pillow's decoders ask for a piece at a time."""

    def __init__(self, handle: IO[bytes], seconds: float) -> None:
        self._handle, self._end = handle, time.thread_time() + seconds
        self.seek, self.tell = handle.seek, handle.tell

    def read(self, size: int = -1) -> bytes:
        """Read; time is the thread's own on its processor, which does not pass while others work."""
        if time.thread_time() > self._end:
            raise TooSlowError
        return self._handle.read(size)

    def release(self) -> None:
        """Let the file be read for as long as somebody wants who knows what it is for."""
        self._end = math.inf


def check_pixels(size: tuple[int, int], name: str) -> None:
    """Raise `PictureError` for a picture with too many pixels, or none."""
    width, height = size
    if width * height > MAX_PIXELS:  # Pillow's own limit may have been lifted
        raise bomb_error(name)
    if not width * height:
        raise PictureError(f"cannot use {name}: it has {height} x {width} pixels. Give a picture with at least one pixel.")


def check_passes(picture: Image.Image, handle: IO[bytes], name: str) -> None:
    """Raise `PictureError` for a JPEG with more passes than are sensible for its size."""
    if picture.format not in ("JPEG", "MPO"):
        return
    position = handle.tell()
    handle.seek(0)
    data = handle.read()
    handle.seek(position)
    pixels = picture.width * picture.height
    if data.count(_START_OF_SCAN) * pixels <= MAX_PASSED_PIXELS:  # what only looks like a mark is counted too: enough for most
        return
    if (passes := _count_passes(data)) * pixels > MAX_PASSED_PIXELS:
        raise PictureError(
            f"cannot open {name}: its {picture.height} x {picture.width} pixels come in {passes:,} passes, too many to decode."
            " Save it anew."
        )


def _count_passes(data: bytes) -> int:
    """Count the passes of a JPEG, segment by segment up to its end: thumbnails, and what is behind the end, do not count."""
    passes, position = 0, 2
    while mark := _MARK.search(data, position):
        code, position = data[mark.start() + 1], mark.end()
        if code == 0xD9:
            break
        passes += code == 0xDA
        position += int.from_bytes(data[position : position + 2], "big")
    return passes


def bomb_error(name: str) -> PictureError:
    """Return the error of a picture with more than `MAX_PIXELS`."""
    return PictureError(f"cannot open {name}: it has more than {MAX_PIXELS:,} pixels, too many to be safe. Shrink it first.")


def large_error(name: str) -> PictureError:
    """Return the error of a file with more than `MAX_BYTES`."""
    return PictureError(f"cannot open {name}: it has more than {MAX_BYTES:,} bytes, too many to be safe. Shrink it first.")


def damaged_error(name: str) -> PictureError:
    """Return the error of a picture that cannot be decoded."""
    return PictureError(f"cannot open {name}: the picture is damaged or cut short. Get a fresh copy.")


def slow_error(name: str) -> PictureError:
    """Return the error of a picture that takes more than `MAX_SECONDS`."""
    return PictureError(
        f"cannot open {name}: decoding it takes more than {MAX_SECONDS:g} seconds. Save it anew, as PNG or JPEG."
    )


class _Budget:
    """Lets threads decode at once as long as their pictures fit together; in the order in which they ask."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.ask: Callable[[int], None] | None = None  # of a child process with one thread: asks its parent for what takes more
        self._taken = 0
        self._changed = threading.Condition()
        self._turn = threading.Lock()  # who waits with a large picture is not overtaken by small ones

    @contextlib.contextmanager
    def take(self, cost: int) -> Iterator[None]:
        if self.ask is not None:
            if cost > self.total:
                self.ask(cost)
            yield
            return
        with self._turn, self._changed:
            while self._taken and self._taken + cost > self.total:
                self._changed.wait()
            self._taken += cost
        try:
            yield
        finally:
            with self._changed:
                self._taken -= cost
                self._changed.notify_all()


_budget = _Budget(DECODING_BYTES)


def ask_above(share: int, ask: Callable[[int], None]) -> None:
    """Let this process, a child with one thread, decode what takes no more than `share` bytes, and ask for what takes more."""
    _budget.total, _budget.ask = share, ask


def taking(cost: int) -> contextlib.AbstractContextManager[None]:
    """Wait until so many bytes, with those that other threads use, fit into `DECODING_BYTES`."""
    return _budget.take(cost)


def decoding(picture: Image.Image) -> contextlib.AbstractContextManager[None]:
    """Wait until a picture, with those that other threads decode, fits into `DECODING_BYTES`."""
    return taking(picture.width * picture.height * _BYTES_PER_PIXEL)
