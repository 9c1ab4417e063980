"""A plate, as in Zeiler & Fergus 2014, Figure 2: a channel's nine projections, beside them the nine patches they came from."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from PIL import Image, ImageDraw

from ..choices import Tone
from ..errors import OptionError
from .example import Drawn, Panel, draw_panel
from .page import PAPER, Box, below, beside, drawing, framed, line, over, paint
from .text import BODY, FAINT, HEADING, SMALL, TITLE, fit, text_width, wrap
from .tile import HAIRLINE, value_text
from .tone import Pixels

MARGIN = 24
ROOM = 1752  # pixels for the panels of a row: with the margins, 1,800
GUTTER = 32  # between panels
SLIT = 2  # between the tiles of a block
MIDDLE = 12  # between projections and patches
SMALLEST_TILE, LARGEST_TILE = 24, 160

LEGEND = "In each panel, left: projections of the strongest activations, strongest first; right: the patches they came from."
PADDING = " Hatched: beyond the picture's edge."
NOTHING = "no picture excites this channel"

_ACROSS = 3  # tiles in a row of a block, as in the paper; more only where there are more than nine
_SPACE = 12  # between words on one line
_NARROWEST = 240  # a panel, however small its tiles: room for its caption


def plate_shape(count: int, *, columns: int | None = None, tile: int | None = None, examples: int = 9) -> tuple[int, int]:
    """Return the panels in a row and the longer side of a tile, in pixels, of a page with `count` panels.

    What is given is kept, the other is chosen so that a row fills 1,800 pixels, with tiles from 24 to 160 pixels.

        >>> plate_shape(1), plate_shape(4), plate_shape(12), plate_shape(24)
        ((1, 160), (2, 140), (3, 90), (4, 65))
    """
    if columns is not None and columns < 1:
        raise OptionError(f"columns cannot be {columns}: a row has at least one panel.")
    if tile is not None and tile < 8:
        raise OptionError(f"tile cannot be {tile}: a tile has at least 8 pixels.")
    across = _across(examples)
    if columns is None:
        columns = next(few for few, most in ((1, 1), (2, 2), (3, 3), (2, 4), (3, 12), (4, math.inf)) if count <= most)
        if tile is not None:
            columns = max(min(columns, (ROOM + GUTTER) // (_panel_width(tile, across) + GUTTER)), 1)
    if tile is None:
        room = (ROOM - (columns - 1) * GUTTER) // columns - MIDDLE + 2 * SLIT
        tile = min(max(room // (2 * across) - SLIT, SMALLEST_TILE), LARGEST_TILE)
    return columns, tile


def draw_plate(
    panels: Sequence[Panel],
    *,
    tone: Tone = "symmetric",
    percentile: float = 99.5,
    title: str = "",
    footer: str = "",
    columns: int | None = None,
    tile: int | None = None,
) -> Image.Image:
    """Draw one page as an RGB picture, a panel for each channel; the page of a single channel also names the pictures.

    `columns` is the number of panels in a row, `tile` the longer side of a tile in pixels, both by default those of
    `plate_shape`. Examples that `draw_examples` made are taken as they are; `tone` and `percentile` are for the others.
    """
    return paint(
        lay_out_plate(panels, tone=tone, percentile=percentile, title=title, footer=footer, columns=columns, tile=tile)
    )


def lay_out_plate(
    panels: Sequence[Panel],
    *,
    tone: Tone = "symmetric",
    percentile: float = 99.5,
    title: str = "",
    footer: str = "",
    columns: int | None = None,
    tile: int | None = None,
) -> Box:
    """Place everything that `draw_plate` draws, without drawing the page."""
    if not panels:
        raise OptionError("a plate without a channel cannot be drawn. Give at least one panel.")
    most = max(len(panel.examples) for panel in panels)
    columns, side = plate_shape(len(panels), columns=columns, tile=_side_of(panels, tile), examples=most)
    prepared = [draw_panel(panel, side, tone=tone, percentile=percentile) for panel in panels]
    examples = [example for panel in prepared for example in _drawn(panel)]
    blocks = [_blocks(panel, _across(most), *_cell(examples, side)) for panel in prepared]
    width = max(_NARROWEST, blocks[0].width)
    stacked = any(not _fits_one_line(panel, width) for panel in prepared)
    boxes = [below([_caption(panel, width, stacked), body], gap=4) for panel, body in zip(prepared, blocks, strict=True)]
    rows = [beside(boxes[first : first + columns], GUTTER) for first in range(0, len(boxes), columns)]
    body = below(rows, gap=22)
    if len(prepared) == 1:
        body = below([body, *_sources(prepared[0], _across(most), body.width)], gap=12)
    legend = LEGEND + PADDING if any(example.padded for example in examples) else LEGEND
    return framed(below([*_head(title, legend, body.width), body, *_foot(footer, body.width)], gap=18), MARGIN)


def _side_of(panels: Sequence[Panel], tile: int | None) -> int | None:
    """Return the size that the tiles of the page have to have, None where that is free."""
    sides = {example.side for panel in panels for example in _drawn(panel)} | ({tile} - {None})
    if len(sides) > 1:
        found = " and ".join(map(str, sorted(side for side in sides if side is not None)))
        raise OptionError(f"tiles of {found} pixels cannot stand on one page. Draw all examples with one size.")
    return next(iter(sides), None)


def _drawn(panel: Panel) -> list[Drawn]:
    return [example for example in panel.examples if isinstance(example, Drawn)]


def _across(examples: int) -> int:
    return max(math.ceil(math.sqrt(examples)), _ACROSS)


def _panel_width(side: int, across: int) -> int:
    return 2 * (across * (side + SLIT) - SLIT) + MIDDLE


def _cell(examples: Sequence[Drawn], side: int) -> tuple[int, int]:
    """Return height and width of the place that a tile has: that of the largest on the page."""
    sizes = [example.patch.shape for example in examples]
    return max((size[0] for size in sizes), default=side), max((size[1] for size in sizes), default=side)


def _blocks(panel: Panel, across: int, height: int, width: int) -> Box:
    """Set a channel's projections and patches beside each other, in places of height x width pixels."""
    examples = _drawn(panel)
    if not examples:
        return _nothing(2 * (across * (width + SLIT) - SLIT) + MIDDLE, across * (height + SLIT) - SLIT)
    projections = _block([example.projection for example in examples], across, height, width)
    patches = _block([example.patch for example in examples], across, height, width)
    return beside([drawing(projections), drawing(patches)], gap=MIDDLE)


def _block(tiles: Sequence[Pixels], across: int, height: int, width: int) -> Image.Image:
    """Set tiles in a square of across x across places; a place without one is outlined."""
    size = (across * (width + SLIT) - SLIT, across * (height + SLIT) - SLIT)
    image = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(image)
    for place in range(across * across):
        top, left = (place // across) * (height + SLIT), (place % across) * (width + SLIT)
        if place < len(tiles):
            tile = Image.fromarray(tiles[place])
            image.paste(tile, (left + (width - tile.width) // 2, top + (height - tile.height) // 2))
        else:
            pen.rectangle((left, top, left + width - 1, top + height - 1), outline=HAIRLINE)
    return image


def _nothing(width: int, height: int) -> Box:
    """Outline the place of both blocks and say why it is empty."""
    text = fit(NOTHING, BODY, width - 8)
    message = line(text, BODY, text_width(text, BODY), ink=FAINT)
    left, top = (width - message.width) // 2, (height - message.height) // 2
    image = paint(Box(width, height, message.moved(left, top)))
    ImageDraw.Draw(image).rectangle((0, 0, width - 1, height - 1), outline=HAIRLINE)
    return drawing(image)


def _name(panel: Panel) -> str:
    return f"{panel.layer} · {panel.channel}"


def _strengths(panel: Panel) -> str:
    """Write the strongest and the last activation."""
    ends = [value_text(example.activation) for example in (*panel.examples[:1], *panel.examples[1:][-1:])]
    return " … ".join(ends)


def _fits_one_line(panel: Panel, width: int) -> bool:
    words = [(_name(panel), HEADING), (panel.note, BODY), (_strengths(panel), BODY)]
    used = [text_width(text, size) + _SPACE for text, size in words if text]
    return sum(used) - _SPACE <= width or not panel.note


def _caption(panel: Panel, width: int, stacked: bool) -> Box:
    """Set layer and channel on the left, activations on the right, and the note between them or on a line of its own."""
    strengths = line(_strengths(panel), BODY, width, ink=FAINT, align="right")
    room = width - sum(item.width + _SPACE for item in strengths.items)
    name = line(_name(panel), HEADING, room, keep_end=True)
    used = sum(item.width + _SPACE for item in name.items)
    note = line("" if stacked else panel.note, BODY, max(room - used, 0), ink=FAINT)
    drop = name.height - note.height - 1  # so that all stand on one base line
    first = Box(width, name.height, (*name.items, *note.moved(used, drop), *strengths.moved(0, drop)))
    return below([first, line(panel.note, BODY, width, ink=FAINT)]) if stacked else first


def _sources(panel: Panel, across: int, width: int) -> list[Box]:
    """List activations and pictures, each at the place that its tiles have in their blocks."""
    examples = _drawn(panel)
    if not any(example.source for example in examples):
        return []
    column = (width - (across - 1) * _SPACE) // across
    values = [value_text(example.activation) for example in examples]
    room = max(text_width(value, SMALL) for value in values)
    cells = []
    for value, example in zip(values, examples, strict=True):
        name = line(os.path.basename(example.source), SMALL, column - room - 8, ink=FAINT, keep_end=True)
        number = line(value, SMALL, room, align="right")
        cells.append(over(number, Box(column, name.height, name.moved(room + 8, 0))))
    return [below([beside(cells[first : first + across], _SPACE) for first in range(0, len(cells), across)])]


def _head(title: str, legend: str, width: int) -> list[Box]:
    """Set the title and, under it, how a panel is read."""
    lines = [line(text, BODY, width, ink=FAINT) for text in wrap(legend, BODY, width)]
    return [below([*([line(title, TITLE, width, keep_end=True)] if title else []), *lines])]


def _foot(footer: str, width: int) -> list[Box]:
    lines = [line(text, SMALL, width, ink=FAINT) for text in wrap(footer, SMALL, width)]
    return [below(lines)] if lines else []
