"""What a notebook shows of pictures: HTML in which every word is escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import PurePath
from typing import Any

from PIL import Image

from ..images import ShownImage, to_rgb

THUMBNAIL_SIDE = 128  # pixels: a picture's longer side


def images_html(images: Sequence[ShownImage], note: str) -> str:
    """Set images beside each other, each with its name and what the net says first, over a line of text."""
    cells = [
        (
            thumbnail(Image.fromarray(to_rgb(image.pixels))),
            PurePath(image.source).name,
            image.words(1),
        )
        for image in images
    ]
    return f"{_figures(cells)}<p>{escape(note)}</p>"


def _figures(cells: Sequence[tuple[str, str, str]]) -> str:
    """Set pictures, given as (URI, name, note), beside each other over their names and notes."""
    figures = "".join(
        f'<figure style="margin:0;width:{THUMBNAIL_SIDE}px"><img src="{source}" alt="{escape(name)}" style="display:block">'
        f'<figcaption style="font-size:12px;overflow-wrap:anywhere">{escape(name)}<br>{escape(note)}</figcaption></figure>'
        for source, name, note in cells
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{figures}</div>' if cells else ""


def thumbnail(image: Image.Image) -> str:
    """Return a picture as a data URI, reduced to `THUMBNAIL_SIDE` pixels if it is larger."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return data_uri(small, optimize=True)


def data_uri(image: Image.Image, **options: Any) -> str:
    """Return a picture as the data URI of a PNG; `options` are those of Pillow's PNG writer."""
    buffer = BytesIO()
    image.save(buffer, "PNG", **options)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
