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
from .page import Box, image_box
from .pdf import write_pdf
from .save import RESOLUTION, check_scale, check_suffix, save_picture, write_atomic


def save_plates(
    pages: Iterable[Image.Image | Box],
    path: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any] | None = None,
    scale: float = 1,
) -> list[Path]:
    """Save pages as PNG, JPEG or PDF, with the settings that made them inside.

    Each file is written whole or not at all, and the same pages give the same bytes.

    Args:
        pages: the pages. They may come from a generator: each is released once it is written.
        path: the file. One page is saved under this name. Several become the pages of one PDF, or numbered files:
            plate.png becomes plate-001.png, plate-002.png and so on, whose settings also have their number as "page".
        settings: what made the pages; None stores nothing.
        scale: how many times finer pages are drawn; see `save_picture`.

    Returns:
        The paths written.

    Raises:
        OptionError: another suffix, no page, or a file that cannot be written.
    """
    check_suffix(path)
    check_scale(scale)
    path = Path(path)
    remaining = iter(pages)
    first = list(itertools.islice(remaining, 2))
    if not first:
        raise OptionError(f"cannot save {str(path)!r}: there is no page to write. Give at least one.")
    if len(first) == 1:
        return save_picture(first[0], path, settings=settings, scale=scale)
    every = _all_pages(first, remaining)
    save = _save_pdf if path.suffix.lower() == ".pdf" else _save_numbered
    return save(every, path, settings, scale)


def _all_pages(first: list[Image.Image | Box], remaining: Iterator[Image.Image | Box]) -> Iterator[Image.Image | Box]:
    """Yield all pages and release each."""
    while first:
        yield first.pop(0)
    yield from remaining


def _save_pdf(pages: Iterator[Image.Image | Box], path: Path, settings: Mapping[str, Any] | None, scale: float) -> list[Path]:
    subject = "" if settings is None else json_text(settings, default=str)
    with write_atomic(path) as handle:
        boxes = (image_box(page) if isinstance(page, Image.Image) else page for page in pages)
        write_pdf(boxes, handle, subject=subject, resolution=RESOLUTION, scale=scale)
    return [path]


def _save_numbered(
    pages: Iterator[Image.Image | Box], path: Path, settings: Mapping[str, Any] | None, scale: float
) -> list[Path]:
    written: list[Path] = []
    for number, page in enumerate(pages, start=1):
        numbered = path.with_name(f"{path.stem}-{number:03d}{path.suffix}")
        numbered_settings = None if settings is None else {**settings, "page": number}
        written += save_picture(page, numbered, settings=numbered_settings, scale=scale)
    return written
