"""Plates written to disk as they are drawn: never more than two pages are held, however many there are."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import OptionError
from ..json_text import json_text
from .pdf import write_pdf
from .save import RESOLUTION, check_suffix, save_picture, write_atomic


def save_plates(
    pages: Iterable[Image.Image], path: str | os.PathLike[str], *, settings: Mapping[str, Any] | None = None
) -> list[Path]:
    """Save pages as PNG, JPEG or PDF, with the settings that made them inside.

    Each file is written whole or not at all, and the same pages give the same bytes.

    Args:
        pages: the pages. They may come from a generator: each is released once it is written.
        path: the file. One page is saved under this name. Several become the pages of one PDF, or numbered files:
            plate.png becomes plate-001.png, plate-002.png and so on, whose settings also have their number as "page".
        settings: what made the pages; None stores nothing.

    Returns:
        The paths written.

    Raises:
        OptionError: another suffix, no page, or a file that cannot be written.
    """
    check_suffix(path)
    path = Path(path)
    remaining = iter(pages)
    first = list(itertools.islice(remaining, 2))
    if not first:
        raise OptionError(f"cannot save {str(path)!r}: there is no page to write. Give at least one.")
    if len(first) == 1:
        return save_picture(first[0], path, settings=settings)
    every = _all_pages(first, remaining)
    return _save_pdf(every, path, settings) if path.suffix.lower() == ".pdf" else _save_numbered(every, path, settings)


def _all_pages(first: list[Image.Image], remaining: Iterator[Image.Image]) -> Iterator[Image.Image]:
    """Yield all pages and release each."""
    while first:
        yield first.pop(0)
    yield from remaining


def _save_pdf(pages: Iterator[Image.Image], path: Path, settings: Mapping[str, Any] | None) -> list[Path]:
    subject = "" if settings is None else json_text(settings, default=str)
    with write_atomic(path) as handle:
        write_pdf(pages, handle, subject=subject, resolution=RESOLUTION)
    return [path]


def _save_numbered(pages: Iterator[Image.Image], path: Path, settings: Mapping[str, Any] | None) -> list[Path]:
    written: list[Path] = []
    for number, page in enumerate(pages, start=1):
        numbered = path.with_name(f"{path.stem}-{number:03d}{path.suffix}")
        written += save_picture(page, numbered, settings=None if settings is None else {**settings, "page": number})
    return written
