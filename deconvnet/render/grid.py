"""A sheet: the picture that the net saw, and beside it the projections of its units, a block for each layer.

A reader has to find the place of every tile in the picture, so tiles and their windows carry the same colour: on the picture
itself where there is one block, on a small copy beside each block where there are more. Nine colours can be told apart; further
tiles get a grey frame and no window, and the sheet says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import OptionError
from .overlay import COLOURS, Colour, draw_windows
from .page import Box, below, beside, drawing, framed, line, paint
from .text import BODY, FAINT, HEADING, SMALL, TITLE, percent, text_width, wrap
from .tile import FRAME, GAP, Tile, tile_colours, tile_rows
from .tone import Pixels, apply_tone

MARGIN = 24
GUTTER = 32  # between the picture and the tiles
PICTURE_SIDE = 448  # the longer side of the input picture beside a single block
SMALLEST_TILE = 72
LARGEST_TILE = {True: PICTURE_SIDE - 2 * FRAME, False: 208}  # with a single block; with several


@dataclass(frozen=True)
class Block:
    """The tiles of one layer, strongest first; `heading` names it, `note` says more: "256 maps of 13 x 13, field 163 px"."""

    heading: str
    note: str = ""
    tiles: list[Tile] = field(default_factory=list)


@dataclass(frozen=True)
class Sheet:
    """All that a sheet shows.

    `picture` is (H, W, 3), 0..255, the very pixels that the net saw; `answers` are classes with their probabilities, 0..1, best
    first; `footer` says how it was made: model, rule, tone, version.
    """

    picture: npt.NDArray[np.uint8]
    title: str = ""
    answers: list[tuple[str, float]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    footer: str = ""


def draw_sheet(
    sheet: Sheet, *, tone: str = "symmetric", percentile: float = 99.5, columns: int | None = None, tile_size: int | None = None
) -> Image.Image:
    """Draw a sheet as an RGB picture.

    `tone` and `percentile` are those of `apply_tone`. `columns` is the number of tiles in a row (by default as many as rows
    beside a single block, up to nine where there are several), `tile_size` the longer side of a tile in pixels.

        >>> block = Block("conv1", tiles=[Tile(np.ones((3, 11, 11)), label="7")])
        >>> draw_sheet(Sheet(np.zeros((224, 224, 3), np.uint8), "cat.jpg", blocks=[block])).mode
        'RGB'
    """
    return paint(lay_out(sheet, tone=tone, percentile=percentile, columns=columns, tile_size=tile_size))


def lay_out(
    sheet: Sheet, *, tone: str = "symmetric", percentile: float = 99.5, columns: int | None = None, tile_size: int | None = None
) -> Box:
    """Place everything that `draw_sheet` draws, without drawing the page."""
    if columns is not None and columns < 1:
        raise OptionError(f"columns cannot be {columns}: a row has at least one tile.")
    if tile_size is not None and tile_size < 8:
        raise OptionError(f"tile_size cannot be {tile_size}: a tile has at least 8 pixels.")
    if sheet.picture.ndim != 3 or sheet.picture.shape[2] != 3 or not sheet.picture.size:
        raise OptionError(f"a picture of shape {sheet.picture.shape} cannot be drawn. Give (H, W, 3).")
    toned = _tone_blocks(sheet.blocks, tone, percentile)
    single = len(sheet.blocks) <= 1
    columns = columns or _default_columns([len(block.tiles) for block in sheet.blocks], single)
    side = tile_size or _default_side(max((len(block.tiles) for block in sheet.blocks), default=1), columns, single)
    body = (_beside_picture if single else _block_under_block)(sheet, toned, columns, side)
    footer = [line(text, SMALL, body.width, ink=FAINT) for text in wrap(sheet.footer, SMALL, body.width)]
    return framed(below([body, below(footer)], gap=20) if footer else body, MARGIN)


def _default_columns(counts: list[int], single: bool) -> int:
    """Return the side of the square that holds one block's tiles, or even rows of up to nine for each of several."""
    most = max([*counts, 1])
    return math.ceil(math.sqrt(most)) if single and most > 2 else math.ceil(most / math.ceil(most / 9))


def _default_side(count: int, columns: int, single: bool) -> int:
    """Return the tile size with which one block stands as high as the picture beside it, or several fill a page's width."""
    across = (1024 if single else 1060) // columns - GAP - 2 * FRAME
    down = 560 // math.ceil(max(count, 1) / columns) - GAP - 2 * FRAME - 16 if single else across
    return min(max(min(across, down), SMALLEST_TILE), LARGEST_TILE[single])


def _tone_blocks(blocks: Sequence[Block], tone: str, percentile: float) -> list[list[Pixels]]:
    """Tone all tiles of the sheet in one go, for a tone may share its scale among them."""
    tiles = [tile for block in blocks for tile in block.tiles]
    toned = iter(
        apply_tone(
            [tile.pixels for tile in tiles], tone, percentile=percentile, inside=[tile.reached or tile.inside for tile in tiles]
        )
    )
    return [[next(toned) for _ in block.tiles] for block in blocks]


def _beside_picture(sheet: Sheet, toned: list[list[Pixels]], columns: int, side: int) -> Box:
    """Lay out a sheet of one block: title, picture and answers on the left, the block on the right."""
    block = sheet.blocks[0] if sheet.blocks else Block("")
    height, width = sheet.picture.shape[:2]
    colours = tile_colours(block.tiles, height, width)
    picture = _picture_with_windows(sheet.picture, block.tiles, colours, PICTURE_SIDE)
    room = max(picture.width, 300)
    note = _joined(f"{height} x {width} pixels, as the net sees them", _window_note(block.tiles, colours))
    top = _headed(sheet.title, note, room)
    left = below([top, drawing(picture), *_answers(sheet.answers, room)], gap=8)
    if not sheet.blocks:
        return left
    rows = tile_rows(block.tiles, toned[0], colours, columns, side)
    right = below([_headed(block.heading, block.note, max(rows.width, 320)), rows], gap=8)
    return beside([left, right], gap=GUTTER)


def _block_under_block(sheet: Sheet, toned: list[list[Pixels]], columns: int, side: int) -> Box:
    """Lay out a sheet of several blocks: title and answers on top, then each block beside its own copy of the picture."""
    copy_side = max(side + 2 * FRAME, 132)
    headings: list[tuple[str, str]] = []
    bodies: list[Box] = []
    for block, shown in zip(sheet.blocks, toned, strict=True):
        colours = tile_colours(block.tiles, *sheet.picture.shape[:2])
        picture = _picture_with_windows(sheet.picture, block.tiles, colours, copy_side)
        rows = tile_rows(block.tiles, shown, colours, columns, side)
        headings.append((block.heading, _joined(block.note, _window_note(block.tiles, colours))))
        bodies.append(beside([drawing(picture), rows], gap=20))
    width = max(480, *(body.width for body in bodies))
    blocks = [below([_heading_line(*words, width), body], gap=5) for words, body in zip(headings, bodies, strict=True)]
    answers = wrap(" · ".join(f"{name} {percent(share, decimals=1)}" for name, share in sheet.answers), BODY, width)
    top = [line(sheet.title, TITLE, width, keep_end=True), *(line(text, BODY, width, ink=FAINT) for text in answers)]
    return below([below(top), *blocks], gap=18)


def _headed(title: str, note: str, width: int) -> Box:
    """Set a title and, smaller, a note under it; an empty line keeps its place, so that columns stand in line."""
    return below([line(title, TITLE, width, keep_end=True), line(note, BODY, width, ink=FAINT)])


def _heading_line(heading: str, note: str, width: int) -> Box:
    """Set heading and note on one line; of a long heading more is cut than of the note."""
    first = line(heading, HEADING, width - min(text_width(note, BODY) + 12, width // 2), keep_end=True)
    used = min(sum(item.width for item in first.items) + 12, width)
    second = line(note, BODY, width - used, ink=FAINT)
    lowered = Box(second.width, first.height, second.moved(0, first.height - second.height - 1))
    return beside([Box(used, first.height, first.items), lowered])


def _window_note(tiles: list[Tile], colours: list[Colour | None]) -> str:
    """Say how many windows are drawn, where that is not all of them."""
    drawn = sum(colour is not None for colour in colours)
    return f"windows of the first {drawn} of {len(tiles)}" if drawn == len(COLOURS) < len(tiles) else ""


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _answers(answers: list[tuple[str, float]], width: int) -> list[Box]:
    """Set the answers one under another, percentages in a column."""
    column = max((text_width(percent(share, decimals=1), BODY) for _, share in answers), default=0)
    rows = [
        beside([line(percent(share, decimals=1), BODY, column, align="right"), line(name, BODY, width - column - 10)], gap=10)
        for name, share in answers
    ]
    return [below(rows)] if rows else []


def _picture_with_windows(picture: Pixels, tiles: list[Tile], colours: list[Colour | None], side: int) -> Image.Image:
    """Draw the picture with its longer side `side` pixels, and the coloured tiles' windows on it."""
    pairs = [(tile.window, colour) for tile, colour in zip(tiles, colours, strict=True) if colour is not None]
    windows, inks = [window for window, _ in pairs], [colour for _, colour in pairs]
    return draw_windows(picture, windows, inks, side / max(picture.shape[:2]), width=2 if side >= 300 else 1)
