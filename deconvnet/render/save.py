"""Figures and arrays written to disk: whole or not at all, the same bytes every time, with the settings that made them inside.

A figure that cannot say how it was made cannot be made again, so its settings travel in the file. A date in it would make two
equal figures differ, so there is none. Everything is written to a file beside the target and moved over it once it is complete:
an interrupted run leaves no half-written picture under a good name.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from ..errors import OptionError, PictureError
from ..json_text import json_text
from .page import Box, image_box, paint
from .pdf import write_pdf

KEY = "deconvnet"  # of the PNG text that holds the settings
RESOLUTION = 150  # dots per inch at scale 1: a sheet of 1,000 pixels prints 17 cm wide
LARGEST_SCALE = 16

_JPEG_COMMENT = 65_533  # bytes


def save_picture(
    picture: Image.Image | Box, path: str | os.PathLike[str], *, settings: Mapping[str, Any] | None = None, scale: float = 1
) -> list[Path]:
    """Save a picture or a page with the settings that made it inside, as JSON.

    The same picture and settings give the same bytes. PNG and PDF keep the pixels exactly; in a PDF the text of a page is text.

    Args:
        picture: the picture, or a page that is drawn as it is saved.
        path: the file. Its suffix chooses the format: .png keeps the settings as the text `deconvnet`, .jpg as its comment,
            .pdf as its subject.
        settings: what made the picture; None stores nothing.
        scale: how many times finer a page is drawn, above 0 and at most 16: 1 is 150 dots per inch. Its size in print stays.

    Returns:
        The path written.

    Raises:
        OptionError: another suffix, a file that cannot be written, settings that are too long for a JPEG, or no such scale.
    """
    check_suffix(path)
    check_scale(scale)
    path = Path(path)
    write = _WRITERS[path.suffix.lower()]
    text = "" if settings is None else json_text(settings, default=str)
    if write is _write_jpeg and len(text) > _JPEG_COMMENT:
        raise OptionError(f"cannot save {str(path)!r}: its settings are too long for a JPEG comment. Save it as .png.")
    page = image_box(picture) if isinstance(picture, Image.Image) else picture
    with write_atomic(path) as handle:
        write(page, handle, text, scale)
    return [path]


def save_arrays(path: str | os.PathLike[str], /, **arrays: npt.ArrayLike) -> list[Path]:
    """Save named arrays in one compressed file, which `numpy.load` opens; the same arrays give the same bytes.

    Args:
        path: the file, which ends in .npz.
        arrays: numbers or text, by name.

    Returns:
        The path written.

    Raises:
        OptionError: another suffix, an array of Python objects, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise OptionError(f"cannot save {str(path)!r}: the suffix is {path.suffix!r}. Arrays are saved as .npz.")
    values = {name: np.asarray(array) for name, array in arrays.items()}
    for name, value in values.items():
        if value.dtype.hasobject:  # numpy would pickle it, and refuse to load it again
            raise OptionError(f"cannot save {name!r}: it holds Python objects. Give numbers or text.")
    with write_atomic(path) as handle:
        np.savez_compressed(handle, **values)  # type: ignore[arg-type]
    return [path]


def check_suffix(path: str | os.PathLike[str], suffixes: Iterable[str] | None = None) -> None:
    """Raise `OptionError` unless the file's suffix is one of `suffixes`, by default those of pictures.

    For checks before any work is done.
    """
    known = list(PICTURE_SUFFIXES if suffixes is None else suffixes)
    suffix = Path(path).suffix
    if suffix.lower() not in known:
        raise OptionError(f"cannot save {os.fspath(path)!r}: the suffix is {suffix!r}. Use one of {', '.join(known)}.")


def check_scale(scale: float) -> None:
    """Raise `OptionError` unless a page can be drawn so many times finer."""
    if not 0 < scale <= LARGEST_SCALE:
        raise OptionError(
            f"scale cannot be {scale:g}: it is above 0 and at most {LARGEST_SCALE}; 1 is {RESOLUTION} dots per inch."
        )


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder and those above it, where they are not there yet.

    Raises:
        OptionError: it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder {os.fspath(folder)!r}: {error.strerror}. Choose another place.") from error


def check_folder(path: str | os.PathLike[str]) -> None:
    """Raise `OptionError` unless the folder that a file is to be written to exists.

    For checks before any work is done.
    """
    if not os.path.isdir(os.path.dirname(os.path.realpath(path))):
        advice = "Make it first." if os.path.expanduser(path) == os.fspath(path) else f"Write {os.path.expanduser(path)!r}."
        raise OptionError(f"cannot write {os.fspath(path)!r}: there is no folder {str(Path(path).parent)!r}. {advice}")


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the settings in a PNG or JPEG that `save_picture` wrote.

    Raises:
        PictureError: the file cannot be read, or holds no settings.
    """
    name = repr(os.fspath(path))
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            settings = json.loads(image.info.get(KEY) or image.info.get("comment") or "null")
    except UnidentifiedImageError as error:
        raise PictureError(f"cannot read settings from {name}: it is not a PNG or JPEG. Check the path.") from error
    except OSError as error:
        raise PictureError(f"cannot read settings from {name}: {error.strerror or error}. Check the path.") from error
    except ValueError:  # a comment by somebody else
        settings = None
    if not isinstance(settings, dict):
        raise PictureError(f"cannot read settings from {name}: there are none. Give a PNG or JPEG that deconvnet saved.")
    return settings


@contextmanager
def write_atomic(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for writing that replaces `path` once the block ends, and keeps its mode; after an error nothing has changed.

    Raises:
        OptionError: the folder does not exist, or the disk refuses the file.

        >>> with write_atomic("table.bin") as handle:
        ...     handle.write(b"1 2 3")
    """
    path = Path(path)
    target = Path(os.path.realpath(path))  # through a link, not in place of it
    if os.path.isdir(target):
        raise OptionError(f"cannot write {str(path)!r}: it is a folder. Name a file in it.")
    check_folder(path)
    beside = target.parent / f".{secrets.token_hex(8)}.tmp"  # on the same disk, or it could not be moved in one step
    try:
        with open(beside, "x+b") as handle:
            yield handle
        with suppress(FileNotFoundError):
            shutil.copymode(target, beside)  # what others may read or not stays so
        os.replace(beside, target)
    except OSError as error:
        if error.errno is None:
            raise  # not the disk's: raised by what the block does
        raise OptionError(f"cannot write {str(path)!r}: {error.strerror}. Choose another place.") from error
    finally:
        beside.unlink(missing_ok=True)


def _write_png(page: Box, handle: IO[bytes], settings: str, scale: float) -> None:
    text = PngImagePlugin.PngInfo()
    if settings:
        text.add_text(KEY, settings)
    paint(page, scale).save(handle, "PNG", pnginfo=text, dpi=(RESOLUTION * scale, RESOLUTION * scale))


def _write_jpeg(page: Box, handle: IO[bytes], settings: str, scale: float) -> None:
    dots = round(RESOLUTION * scale)
    options = {"quality": 95, "subsampling": 0, "dpi": (dots, dots)}
    paint(page, scale).save(handle, "JPEG", comment=settings.encode("ascii"), **options)


def _write_pdf(page: Box, handle: IO[bytes], settings: str, scale: float) -> None:
    write_pdf([page], handle, subject=settings, resolution=RESOLUTION, scale=scale)


_WRITERS: dict[str, Callable[[Box, IO[bytes], str, float], None]] = {
    ".png": _write_png,
    ".jpg": _write_jpeg,
    ".jpeg": _write_jpeg,
    ".pdf": _write_pdf,
}

#: The suffixes of the formats that pictures are saved in.
PICTURE_SUFFIXES = tuple(_WRITERS)
