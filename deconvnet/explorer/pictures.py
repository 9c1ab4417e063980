"""What the explorer shows, drawn from its state: the mosaic of maps, one map, the picture, the patch and the projection."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..images import to_rgb
from ..projection import Projection
from ..render import COLOURS, apply_tone, draw_windows
from ..render.text import size_text
from ..render.tile import draw_tile
from ..sheets import make_tiles
from .state import Explorer, Maps

COLUMNS = 6  # of the mosaic
SIDE = 336  # pixels of a tile's longer side

Greys = npt.NDArray[np.uint8]


def grey_maps(maps: Maps) -> Greys:
    """Turn maps (K, H', W') into greys, each on its own scale: 0 is black, or mid-grey where any value of them is negative.

    Layers of single units share one scale: alone, each would be white.
    """
    axes = None if maps.shape[1:] == (1, 1) else (1, 2)
    largest = np.abs(maps).max(axis=axes, keepdims=True) if maps.size else np.ones((1, 1, 1))
    scaled = np.divide(maps, largest, out=np.zeros(maps.shape), where=largest > 0)
    return np.rint(127.5 * scaled + 127.5 if (maps < 0).any() else 255 * scaled).astype(np.uint8)


def mosaic(explorer: Explorer) -> Image.Image:
    """Lay the page's maps out in rows of `COLUMNS`, without gaps: one picture for all the buttons."""
    greys = grey_maps(explorer.maps[explorer.shown])
    height, width = explorer.size
    sheet = np.zeros((math.ceil(len(greys) / COLUMNS) * height, COLUMNS * width), np.uint8)
    for number, grey in enumerate(greys):
        top, left = number // COLUMNS * height, number % COLUMNS * width
        sheet[top : top + height, left : left + width] = grey
    return Image.fromarray(sheet)


def one_map(explorer: Explorer) -> Image.Image:
    """Draw the channel's map, a pixel a unit."""
    return Image.fromarray(grey_maps(explorer.map[None])[0])


def picture(explorer: Explorer) -> Image.Image:
    """Draw the very pixels that the net saw, with the unit's window on them."""
    projection = explorer.projection
    seen, unit = to_rgb(projection.shown[0].pixels), projection.units[0]
    windows = [] if unit.row is None else projection.windows
    return draw_windows(seen, windows, COLOURS[: len(windows)], SIDE / max(seen.shape[:2]))


def patch_and_projection(explorer: Explorer) -> tuple[Image.Image, Image.Image]:
    """Draw what the unit's window holds of the picture, and beside it the projection; hatched is what lies beyond the edge."""
    projection = explorer.projection
    tile = make_tiles(projection)[0]
    pixels = np.asarray(tile.pixels)
    (shown,) = apply_tone([pixels], explorer.tone, inside=[tile.reached or tile.inside])
    colour = None if tile.window is None or tile.window.covers(*projection.frame[1:]) else COLOURS[0]
    return draw_tile(_patch(projection, pixels.shape[1:]), tile.inside, SIDE, colour), draw_tile(
        shown, tile.inside, SIDE, colour
    )


def _patch(projection: Projection, size: Any) -> Greys:
    """Cut what stands in the window out of the picture, (h, w, 3); of a tile as large as the frame, all of it."""
    seen, window = to_rgb(projection.shown[0].pixels), projection.windows[0]
    if tuple(size) == projection.frame[1:]:
        return seen
    inside = window.clip(*seen.shape[:2])
    patch = np.zeros((*size, 3), np.uint8)
    top, left = inside.top - window.top, inside.left - window.left
    patch[top : top + inside.height, left : left + inside.width] = seen[inside.top : inside.bottom, inside.left : inside.right]
    return patch


def facts(explorer: Explorer) -> list[tuple[str, str]]:
    """Return the numbers that stand beside the pictures: what they are of, and each."""
    unit, info, projection = explorer.unit, explorer.info, explorer.projection
    window, settings = projection.windows[0], projection.settings
    place = f"all {size_text(explorer.size)} of it" if unit.row is None else f"row {unit.row}, column {unit.col}"
    lasting = "" if unit.activation and unit.activation > 0 else ": inactive, no signal goes down"
    whole = window.covers(*projection.frame[1:])
    rows = [
        ("layer", f"{info.name} ({info.kind}), {size_text((info.channels, *explorer.size))}"),
        ("channel", f"{unit.channel}, number {explorer.rank} of {info.channels} by strength here"),
        ("unit", place),
        ("activation", f"{unit.activation:.4g}{lasting}"),
        ("of its map", f"{float((explorer.map > 0).mean()):.0%} above 0, mean {float(explorer.map.mean()):.3g}"),
        ("window", f"{size_text((window.height, window.width))} pixels{', the whole picture' if whole else ''}"),
        ("rule", f"{settings['rule']} ({settings['bits']}); met: {', '.join(settings['statuses'])}"),
    ]
    answers = ", ".join(f"{name} {share:.0%}" for name, share in projection.shown[0].top_classes if share >= 0.005)
    return [*rows, ("the net says", answers)] if answers else rows


def facts_table(explorer: Explorer) -> str:
    """Return the numbers as an HTML table, and the line of Python that makes the projection again."""
    rows = "".join(f"<tr><th scope=row>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts(explorer))
    return f"<table>{rows}</table><code>{escape(explorer.code())}</code>"
