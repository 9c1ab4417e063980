"""A plate, as in Zeiler & Fergus 2014, Figure 2: a channel's nine projections, beside them the nine patches they came from."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from PIL import Image, ImageDraw

from ..choices import Tone
from ..errors import OptionError
from .example import DrawnExample, Panel, draw_panel
from .page import PAPER, Box, hstack, image_box, paint, superimpose, text_line, vstack, with_margin
from .text import BODY, FAINT, HEADING, SMALL, TITLE, activation_text, fit, text_width, wrap
from .tile import HAIRLINE
from .tone import Pixels

MARGIN = 24
ROW_WIDTH = 1752  # pixels for the panels of a row: with the margins, 1,800
GUTTER = 32  # between panels
TILE_GAP = 2  # between the tiles of a square
SQUARE_GAP = 12  # between the square of projections and that of patches
SMALLEST_TILE, LARGEST_TILE = 24, 160

LEGEND = "In each panel, left: projections of the strongest activations, strongest first; right: the patches they came from."
PADDING = " Hatched: beyond the picture's edge."
NO_EXAMPLE = "no picture excites this channel"

_TILES_ACROSS = 3  # of a square, as in the paper; more only where there are more than nine examples
_WORD_GAP = 12  # pixels between texts on one line
_NARROWEST = 240  # pixels: a panel, however small its tiles, has room for its caption

#: (up to this many panels, panels in a row)
_COLUMNS = ((1, 1), (2, 2), (3, 3), (4, 2), (12, 3), (math.inf, 4))


def plate_shape(count: int, *, columns: int | None = None, tile: int | None = None, examples: int = 9) -> tuple[int, int]:
    """Choose how many panels stand in a row and how large their tiles are, so that a row fills 1,800 pixels.

    Args:
        count: the panels on the page.
        columns: panels in a row, 1 or more. None: chosen.
        tile: the longer side of a tile in pixels, 8 or more. None: chosen between 24 and 160.
        examples: the most examples that a panel has.

    Returns:
        (columns, tile).

    Raises:
        OptionError: an option is out of its range.

        >>> plate_shape(1), plate_shape(4), plate_shape(12), plate_shape(24)
        ((1, 160), (2, 140), (3, 90), (4, 65))
    """
    if columns is not None and columns < 1:
        raise OptionError(f"columns cannot be {columns}: a row has at least one panel.")
    if tile is not None and tile < 8:
        raise OptionError(f"tile cannot be {tile}: a tile has at least 8 pixels.")
    across = _tiles_across(examples)
    if columns is None:
        columns = next(columns for most, columns in _COLUMNS if count <= most)
        if tile is not None:
            columns = max(min(columns, (ROW_WIDTH + GUTTER) // (_panel_width(tile, across) + GUTTER)), 1)
    if tile is None:
        room = (ROW_WIDTH - (columns - 1) * GUTTER) // columns - SQUARE_GAP + 2 * TILE_GAP
        tile = min(max(room // (2 * across) - TILE_GAP, SMALLEST_TILE), LARGEST_TILE)
    return columns, tile


def draw_plate(
    panels: Sequence[Panel],
    *,
    tone: Tone = "soft",
    percentile: float | None = None,
    title: str = "",
    footer: str = "",
    columns: int | None = None,
    tile: int | None = None,
) -> Image.Image:
    """Draw one page as an RGB picture, a panel for each channel; the page of a single channel also names the pictures.

    Args:
        panels: one or more. Examples that `draw_examples` made are taken as they are.
        tone, percentile: of the other examples: see `apply_tone`.
        title: over the panels.
        footer: below the panels: how the plate was made.
        columns, tile: panels in a row, and the longer side of a tile in pixels. None: those of `plate_shape`.

    Raises:
        OptionError: there is no panel, an option is out of its range, or examples were drawn at different sizes.
    """
    return paint(
        lay_out_plate(panels, tone=tone, percentile=percentile, title=title, footer=footer, columns=columns, tile=tile)
    )


def lay_out_plate(
    panels: Sequence[Panel],
    *,
    tone: Tone = "soft",
    percentile: float | None = None,
    title: str = "",
    footer: str = "",
    columns: int | None = None,
    tile: int | None = None,
) -> Box:
    """Position everything that `draw_plate` draws, without painting it."""
    if not panels:
        raise OptionError("a plate without a channel cannot be drawn. Give at least one panel.")
    most = max(len(panel.examples) for panel in panels)
    columns, side = plate_shape(len(panels), columns=columns, tile=_common_side(panels, tile), examples=most)
    drawn = [draw_panel(panel, side, tone=tone, percentile=percentile) for panel in panels]
    examples = [example for panel in drawn for example in _drawn_examples(panel)]
    squares = [_squares(panel, _tiles_across(most), *_cell_size(examples, side)) for panel in drawn]
    width = max(_NARROWEST, squares[0].width)
    stacked = any(not _fits_one_line(panel, width) for panel in drawn)
    boxes = [vstack([_caption(panel, width, stacked), pair], gap=4) for panel, pair in zip(drawn, squares, strict=True)]
    rows = [hstack(boxes[first : first + columns], GUTTER) for first in range(0, len(boxes), columns)]
    body = vstack(rows, gap=22)
    if len(drawn) == 1:
        body = vstack([body, *_sources(drawn[0], _tiles_across(most), body.width)], gap=12)
    legend = LEGEND + PADDING if any(example.padded for example in examples) else LEGEND
    return with_margin(vstack([*_head(title, legend, body.width), body, *_foot(footer, body.width)], gap=18), MARGIN)


def _common_side(panels: Sequence[Panel], tile: int | None) -> int | None:
    """Return the size that the tiles of the page must have; None where it is still free."""
    sides = {example.side for panel in panels for example in _drawn_examples(panel)} | ({tile} - {None})
    if len(sides) > 1:
        listed = " and ".join(map(str, sorted(side for side in sides if side is not None)))
        raise OptionError(f"tiles of {listed} pixels cannot stand on one page. Draw all examples with one size.")
    return next(iter(sides), None)


def _drawn_examples(panel: Panel) -> list[DrawnExample]:
    return [example for example in panel.examples if isinstance(example, DrawnExample)]


def _tiles_across(examples: int) -> int:
    """Return the side, in tiles, of the square that holds a panel's examples."""
    return max(math.ceil(math.sqrt(examples)), _TILES_ACROSS)


def _panel_width(side: int, across: int) -> int:
    return 2 * _square_side(side, across) + SQUARE_GAP


def _square_side(side: int, across: int) -> int:
    return across * (side + TILE_GAP) - TILE_GAP


def _cell_size(examples: Sequence[DrawnExample], side: int) -> tuple[int, int]:
    """Return height and width of the cell that a tile stands in: those of the largest tile on the page."""
    sizes = [example.patch.shape for example in examples]
    return max((size[0] for size in sizes), default=side), max((size[1] for size in sizes), default=side)


def _squares(panel: Panel, across: int, height: int, width: int) -> Box:
    """Set a channel's projections and patches beside each other, in cells of height x width pixels."""
    examples = _drawn_examples(panel)
    if not examples:
        return _empty(_panel_width(width, across), _square_side(height, across))
    projections = _square([example.projection for example in examples], across, height, width)
    patches = _square([example.patch for example in examples], across, height, width)
    return hstack([image_box(projections), image_box(patches)], gap=SQUARE_GAP)


def _square(tiles: Sequence[Pixels], across: int, height: int, width: int) -> Image.Image:
    """Set tiles in a square of across x across cells; cells without a tile are outlined."""
    image = Image.new("RGB", (_square_side(width, across), _square_side(height, across)), PAPER)
    pen = ImageDraw.Draw(image)
    for number in range(across * across):
        top, left = (number // across) * (height + TILE_GAP), (number % across) * (width + TILE_GAP)
        if number < len(tiles):
            tile = Image.fromarray(tiles[number])
            image.paste(tile, (left + (width - tile.width) // 2, top + (height - tile.height) // 2))
        else:
            pen.rectangle((left, top, left + width - 1, top + height - 1), outline=HAIRLINE)
    return image


def _empty(width: int, height: int) -> Box:
    """Outline the area of both squares and say why it is empty."""
    text = fit(NO_EXAMPLE, BODY, width - 8)
    message = text_line(text, BODY, text_width(text, BODY), ink=FAINT)
    left, top = (width - message.width) // 2, (height - message.height) // 2
    image = paint(Box(width, height, message.moved(left, top)))
    ImageDraw.Draw(image).rectangle((0, 0, width - 1, height - 1), outline=HAIRLINE)
    return image_box(image)


def _name(panel: Panel) -> str:
    return f"{panel.layer}:{panel.channel}"


def _activation_range(panel: Panel) -> str:
    """Write the strongest and the last activation."""
    ends = [activation_text(example.activation) for example in (*panel.examples[:1], *panel.examples[1:][-1:])]
    return " … ".join(ends)


def _fits_one_line(panel: Panel, width: int) -> bool:
    texts = [(_name(panel), HEADING), (panel.note, BODY), (_activation_range(panel), BODY)]
    widths = [text_width(text, size) + _WORD_GAP for text, size in texts if text]
    return sum(widths) - _WORD_GAP <= width or not panel.note


def _caption(panel: Panel, width: int, stacked: bool) -> Box:
    """Set the name on the left, the activations on the right, and the note between them or, if stacked, on its own line."""
    activations = text_line(_activation_range(panel), BODY, width, ink=FAINT, align="right")
    room = width - sum(item.width + _WORD_GAP for item in activations.items)
    name = text_line(_name(panel), HEADING, room, keep_end=True)
    used = sum(item.width + _WORD_GAP for item in name.items)
    note = text_line("" if stacked else panel.note, BODY, max(room - used, 0), ink=FAINT)
    drop = name.height - note.height - 1  # so that all stand on one base line
    first = Box(width, name.height, (*name.items, *note.moved(used, drop), *activations.moved(0, drop)))
    return vstack([first, text_line(panel.note, BODY, width, ink=FAINT)]) if stacked else first


def _sources(panel: Panel, across: int, width: int) -> list[Box]:
    """List activations and pictures, in the order in which their tiles stand in their squares."""
    examples = _drawn_examples(panel)
    if not any(example.source for example in examples):
        return []
    column = (width - (across - 1) * _WORD_GAP) // across
    activations = [activation_text(example.activation) for example in examples]
    room = max(text_width(text, SMALL) for text in activations)
    cells = []
    for text, example in zip(activations, examples, strict=True):
        name = text_line(os.path.basename(example.source), SMALL, column - room - 8, ink=FAINT, keep_end=True)
        number = text_line(text, SMALL, room, align="right")
        cells.append(superimpose(number, Box(column, name.height, name.moved(room + 8, 0))))
    return [vstack([hstack(cells[first : first + across], _WORD_GAP) for first in range(0, len(cells), across)])]


def _head(title: str, legend: str, width: int) -> list[Box]:
    """Set the title over an explanation of the panels."""
    lines = [text_line(text, BODY, width, ink=FAINT) for text in wrap(legend, BODY, width)]
    return [vstack([*([text_line(title, TITLE, width, keep_end=True)] if title else []), *lines])]


def _foot(footer: str, width: int) -> list[Box]:
    lines = [text_line(text, SMALL, width, ink=FAINT) for text in wrap(footer, SMALL, width)]
    return [vstack(lines)] if lines else []
