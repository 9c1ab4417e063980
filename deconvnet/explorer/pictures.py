"""What the explorer shows, drawn from its state: the maps, one map, the picture, the patch, the projection, the numbers."""

from __future__ import annotations

import math
from html import escape

import numpy as np
from PIL import Image

from ..crops import cut_window
from ..images import to_rgb
from ..projection import Projection
from ..render import COLOURS, apply_tone, draw_windows
from ..render.text import number_text, size_text
from ..render.tile import draw_tile
from ..render.tone import Pixels
from ..sheets import make_tiles
from .state import Explorer, Maps

COLUMNS = 6  # of the mosaic
SIDE = 336  # pixels of a tile's longer side


def grey_maps(maps: Maps) -> Pixels:
    """Turn maps (K, H', W') into greys, 0..255, each on its own scale.

    Zero is black, or mid-grey if any map has negative values. Maps of one unit share a scale: alone, each would be white.
    """
    axes = None if maps.shape[1:] == (1, 1) else (1, 2)
    largest = np.abs(maps).max(axis=axes, keepdims=True) if maps.size else np.ones((1, 1, 1))
    scaled = np.divide(maps, largest, out=np.zeros(maps.shape), where=largest > 0)
    return np.rint(127.5 * scaled + 127.5 if (maps < 0).any() else 255 * scaled).astype(np.uint8)


def draw_mosaic(explorer: Explorer) -> Image.Image:
    """Draw the page's maps in rows of `COLUMNS`, without gaps: one picture for all the buttons."""
    greys = grey_maps(explorer.maps[explorer.page_channels])
    height, width = explorer.size
    mosaic = np.zeros((math.ceil(len(greys) / COLUMNS) * height, COLUMNS * width), np.uint8)
    for number, grey in enumerate(greys):
        top, left = number // COLUMNS * height, number % COLUMNS * width
        mosaic[top : top + height, left : left + width] = grey
    return Image.fromarray(mosaic)


def draw_map(explorer: Explorer) -> Image.Image:
    """Draw the channel's map, one pixel per unit."""
    return Image.fromarray(grey_maps(explorer.map[None])[0])


def draw_picture(explorer: Explorer) -> Image.Image:
    """Draw the pixels that the net saw, with the unit's window on them."""
    projection = explorer.projection
    pixels, unit = to_rgb(projection.shown[0].pixels), projection.units[0]
    windows = [] if unit.row is None else projection.windows
    return draw_windows(pixels, windows, COLOURS[: len(windows)], SIDE / max(pixels.shape[:2]))


def draw_patch_and_projection(explorer: Explorer) -> tuple[Image.Image, Image.Image]:
    """Draw the part of the picture where the projection is, and the projection there."""
    projection = explorer.projection
    (tile,) = make_tiles(projection)
    (toned,) = apply_tone([tile.pixels], explorer.tone, inside=[tile.reached or tile.inside])
    colour = None if tile.window is None or tile.window.covers(*projection.frame[1:]) else COLOURS[0]
    patch = cut_patch(projection)
    return draw_tile(patch, tile.inside, SIDE, colour), draw_tile(toned, tile.inside, SIDE, colour)


def cut_patch(projection: Projection) -> Pixels:
    """Cut the part of the picture where the projection is, (h, w, 3)."""
    pixels = to_rgb(projection.shown[0].pixels)
    patch: Pixels = np.moveaxis(cut_window(np.moveaxis(pixels, -1, 0), projection.boxes[0]), 0, -1)
    return patch


def facts(explorer: Explorer) -> list[tuple[str, str]]:
    """Return the numbers beside the pictures, each with its name."""
    unit, info, projection = explorer.unit, explorer.info, explorer.projection
    window, settings = projection.windows[0], projection.settings
    position = f"all {size_text(explorer.size)} of it" if unit.row is None else f"row {unit.row}, column {unit.col}"
    inactive = "" if unit.activation and unit.activation > 0 else ": inactive, no signal goes down"
    whole = window.covers(*projection.frame[1:])
    rows = [
        ("layer", f"{info.name} ({info.kind}), {size_text((info.channels, *explorer.size))}"),
        ("channel", f"{unit.channel}, number {explorer.rank} of {info.channels} by strength here"),
        ("unit", position),
        ("activation", f"{number_text(unit.activation or 0)}{inactive}"),
        ("of its map", f"{float((explorer.map > 0).mean()):.0%} above 0, mean {number_text(float(explorer.map.mean()))}"),
        ("window", f"{size_text((window.height, window.width))} pixels{', the whole picture' if whole else ''}"),
        ("rule", f"{settings['rule']} ({settings['bits']}); met: {', '.join(settings['statuses'])}"),
        *([("its reason", projection.rule_reason)] if projection.rule_reason else []),
    ]
    classes = projection.shown[0].words()
    return [*rows, ("the net says", classes)] if classes else rows


def facts_html(explorer: Explorer) -> str:
    """Return the numbers as an HTML table, over the line of Python that makes the projection again."""
    rows = "".join(f"<tr><th scope=row>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts(explorer))
    return f"<table>{rows}</table><code>{escape(explorer.code())}</code>"
