"""One projection on a page: toned pixels, padding that cannot be mistaken for signal, a coloured frame, a caption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ..choices import Crop
from ..units import Window
from .overlay import draw_windows, enlarge
from .page import Box, drawing_box, hstack, superimpose, text_line, vstack
from .palette import COLOURS, FAINT, INK, PALE, Colour
from .text import SMALL, activation_text, text_width
from .tone import Pixels

FRAME = 2  # pixels around a tile, kept free also where there is no frame, so that tiles align
HAIRLINE = PALE  # the frame of a tile without a colour
GAP = 8  # pixels between tiles

#: What a figure says of what its tiles show.
CROP_WORDS: dict[Crop, str] = {
    "energy": "tiles hold 95 % of the energy",
    "window": "tiles show all that a unit can reach",
    "whole": "tiles show the whole picture",
}

_PADDING, _HATCH, _HATCH_STEP = 176, 160, 6  # padding: a quiet grey, lighter than zero, with a line every six pixels
_CAPTION_GAP = 6  # pixels between a tile's name and its activation
_NARROWEST = 44  # pixels: the cell of a tile, however small the tile, has room for "inactive"

#: Where name, position and activation stand in a caption.
CaptionForm: TypeAlias = Literal["positioned", "plain", "stacked"]


@dataclass(frozen=True, eq=False)
class Tile:
    """A projection and its caption.

    Attributes:
        pixels: (C, h, w): the signed projection, or the part of it that is shown.
        window: the unit's window in the picture; None for a whole map, which covers the picture.
        label: the channel, as in "151".
        activation: the unit's activation; None where it is not written.
        row, col: the unit's position in its map; None for a whole map.
        inside: the part of `pixels`, in its rows and columns, that lies in the picture's frame: the rest is padding. None: all
            of it.
        reached: the part of `pixels` that the tone's scale is taken from, where that is not `inside`: the part in the unit's
            window.
        note: what else is known of the unit, on a line of its own; "" where there is nothing.
        drawn: (h, w, 3): what is shown in place of toned pixels, such as a curve.
    """

    pixels: npt.NDArray[np.floating]
    window: Window | None = None
    label: str = ""
    activation: float | None = None
    row: int | None = None
    col: int | None = None
    inside: Window | None = None
    reached: Window | None = None
    note: str = ""
    drawn: Pixels | None = None


def has_outline(tile: Tile, height: int, width: int) -> bool:
    """Say whether a tile's window is smaller than the picture (height x width pixels)."""
    return tile.window is not None and not tile.window.covers(height, width)


def tile_colours(tiles: Sequence[Tile], height: int, width: int, outlines: int) -> list[Colour | None]:
    """Give a colour to each of the first tiles whose window is smaller than the picture, to `outlines` of them or to nine."""
    colours: list[Colour | None] = []
    unused = iter(COLOURS[:outlines])
    for tile in tiles:
        colours.append(next(unused, None) if has_outline(tile, height, width) else None)
    return colours


def tile_rows(tiles: Sequence[Tile], toned: Sequence[Pixels], colours: Sequence[Colour | None], columns: int, side: int) -> Box:
    """Set tiles in rows, each over its caption, in cells of one size.

    Args:
        tiles: the tiles.
        toned: their toned pixels, (h, w, 3) each.
        colours: the colour of each tile's frame; None for a hairline.
        columns: how many tiles stand in a row.
        side: the longer side of a tile without its frame, in pixels.
    """
    triples = zip(tiles, toned, colours, strict=True)
    pictures = [tile_box(pixels, tile.inside, side, colour) for tile, pixels, colour in triples]
    width = max([_NARROWEST, *(picture.width for picture in pictures)])
    form = caption_form(tiles, width)
    cells = [captioned(picture, tile, width, form) for picture, tile in zip(pictures, tiles, strict=True)]
    if any(tile.note for tile in tiles):
        cells = [vstack([cell, text_line(tile.note, SMALL, width, ink=FAINT)]) for cell, tile in zip(cells, tiles, strict=True)]
    return vstack([hstack(cells[first : first + columns], GAP) for first in range(0, len(cells), columns)], GAP)


def tile_box(toned: Pixels, inside: Window | None, side: int, colour: Colour | None) -> Box:
    """Return a box with a tile; the arguments are those of `draw_tile`."""
    height, width = drawn_size(toned, side)
    return drawing_box(width + 2 * FRAME, height + 2 * FRAME, partial(draw_tile, toned, inside, side, colour))


def windows_box(picture: Pixels, windows: Sequence[Window | None], colours: Sequence[Colour], side: int) -> Box:
    """Return a picture with its longer side `side` pixels, and windows on it, each in its colour."""
    height, width = drawn_size(picture, side)

    def draw(scale: float) -> Image.Image:
        line = {"width": max(round(2 * scale), 1), "halo": max(round(scale), 1)}
        return draw_windows(picture, windows, colours, scale * side / max(picture.shape[:2]), **line)

    return drawing_box(width, height, draw)


def drawn_size(toned: Pixels, side: int) -> tuple[int, int]:
    """Return the height and width of a tile without its frame, whose longer side is `side` pixels."""
    height, width = toned.shape[:2] if toned.size else (1, 1)
    scale = side / max(height, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def draw_tile(toned: Pixels, inside: Window | None, side: int, colour: Colour | None, page_scale: float = 1) -> Image.Image:
    """Draw toned pixels in a frame, with their padding hatched.

    Args:
        toned: (h, w, 3), 0..255.
        inside: the part of them that is not padding; None: all of it.
        side: their longer side on the page, in pixels.
        colour: the frame's colour; None for a hairline.
        page_scale: how many times larger everything is drawn.

    Returns:
        A picture that is larger than the tile by a frame on each side.
    """
    if not toned.size:  # a unit that no pixel reaches: all padding
        toned, inside = np.zeros((1, 1, 3), np.uint8), Window(0, 0, 0, 0)
    scale, frame = side * page_scale / max(toned.shape[:2]), round(FRAME * page_scale)
    image = enlarge(toned, scale)
    if inside is not None and not inside.covers(*toned.shape[:2]):
        image = _hatch_outside(image, inside.clip(*toned.shape[:2]), scale, page_scale)
    framed = Image.new("RGB", (image.width + 2 * frame, image.height + 2 * frame), colour or (255, 255, 255))
    if colour is None:
        line = max(round(page_scale), 1)
        edge = (frame - line, frame - line, framed.width - frame + line - 1, framed.height - frame + line - 1)
        ImageDraw.Draw(framed).rectangle(edge, outline=HAIRLINE, width=line)
    framed.paste(image, (frame, frame))
    return framed


def _hatch_outside(image: Image.Image, inside: Window, scale: float, page_scale: float) -> Image.Image:
    """Hatch everything but the part inside the frame: nothing arrived there because nothing could."""
    rows, columns = np.indices((image.height, image.width))
    lines = (rows + columns) % max(round(_HATCH_STEP * page_scale), 1) < max(round(page_scale), 1)
    hatch = np.where(lines, _HATCH, _PADDING).astype(np.uint8)
    hatched = Image.fromarray(hatch).convert("RGB")
    left, top, right, bottom = (round(edge * scale) for edge in (inside.left, inside.top, inside.right, inside.bottom))
    hatched.paste(image.crop((left, top, right, bottom)), (left, top))
    return hatched


def captioned(picture: Box, tile: Tile, width: int, form: CaptionForm) -> Box:
    """Set a tile over its caption, in a cell `width` pixels wide."""
    name, value = _CAPTIONS[form](tile)
    ink = FAINT if value == "inactive" else INK
    picture = Box(width, picture.height, picture.moved((width - picture.width) // 2, 0))
    if form == "stacked":
        return vstack([picture, text_line(name, SMALL, width, ink=ink), text_line(value, SMALL, width, ink=FAINT)])
    room = width - (text_width(value, SMALL) + _CAPTION_GAP if value else 0)
    caption = superimpose(text_line(name, SMALL, room, ink=ink), text_line(value, SMALL, width, ink=FAINT, align="right"))
    return vstack([picture, caption])


def caption_form(tiles: Sequence[Tile], width: int) -> CaptionForm:
    """Choose the fullest caption that fits into a cell `width` pixels wide for each of the tiles."""
    forms: tuple[CaptionForm, ...] = ("positioned", "plain")
    for form in forms:
        texts = [" ".join(_CAPTIONS[form](tile)) for tile in tiles]
        if all(text_width(text, SMALL) + _CAPTION_GAP <= width for text in texts):
            return form
    return "stacked" if any(tile.activation is not None for tile in tiles) else "plain"


def _name_and_position(tile: Tile) -> str:
    """Write a unit as `parse_unit` reads it, but without the layer, which stands in the heading."""
    return tile.label + (f"@{tile.row},{tile.col}" if tile.row is not None and tile.col is not None else "")


#: form -> the caption's two texts: the name and the activation.
_CAPTIONS: dict[CaptionForm, Callable[[Tile], tuple[str, str]]] = {
    "positioned": lambda tile: (_name_and_position(tile), activation_text(tile.activation)),  # 151@6,6      12.3
    "plain": lambda tile: (tile.label, activation_text(tile.activation)),                     # 151      12.3
    "stacked": lambda tile: (tile.label, activation_text(tile.activation)),                   # the activation on its own line
}  # fmt: skip
