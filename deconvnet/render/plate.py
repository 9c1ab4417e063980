"""A plate, as in Zeiler & Fergus 2014, Figure 2: a channel's nine projections, beside them the nine patches they came from.

A panel has a caption, its projections and its patches. In the paper's own layout a layer is a block: the projections of all its
channels, beside them all their patches, and no word between them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Literal

from PIL import Image, ImageDraw

from ..choices import PLATE_LAYOUTS, PlateLayout, Tone
from ..errors import OptionError, check_option
from .example import DrawnExample, Panel, draw_panel
from .overlay import enlarge
from .page import PAPER, Box, drawing_box, hstack, paint, superimpose, text_line, vstack, with_margin
from .palette import FAINT
from .text import BODY, HEADING, SMALL, TITLE, activation_text, fit, text_width, wrap
from .tile import HAIRLINE
from .tone import Pixels

MARGIN = 24
ROW_WIDTH = 1752  # pixels for the panels of a row: with the margins, 1,800
GUTTER = 32  # between panels
TILE_GAP = 2  # between the tiles of a square
SQUARE_GAP = 12  # between the square of projections and that of patches
CHANNEL_GAP = 8  # between the squares of two channels in the paper's layout
SMALLEST_TILE, LARGEST_TILE = 24, 160

LEGEND = "In each panel, left: projections of the strongest activations, strongest first; right: the patches they came from."
PADDING = " Hatched: beyond the picture's edge."
PAPER_LEGEND = "Left: nine projections of each channel, strongest first; right: the patches they came from, in the same places."

_TILES_ACROSS = 3  # of a square, as in the paper; more only where there are more than nine examples
_WORD_GAP = 12  # pixels between texts on one line
_MOST_IN_A_BLOCK = 8  # channels in a row of a block
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
    _check_shape(columns, tile)
    across = _tiles_across(examples)
    if columns is None:
        columns = next(columns for most, columns in _COLUMNS if count <= most)
        if tile is not None:
            columns = max(min(columns, (ROW_WIDTH + GUTTER) // (_panel_width(tile, across) + GUTTER)), 1)
    if tile is None:
        room = (ROW_WIDTH - (columns - 1) * GUTTER) // columns - SQUARE_GAP + 2 * TILE_GAP
        tile = min(max(room // (2 * across) - TILE_GAP, SMALLEST_TILE), LARGEST_TILE)
    return columns, tile


def _check_shape(columns: int | None, tile: int | None) -> None:
    if columns is not None and columns < 1:
        raise OptionError(f"columns cannot be {columns}: a row has at least one panel.")
    if tile is not None and tile < 8:
        raise OptionError(f"tile cannot be {tile}: a tile has at least 8 pixels.")


def paper_shape(count: int, *, columns: int | None = None, tile: int | None = None, examples: int = 9) -> tuple[int, int]:
    """Choose how many channels stand in a row of a block in the paper's layout, and how large their tiles are.

    Args:
        count: the channels of the largest block.
        columns, tile, examples: see `plate_shape`.

    Returns:
        (columns, tile).

    Raises:
        OptionError: an option is out of its range.

        >>> paper_shape(1), paper_shape(12), paper_shape(16)
        ((1, 160), (4, 68), (4, 68))
    """
    across = _tiles_across(examples)
    _check_shape(columns, tile)
    columns = columns or min(math.ceil(math.sqrt(count)), _MOST_IN_A_BLOCK)
    if tile is None:
        square = ((ROW_WIDTH - GUTTER) // 2 + CHANNEL_GAP) // columns - CHANNEL_GAP
        tile = min(max((square + TILE_GAP) // across - TILE_GAP, SMALLEST_TILE), LARGEST_TILE)
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
    layout: PlateLayout = "panels",
    scale: float = 1,
) -> Image.Image:
    """Draw one page as an RGB picture, a panel for each channel; the page of a single channel also names the pictures.

    Args:
        panels: one or more; a layer's stand together, and begin a new row. Examples that `draw_examples` made are taken as
            they are.
        tone, percentile: of the other examples: see `apply_tone`.
        title: over the panels.
        footer: below the panels: how the plate was made.
        columns, tile: panels in a row, and the longer side of a tile in pixels. None: those of `plate_shape`, or `paper_shape`.
        layout: "panels": each with its caption; "paper": blocks without words in them.
        scale: how many times larger everything is drawn, for print or for fine screens.

    Raises:
        OptionError: there is no panel, an option is out of its range, or examples were drawn at different sizes.
    """
    options: dict[str, Any] = {"title": title, "footer": footer, "columns": columns, "tile": tile, "layout": layout}
    return paint(lay_out_plate(panels, tone=tone, percentile=percentile, **options, scale=scale), scale)


def lay_out_plate(
    panels: Sequence[Panel],
    *,
    tone: Tone = "soft",
    percentile: float | None = None,
    title: str = "",
    footer: str = "",
    columns: int | None = None,
    tile: int | None = None,
    layout: PlateLayout = "panels",
    scale: float = 1,
) -> Box:
    """Position everything that `draw_plate` draws, without painting it; `scale` is that at which it will be painted."""
    check_option("layout", layout, PLATE_LAYOUTS)
    if not panels:
        raise OptionError("a plate without a channel cannot be drawn. Give at least one panel.")
    most = max(len(panel.examples) for panel in panels)
    layers = [list(group) for _, group in groupby(panels, key=lambda panel: panel.layer)]
    common = _common_side(panels, tile)
    if layout == "paper":
        columns, side = paper_shape(max(map(len, layers)), columns=columns, tile=common, examples=most)
    else:
        columns, side = plate_shape(len(panels), columns=columns, tile=common, examples=most)
    drawn = [[draw_panel(panel, side, tone=tone, percentile=percentile, scale=scale) for panel in layer] for layer in layers]
    grid = Grid(columns, _tiles_across(most), *_cell_size(drawn, side))
    body = _paper_body(drawn, grid) if layout == "paper" else _panel_body(drawn, grid)
    legend = PAPER_LEGEND if layout == "paper" else LEGEND
    if any(example.padded for layer in drawn for panel in layer for example in _drawn_examples(panel)):
        legend += PADDING
    return with_margin(vstack([*_head(title, legend, body.width), body, *_foot(footer, body.width)], gap=18), MARGIN)


@dataclass(frozen=True)
class Grid:
    """Where tiles stand.

    Attributes:
        columns: channels in a row.
        across: the side, in tiles, of the square that holds a channel's examples.
        height, width: of the cell that a tile stands in.
    """

    columns: int
    across: int
    height: int
    width: int

    @property
    def square(self) -> tuple[int, int]:
        """The height and width of the square that holds a channel's examples."""
        return _square_side(self.height, self.across), _square_side(self.width, self.across)

    def rows(self, boxes: Sequence[Box], gap: int, row_gap: int) -> Box:
        """Set boxes in rows."""
        return vstack(
            [hstack(boxes[start : start + self.columns], gap) for start in range(0, len(boxes), self.columns)], row_gap
        )


def _panel_body(layers: Sequence[Sequence[Panel]], grid: Grid) -> Box:
    """Set panels in rows, each layer's on rows of its own."""
    panels = [panel for layer in layers for panel in layer]
    width = max(_NARROWEST, 2 * grid.square[1] + SQUARE_GAP)
    stacked = any(not _fits_one_line(panel, width) for panel in panels)
    blocks = []
    for layer in layers:
        boxes = [vstack([_caption(panel, width, stacked), _squares(panel, grid)], gap=4) for panel in layer]
        blocks.append(grid.rows(boxes, GUTTER, 22))
    body = vstack(blocks, gap=36)
    return vstack([body, *_sources(panels[0], grid.across, body.width)], gap=12) if len(panels) == 1 else body


def _paper_body(layers: Sequence[Sequence[Panel]], grid: Grid) -> Box:
    """Set each layer's projections beside its patches, its name over them, and the numbers of its channels below."""
    blocks = []
    for layer in layers:
        halves = [[_half(panel, grid, which) for panel in layer] for which in ("projection", "patch")]
        block = hstack([grid.rows(boxes, CHANNEL_GAP, CHANNEL_GAP) for boxes in halves], GUTTER)
        numbers = f"channels, row by row: {', '.join(str(panel.channel) for panel in layer)}"
        width = max(block.width, _NARROWEST)
        below = [text_line(line, SMALL, width, ink=FAINT) for line in wrap(numbers, SMALL, width)]
        blocks.append(vstack([text_line(layer[0].layer, HEADING, width, keep_end=True), block, vstack(below)], gap=6))
    return vstack(blocks, gap=24)


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


def _cell_size(layers: Sequence[Sequence[Panel]], side: int) -> tuple[int, int]:
    """Return height and width of the cell that a tile stands in: those of the largest tile on the page."""
    sizes = [example.size for layer in layers for panel in layer for example in _drawn_examples(panel)]
    return max((size[0] for size in sizes), default=side), max((size[1] for size in sizes), default=side)


def _squares(panel: Panel, grid: Grid) -> Box:
    """Set a channel's projections and patches beside each other."""
    height, width = grid.square
    if not panel.examples:
        return _empty(2 * width + SQUARE_GAP, height, panel.empty)
    return hstack([_half(panel, grid, "projection"), _half(panel, grid, "patch")], gap=SQUARE_GAP)


def _half(panel: Panel, grid: Grid, which: Literal["projection", "patch"]) -> Box:
    """Return the square of a channel's projections, or of its patches; a filter that all projections show fills its square."""
    height, width = grid.square
    examples = _drawn_examples(panel)
    tiles = [Image.fromarray(getattr(example, which)) for example in examples]
    if which == "projection" and panel.filter is not None:
        return drawing_box(width, height, partial(_draw_filter, panel.filter, height, width))
    return drawing_box(width, height, partial(_draw_square, tiles, grid, examples[0].scale if examples else 1))


def _draw_square(tiles: Sequence[Image.Image], grid: Grid, drawn_at: float, scale: float) -> Image.Image:
    """Set tiles in a square of cells; cells without a tile are outlined."""
    down, across = grid.square
    image = Image.new("RGB", (round(across * scale), round(down * scale)), PAPER)
    pen, line = ImageDraw.Draw(image), max(round(scale), 1)
    height, width = round(grid.height * scale), round(grid.width * scale)
    for number in range(grid.across * grid.across):
        row, col = divmod(number, grid.across)
        top, left = round(row * (grid.height + TILE_GAP) * scale), round(col * (grid.width + TILE_GAP) * scale)
        if number < len(tiles):
            tile = tiles[number]
            if drawn_at != scale:
                size = round(tile.width * scale / drawn_at), round(tile.height * scale / drawn_at)
                tile = tile.resize(size, Image.Resampling.LANCZOS)
            image.paste(tile, (left + (width - tile.width) // 2, top + (height - tile.height) // 2))
        else:
            pen.rectangle((left, top, left + width - 1, top + height - 1), outline=HAIRLINE, width=line)
    return image


def _draw_filter(pixels: Pixels, height: int, width: int, scale: float) -> Image.Image:
    """Draw a filter as large as its square."""
    return enlarge(pixels, scale * min(height / pixels.shape[0], width / pixels.shape[1]))


def _empty(width: int, height: int, why: str) -> Box:
    """Outline the area of both squares and say why it is empty."""
    text = fit(why, BODY, width - 8)
    message = text_line(text, BODY, text_width(text, BODY), ink=FAINT)
    left, top = (width - message.width) // 2, (height - message.height) // 2
    return drawing_box(width, height, partial(_draw_empty, Box(width, height, message.moved(left, top))))


def _draw_empty(box: Box, scale: float) -> Image.Image:
    image = paint(box, scale)
    line = max(round(scale), 1)
    ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline=HAIRLINE, width=line)
    return image


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
    """Set the title over an explanation of the panels, each on as many lines as it takes."""
    titles = [text_line(text, TITLE, width) for text in wrap(title, TITLE, width)]
    return [vstack([*titles, *(text_line(text, BODY, width, ink=FAINT) for text in wrap(legend, BODY, width))])]


def _foot(footer: str, width: int) -> list[Box]:
    lines = [text_line(text, SMALL, width, ink=FAINT) for text in wrap(footer, SMALL, width)]
    return [vstack(lines)] if lines else []
