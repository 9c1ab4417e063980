"""One projection as it stands on a page: toned pixels, padding told from signal, a coloured frame, a caption."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ..units import Window
from .overlay import COLOURS, Colour, enlarge
from .page import Box, Drawing, below, beside, line, over
from .text import FAINT, INK, SMALL, text_width

FRAME = 2  # pixels around a tile, kept free also where there is no frame, so that tiles stand in line
HAIRLINE = (205, 205, 205)

_PAD, _HATCH, _STEP = 176, 160, 6  # padding: a quiet grey, lighter than zero, with a line every six pixels
GAP = 8  # between tiles
_SPACE = 6  # between number and activation
_NARROWEST = 44  # the cell of a tile, however small the tile: room for "inactive"


@dataclass(frozen=True)
class Tile:
    """A projection and what is written with it.

    `pixels` is the signed projection (C, h, w) on its window; `window` that window in the picture (None for a whole map, which
    covers it all); `label` names the channel, as in "151"; `row` and `col` are the unit's place in its map. `inside` is the
    part of `pixels`, in its own rows and columns, that lies in the frame: the rest is padding. None: all of it does.
    `reached` is the part that the tone's scale is taken from, where that is not `inside`: a unit's window in a whole frame.
    """

    pixels: npt.NDArray[np.floating]
    window: Window | None = None
    label: str = ""
    activation: float | None = None
    row: int | None = None
    col: int | None = None
    inside: Window | None = None
    reached: Window | None = None


def tile_colours(tiles: Sequence[Tile], height: int, width: int) -> list[Colour | None]:
    """Give a colour to each of the first nine tiles whose window is smaller than the picture (height x width pixels)."""
    colours: list[Colour | None] = []
    unused = iter(COLOURS)
    for tile in tiles:
        whole = tile.window is None or tile.window.covers(height, width)
        colours.append(None if whole else next(unused, None))
    return colours


def tile_rows(
    tiles: Sequence[Tile],
    shown: Sequence[npt.NDArray[np.uint8]],
    colours: Sequence[Colour | None],
    columns: int,
    side: int,
) -> Box:
    """Set tiles in rows of `columns`, each with its caption, in cells of one size.

    `shown` are the tiles' toned pixels, (h, w, 3) each, drawn with their longer side `side` pixels in a frame of their colour.
    """
    triples = zip(tiles, shown, colours, strict=True)
    images = [draw_tile(pixels, tile.inside, side, colour) for tile, pixels, colour in triples]
    width = max([_NARROWEST, *(image.width for image in images)])
    form = caption_form(tiles, width)
    cells = [captioned(image, tile, width, form=form) for image, tile in zip(images, tiles, strict=True)]
    return below([beside(cells[first : first + columns], GAP) for first in range(0, len(cells), columns)], GAP)


def draw_tile(shown: npt.NDArray[np.uint8], inside: Window | None, side: int, colour: Colour | None) -> Image.Image:
    """Draw toned pixels (h, w, 3) with their longer side `side` pixels, in a frame; padding is hatched, without colour grey."""
    if not shown.size:  # a unit that no pixel reaches: all padding
        shown, inside = np.zeros((1, 1, 3), np.uint8), Window(0, 0, 0, 0)
    scale = side / max(shown.shape[:2])
    image = enlarge(shown, scale)
    if inside is not None and not inside.covers(*shown.shape[:2]):
        image = _hatched_outside(image, inside.clip(*shown.shape[:2]), scale)
    framed = Image.new("RGB", (image.width + 2 * FRAME, image.height + 2 * FRAME), colour or (255, 255, 255))
    if colour is None:
        edge = (FRAME - 1, FRAME - 1, framed.width - FRAME, framed.height - FRAME)
        ImageDraw.Draw(framed).rectangle(edge, outline=HAIRLINE)
    framed.paste(image, (FRAME, FRAME))
    return framed


def _hatched_outside(image: Image.Image, inside: Window, scale: float) -> Image.Image:
    """Draw all but the part inside the frame as hatched paper: nothing arrived there because nothing could."""
    rows, columns = np.indices((image.height, image.width))
    hatch = np.where((rows + columns) % _STEP == 0, _HATCH, _PAD).astype(np.uint8)
    paper = Image.fromarray(hatch).convert("RGB")
    left, top, right, bottom = (round(edge * scale) for edge in (inside.left, inside.top, inside.right, inside.bottom))
    paper.paste(image.crop((left, top, right, bottom)), (left, top))
    return paper


def captioned(image: Image.Image, tile: Tile, width: int, *, form: str) -> Box:
    """Set a tile over its caption, in a cell `width` pixels wide; `form` is a key of `CAPTIONS`."""
    name, value = CAPTIONS[form](tile)
    ink = FAINT if value == "inactive" else INK
    picture = Box(width, image.height, (Drawing(image, left=(width - image.width) // 2),))
    if form == "stacked":
        return below([picture, line(name, SMALL, width, ink=ink), line(value, SMALL, width, ink=FAINT)])
    room = width - (text_width(value, SMALL) + _SPACE if value else 0)
    caption = over(line(name, SMALL, room, ink=ink), line(value, SMALL, width, ink=FAINT, align="right"))
    return below([picture, caption])


def caption_form(tiles: Sequence[Tile], width: int) -> str:
    """Choose the fullest caption that fits a cell `width` pixels wide for every one of the tiles."""
    for form in ("placed", "plain"):
        texts = [" ".join(CAPTIONS[form](tile)) for tile in tiles]
        if all(text_width(text, SMALL) + _SPACE <= width for text in texts):
            return form
    return "stacked" if any(tile.activation is not None for tile in tiles) else "plain"


def _name(tile: Tile) -> str:
    return f"#{tile.label}" if tile.label[:1].isdigit() else tile.label


def _placed_name(tile: Tile) -> str:
    return _name(tile) + (f" at {tile.row},{tile.col}" if tile.row is not None and tile.col is not None else "")


def value_text(activation: float | None) -> str:
    """Write an activation with three digits; one that is not above zero sends nothing down and is called inactive."""
    if activation is None:
        return ""
    if activation <= 0:
        return "inactive"
    if not math.isfinite(activation) or not 0.001 <= activation < 99_999.5:
        return f"{activation:.2g}"
    return f"{activation:.{max(0, 2 - math.floor(math.log10(activation)))}f}" if activation >= 1 else f"{activation:.3g}"


#: How a tile is captioned: its name and its value.
CAPTIONS = {
    "placed": lambda tile: (_placed_name(tile), value_text(tile.activation)),  # #151 at 6,6      12.3
    "plain": lambda tile: (_name(tile), value_text(tile.activation)),          # #151      12.3
    "stacked": lambda tile: (_name(tile), value_text(tile.activation)),        # the value on a line of its own
}  # fmt: skip
