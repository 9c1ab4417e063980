"""Pictures opened safely.

Two requirements shape this file. A picture that can be shown at all is converted, never refused: camera rotation, CMYK,
palettes, transparency, 16 bits, animations, a single pixel. A file that cannot be shown is refused in one line that names it,
before it can fill the memory or take minutes.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, TypeAlias

from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import PictureError, PictureWarning
from ..file_kinds import HEAD_BYTES, kind_of
from . import reading_process
from .colours import to_grey_or_rgb
from .depth import ValueRange, colours_to_8_bits, deep_colours, grey_to_8_bits, is_deep_grey, unpack_colours
from .formats import FORMAT_NAMES, FORMATS, UNBOUNDED_FORMATS
from .limits import (
    MAX_BYTES,
    MAX_SECONDS,
    TimedFile,
    TooSlowError,
    bomb_error,
    check_passes,
    check_pixels,
    damaged_error,
    decoding,
    large_error,
    slow_error,
)

#: A picture: the path of a file, or a PIL picture.
Picture: TypeAlias = "str | os.PathLike[str] | Image.Image"

#: Is told, in one line, what a user should know of a picture that was opened.
OnNote: TypeAlias = Callable[[str], object]

_BOMB_WARNINGS = (Image.DecompressionBombWarning, Image.DecompressionBombError)
_HEADER_LOCK = threading.Lock()  # `warnings.catch_warnings` replaces a list that all threads share
_LINEAR_TIFF = ("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "tiff_ccitt", "group3", "group4")


def open_picture(
    picture: Picture,
    *,
    data: IO[bytes] | None = None,
    value_range: ValueRange | None = None,
    on_note: OnNote | None = None,
) -> Image.Image:
    """Open a picture as upright 8-bit RGB, decoded in full, with its file closed.

    EXIF rotation is applied, transparency is laid over mid-grey (128), and of several pages the first is taken. Deep pictures
    are scaled, not clipped: from the smallest of the ranges 0..1 (floats only) and 0..2^n - 1 (n = 8, 10, 12, 14, 16) that
    holds all their values, otherwise from their minimum..maximum. A constant outside those ranges becomes mid-grey; in floats
    a NaN is read as 0. A fourth band of a TIFF that is tagged as transparency, but is not by its values, is left out.

    Args:
        picture: a path, or a PIL picture, which is converted in the same way.
        data: the file's bytes, if they were read already; errors then still name the path.
        value_range: (black, white) of pictures with more than 8 bits; None: by their values, as above.
        on_note: is told of pages that are not taken, and of a fourth band; None: they are warnings.

    Raises:
        PictureError: the picture cannot be opened, is damaged, in a format that is not read (`FORMATS`), has more than
            `MAX_PIXELS` pixels, or takes too long to decode.

    Warns:
        PictureWarning: the picture has several pages, or a fourth band; unless `on_note` is told.

        >>> open_picture(Image.new("L", (4, 3), 200)).getpixel((0, 0))
        (200, 200, 200)
    """
    opened = open_grey_or_rgb(picture, data=data, value_range=value_range, on_note=on_note)
    return opened if opened.mode == "RGB" else opened.convert("RGB")


def open_grey_or_rgb(
    picture: Picture,
    *,
    data: IO[bytes] | None = None,
    value_range: ValueRange | None = None,
    on_note: OnNote | None = None,
    least_side: int | None = None,
) -> Image.Image:
    """Open a picture as `open_picture` does, but leave grey pictures grey, mode L: a third of the memory until it is shrunk.

    A JPEG is decoded at a half, a quarter or an eighth of its sides, where the short one keeps `least_side` pixels. The size
    that the picture has in full is then its `info["full_size"]`.
    """
    on_note = on_note or _warn
    if isinstance(picture, Image.Image):
        name = "the PIL picture"
        check_pixels(picture.size, name)
        path = getattr(picture, "filename", "") if deep_colours(picture) else ""  # not decoded yet: Pillow would keep 8 bits
        if os.path.isfile(path):
            _decode(picture, name)  # which closes its file
            return open_grey_or_rgb(path, value_range=value_range, on_note=on_note)
        with decoding(picture):
            upright = _upright(_decode(picture, name), copy=True)
            upright.format = picture.format
            return _to_8_bits(upright, name, value_range, on_note)
    with open_file(picture, data) as (handle, name), reduced(read_header(handle, name), least_side) as lazy, decoding(lazy):
        picture_format, is_deep, full = lazy.format, deep_colours(lazy), lazy.info.get("full_size")
        _note_pages(lazy, name, on_note)
        decoded = decode_file(lazy, handle, name)
        if is_deep:
            with _readable(name):
                decoded = colours_to_8_bits(decoded, partial(read_header, handle, name), value_range)
        upright = _upright(decoded)
        upright.format = picture_format
        if full and (upright.width < upright.height) != (full[0] < full[1]):  # turned by a quarter
            upright.info["full_size"] = full[::-1]
        return _to_8_bits(upright, name, value_range, on_note)


@contextlib.contextmanager
def open_file(picture: object, data: IO[bytes] | None = None) -> Iterator[tuple[IO[bytes], str]]:
    """Open a picture's file, or take its bytes; yield them with the name for errors."""
    if not isinstance(picture, (str, os.PathLike)):
        raise PictureError(f"a picture must be a path or a PIL picture, found {type(picture).__name__}.")
    name = repr(os.fspath(picture))
    with data or _open_regular(Path(picture), name) as handle:
        yield handle, name


def read_header(handle: IO[bytes], name: str) -> Image.Image:
    """Read the file's header, but no pixels, and check what it asks for.

    Pillow's warning of a decompression bomb is treated as an error.
    """
    handle.seek(0)
    head = handle.read(HEAD_BYTES)
    handle.seek(0)
    try:
        with _HEADER_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a picture with odd metadata can still be shown
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(TimedFile(handle, MAX_SECONDS), formats=FORMATS)  # type: ignore[arg-type]
    except _BOMB_WARNINGS as error:
        raise bomb_error(name) from error
    except UnidentifiedImageError as error:
        raise PictureError(_unread_text(head, name)) from error
    except TooSlowError as error:
        raise slow_error(name) from error
    except Exception as error:
        raise damaged_error(name) from error
    check_pixels(picture.size, name)
    check_passes(picture, handle, name)
    unpack_colours(picture)
    return picture


def reduced(lazy: Image.Image, least_side: int | None) -> Image.Image:
    """Let a JPEG that `read_header` opened be decoded at a part of its size, as small as its short side may be."""
    if least_side is not None and lazy.format == "JPEG":
        lazy.info["full_size"] = lazy.size
        lazy.draft(None, (least_side, least_side))
    return lazy


def decode_file(lazy: Image.Image, handle: IO[bytes], name: str) -> Image.Image:
    """Read all pixels of the first frame of a picture that `read_header` opened; where that cannot be bounded, in a child."""
    is_linear = lazy.format != "TIFF" or getattr(lazy, "_compression", "raw") in _LINEAR_TIFF
    if lazy.format not in UNBOUNDED_FORMATS and is_linear:
        return _decode(lazy, name)
    position = handle.tell()
    handle.seek(0)
    data = handle.read()
    handle.seek(position)
    with _readable(name):
        return _keep_rotation(reading_process.decode(data, str(lazy.format)), lazy)


def _open_regular(path: Path, name: str) -> IO[bytes]:
    """Open a regular file for reading, or say what else the path is."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise PictureError(f"cannot open {name} as a picture: it is a folder. Name a picture in it.")
        if not stat.S_ISREG(status.st_mode):
            raise PictureError(f"cannot open {name} as a picture: it is a pipe or a device. Save the picture to a file first.")
        if not status.st_size:
            raise PictureError(f"cannot open {name}: the file is empty. Get a fresh copy.")
        if status.st_size > MAX_BYTES:
            raise large_error(name)
        return path.open("rb")
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise PictureError(f"cannot open {name}: there is no such file. Check the path.") from error
    except PermissionError as error:
        raise PictureError(f"cannot open {name}: reading it is not permitted. Change its permissions.") from error
    except OSError as error:
        raise PictureError(f"cannot open {name}: {error.strerror}. Check the path.") from error
    except ValueError as error:  # a zero byte in the path
        raise PictureError(f"cannot open {name}: {error}. Check the path.") from error


def _decode(picture: Image.Image, name: str) -> Image.Image:
    """Read all pixels of the first frame."""
    with _readable(name):
        picture.load()
    return picture


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn whatever decoding raises into one line."""
    try:
        yield
    except PictureError:
        raise
    except _BOMB_WARNINGS as error:
        raise bomb_error(name) from error
    except TooSlowError as error:
        raise slow_error(name) from error
    except Exception as error:  # Pillow's decoders raise anything: OSError, SyntaxError, struct.error, ...
        raise damaged_error(name) from error


def _upright(picture: Image.Image, *, copy: bool = False) -> Image.Image:
    """Turn a picture upright by its EXIF: itself, or a copy."""
    try:
        if copy:
            return ImageOps.exif_transpose(picture)
        ImageOps.exif_transpose(picture, in_place=True)
    except Exception:  # EXIF that cannot be read says nothing of a rotation
        return picture.copy() if copy else picture
    return picture


def _keep_rotation(decoded: Image.Image, lazy: Image.Image) -> Image.Image:
    """Give a picture that a child decoded the EXIF of its file, except for TIFF, which Pillow turns while it decodes."""
    if lazy.format != "TIFF":
        with contextlib.suppress(Exception):  # EXIF that cannot be read says nothing of a rotation
            decoded.info["exif"] = lazy.getexif().tobytes()
    return decoded


def _note_pages(lazy: Image.Image, name: str, on_note: OnNote) -> None:
    """Say which page is taken of several. The second picture of an MPO is a preview, or the other eye's."""
    several = False
    if lazy.format != "MPO":
        with contextlib.suppress(Exception):  # a second page that cannot be read is none
            several = bool(getattr(lazy, "is_animated", False))
    if several:
        on_note(f"{name} has several {'pages' if lazy.format == 'TIFF' else 'frames'}: the first one is taken.")


def _to_8_bits(picture: Image.Image, name: str, value_range: ValueRange | None, on_note: OnNote) -> Image.Image:
    if is_deep_grey(picture):
        return grey_to_8_bits(picture, value_range)
    return to_grey_or_rgb(picture, name, on_note)


def _unread_text(head: bytes, name: str) -> str:
    if head[:4] in (b"II*\0", b"MM\0*"):
        what = "is a TIFF with bands or numbers that Pillow does not know"
    elif kind := kind_of(head):
        what = f"is {kind}, which is not read as a picture"
    else:
        what = f"is in none of the formats that are read: {FORMAT_NAMES}"
    return f"cannot open {name}: it {what}. Convert it to PNG or JPEG."


def _warn(text: str) -> None:
    warnings.warn(text, PictureWarning, stacklevel=4)
