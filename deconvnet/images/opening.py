"""Pictures opened safely.

Two requirements shape this file. A picture that can be shown at all is converted, never refused: camera rotation, CMYK,
palettes, transparency, 16 bits, animations, a single pixel. A file that cannot be shown is refused in one line that names it,
before it can fill the memory.
"""

from __future__ import annotations

import os
import stat
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import PictureError

#: A picture: the path of a file, or a PIL picture.
Picture: TypeAlias = "str | os.PathLike[str] | Image.Image"

#: The most pixels that are decoded: from there on Pillow warns of a decompression bomb (a quarter of a gigabyte as RGB).
MAX_PIXELS = 89_478_485

#: The suffixes of the pictures that are found in a folder; a file that is named itself may have any suffix.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

_MID_GREY = (128, 128, 128, 255)
_BOMB_WARNINGS = (Image.DecompressionBombWarning, Image.DecompressionBombError)
_HEADER_LOCK = threading.Lock()  # `warnings.catch_warnings` replaces a list that all threads share


def open_picture(picture: Picture, *, data: IO[bytes] | None = None) -> Image.Image:
    """Open a picture as upright 8-bit RGB, decoded in full, with its file closed.

    EXIF rotation is applied, transparency is laid over mid-grey (128), and an animation gives its first frame. Deep greys are
    scaled, not clipped: 16-bit from 0..65535; 32-bit integers and floats from the smallest of the ranges 0..1 (floats only),
    0..255 and 0..65535 that holds all their values, otherwise from their minimum..maximum. A constant outside those ranges
    becomes mid-grey; in floats a NaN is read as 0.

    Args:
        picture: a path, or a PIL picture, which is converted in the same way.
        data: the file's bytes, if they were read already; errors then still name the path.

    Raises:
        PictureError: the picture cannot be opened, is damaged, or has more than `MAX_PIXELS` pixels.

        >>> open_picture(Image.new("L", (4, 3), 200)).getpixel((0, 0))
        (200, 200, 200)
    """
    if isinstance(picture, Image.Image):
        return _to_rgb_mode(_decode(picture, "the PIL picture"), "the PIL picture")
    if not isinstance(picture, (str, os.PathLike)):
        raise PictureError(f"a picture must be a path or a PIL picture, found {type(picture).__name__}.")
    name = repr(os.fspath(picture))
    with data or _open_file(Path(picture), name) as handle, _read_header(handle, name) as lazy:
        return _to_rgb_mode(_decode(lazy, name), name)


def find_pictures(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the pictures in files and folders, in order.

    Args:
        paths: one path or several. A file stands for itself; a folder for the pictures in and below it that have a suffix of
            `SUFFIXES`, sorted by path, without hidden files and folders.

    Raises:
        PictureError: there is no such path, or a folder has no pictures.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    files: list[Path] = []
    for path in map(Path, paths):
        if not os.path.exists(path):  # Path.exists raises if a name is too long
            raise PictureError(f"cannot open {str(path)!r}: there is no such file or folder. Check the path.")
        files += _pictures_below(path) if path.is_dir() else [path]
    return files


def _pictures_below(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    visible = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not visible:
        raise PictureError(f"no pictures in {str(folder)!r}. Looked in it and below for {', '.join(SUFFIXES)}.")
    return sorted(visible, key=lambda path: path.as_posix())


def _open_file(path: Path, name: str) -> IO[bytes]:
    """Open a regular file for reading, or say what else the path is."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise PictureError(f"cannot open {name} as a picture: it is a folder. Name a picture in it.")
        if not stat.S_ISREG(status.st_mode):
            raise PictureError(f"cannot open {name} as a picture: it is a pipe or a device. Save the picture to a file first.")
        if not status.st_size:
            raise PictureError(f"cannot open {name}: the file is empty. Get a fresh copy.")
        return path.open("rb")
    except FileNotFoundError as error:
        raise PictureError(f"cannot open {name}: there is no such file. Check the path.") from error
    except PermissionError as error:
        raise PictureError(f"cannot open {name}: reading it is not permitted. Change its permissions.") from error
    except OSError as error:
        raise PictureError(f"cannot open {name}: {error.strerror}. Check the path.") from error


def _read_header(handle: IO[bytes], name: str) -> Image.Image:
    """Read the file's header, but no pixels; Pillow's warning of a decompression bomb is treated as an error."""
    try:
        with _HEADER_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a picture with odd metadata can still be shown
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(handle)
    except _BOMB_WARNINGS as error:
        raise _bomb_error(name) from error
    except UnidentifiedImageError as error:
        raise PictureError(f"cannot open {name}: it is not a picture that Pillow knows. Convert it to PNG or JPEG.") from error
    except Exception as error:
        raise _damaged_error(name) from error


def _decode(picture: Image.Image, name: str) -> Image.Image:
    """Read all pixels of the first frame and turn them upright."""
    if picture.width * picture.height > MAX_PIXELS:  # Pillow's own limit may have been lifted
        raise _bomb_error(name)
    if not picture.width * picture.height:
        size = f"{picture.height} x {picture.width}"
        raise PictureError(f"cannot use {name}: it has {size} pixels. Give a picture with at least one pixel.")
    try:
        picture.load()
    except _BOMB_WARNINGS as error:
        raise _bomb_error(name) from error
    except Exception as error:  # Pillow's decoders raise anything: OSError, SyntaxError, struct.error, ...
        raise _damaged_error(name) from error
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # EXIF that cannot be read says nothing of a rotation
        return picture


def _bomb_error(name: str) -> PictureError:
    return PictureError(f"cannot open {name}: it has more than {MAX_PIXELS:,} pixels, too many to be safe. Shrink it first.")


def _damaged_error(name: str) -> PictureError:
    return PictureError(f"cannot open {name}: the picture is damaged or cut short. Get a fresh copy.")


def _to_rgb_mode(picture: Image.Image, name: str) -> Image.Image:
    """Convert any mode to RGB, 8 bits per channel."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_to_8_bits(picture)).convert("RGB")
    try:
        if picture.mode == "La":  # premultiplied: Pillow has no direct way to RGBA
            picture = picture.convert("LA")
        if picture.has_transparency_data:
            return Image.alpha_composite(Image.new("RGBA", picture.size, _MID_GREY), picture.convert("RGBA")).convert("RGB")
        return picture.convert("RGB")
    except ValueError as error:
        raise PictureError(f"cannot open {name}: its colours are {picture.mode}. Convert it to RGB, as PNG or JPEG.") from error


def _to_8_bits(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """Scale a deep grey picture, modes I;16, I and F, to (H, W), 0..255."""
    values = np.asarray(picture).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=_largest(values), neginf=-_largest(-values))
    if picture.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    else:
        low, high = _range(values, known=(1.0, 255.0, 65535.0) if picture.mode == "F" else (255.0, 65535.0))
    return np.rint((values - low) * 255 / (high - low)).astype(np.uint8)


def _largest(values: npt.NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0


def _range(values: npt.NDArray[np.float64], known: tuple[float, ...]) -> tuple[float, float]:
    """Return the smallest of the ranges 0..known that holds all values, else their minimum and maximum."""
    low, high = float(values.min()), float(values.max())
    for limit in known:
        if low >= 0 and high <= limit:
            return 0.0, limit
    return (low, high) if high > low else (min(2 * low, 0.0), max(2 * low, 0.0))
