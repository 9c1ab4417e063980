"""A sheet: the picture that the net saw, and beside it the projections of its units, layer by layer.

A reader has to find where a tile lies in the picture, so tiles and their windows have the same colour: on the picture itself
where the sheet shows one layer, on a small copy beside each layer where it shows more. Windows of one layer overlap, and nine
rectangles over each other hide the picture: the strongest few are drawn, nine at most, and the sheet says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from ..choices import Tone
from ..errors import OptionError
from ..images import FoundObject, Segments
from .answer import objects_box, segments_box
from .page import Box, hstack, paint, text_line, vstack, with_margin
from .palette import COLOURS, FAINT, Colour
from .text import BODY, HEADING, SMALL, TITLE, percent, size_text, text_width, wrap
from .tile import FRAME, GAP, Tile, has_outline, tile_colours, tile_rows, windows_box
from .tone import Pixels, apply_tone

MARGIN = 24
GUTTER = 32  # between the picture and the tiles
PICTURE_SIDE = 448  # the longer side of the input picture beside the tiles of a single layer
SMALLEST_TILE = 72
OUTLINES = 3  # windows of a layer that are drawn
LARGEST_TILE = {True: PICTURE_SIDE - 2 * FRAME, False: 208}  # with a single layer; with several


@dataclass(frozen=True, eq=False)
class LayerTiles:
    """The tiles of one layer.

    Attributes:
        heading: the layer's name.
        note: what else is known of it: "256 channels of 13x13, field 163x163 px".
        tiles: the tiles, the strongest unit first.
    """

    heading: str
    note: str = ""
    tiles: Sequence[Tile] = ()


@dataclass(frozen=True, eq=False)
class Sheet:
    """Everything that a sheet shows.

    Attributes:
        picture: (H, W, 3), 0..255: exactly the pixels that the net saw.
        title: the picture's name.
        top_classes: the most probable classes with their probabilities, 0..1, the highest first.
        layers: the tiles, layer by layer.
        footer: how the sheet was made: model, rule, tone, version.
        note: the picture's size in words; "" for that in pixels.
        objects: that a detector found; None where the net is none.
        segments: a segmenter's class of each pixel; None where the net is none.
    """

    picture: Pixels
    title: str = ""
    top_classes: Sequence[tuple[str, float]] = ()
    layers: Sequence[LayerTiles] = ()
    footer: str = ""
    note: str = ""
    objects: Sequence[FoundObject] | None = None
    segments: Segments | None = None


def draw_sheet(
    sheet: Sheet,
    *,
    tone: Tone = "soft",
    percentile: float | None = None,
    columns: int | None = None,
    tile_size: int | None = None,
    outlines: int = OUTLINES,
    scale: float = 1,
) -> Image.Image:
    """Draw a sheet as an RGB picture.

    Args:
        sheet: what to draw.
        tone: how signed values become pixels: see `apply_tone`.
        percentile: of |x|, above 0 and at most 100: the end of the tone's scale. None: the tone's own.
        columns: tiles in a row. None: as many as rows for a single layer, up to nine for several.
        tile_size: the longer side of a tile, in pixels, 8 or more. None: chosen so that the sheet fits a screen.
        outlines: how many windows of a layer are drawn on the picture, from 0 to 9: those of the strongest units.
        scale: how many times larger everything is drawn, for print or for fine screens.

    Raises:
        OptionError: an option is out of its range, or the picture is not (H, W, 3).

        >>> layer = LayerTiles("conv1", tiles=[Tile(np.ones((3, 11, 11)), label="7")])
        >>> draw_sheet(Sheet(np.zeros((224, 224, 3), np.uint8), "cat.jpg", layers=[layer])).mode
        'RGB'
    """
    page = lay_out_sheet(sheet, tone=tone, percentile=percentile, columns=columns, tile_size=tile_size, outlines=outlines)
    return paint(page, scale)


def lay_out_sheet(
    sheet: Sheet,
    *,
    tone: Tone = "soft",
    percentile: float | None = None,
    columns: int | None = None,
    tile_size: int | None = None,
    outlines: int = OUTLINES,
) -> Box:
    """Position everything that `draw_sheet` draws, without painting it."""
    if columns is not None and columns < 1:
        raise OptionError(f"columns cannot be {columns}: a row has at least one tile.")
    if tile_size is not None and tile_size < 8:
        raise OptionError(f"tile_size cannot be {tile_size}: a tile has at least 8 pixels.")
    if not 0 <= outlines <= len(COLOURS):
        raise OptionError(f"outlines cannot be {outlines}: it is how many windows are drawn, 0 to {len(COLOURS)}.")
    if sheet.picture.ndim != 3 or sheet.picture.shape[2] != 3 or not sheet.picture.size:
        raise OptionError(f"a picture of shape {sheet.picture.shape} cannot be drawn. Give (H, W, 3).")
    toned = _tone_layers(sheet.layers, tone, percentile)
    single = len(sheet.layers) <= 1
    columns = columns or _default_columns([len(layer.tiles) for layer in sheet.layers], single)
    side = tile_size or _default_side(max((len(layer.tiles) for layer in sheet.layers), default=1), columns, single)
    body = (_single_layer if single else _several_layers)(sheet, toned, columns, side, outlines)
    footer = [text_line(text, SMALL, body.width, ink=FAINT) for text in wrap(sheet.footer, SMALL, body.width)]
    return with_margin(vstack([body, vstack(footer)], gap=20) if footer else body, MARGIN)


def _default_columns(counts: list[int], single: bool) -> int:
    """Return the side of the square that holds a single layer's tiles, or even rows of up to nine tiles for several layers."""
    most = max([*counts, 1])
    return math.ceil(math.sqrt(most)) if single and most > 2 else math.ceil(most / math.ceil(most / 9))


def _default_side(count: int, columns: int, single: bool) -> int:
    """Return the tile size that makes a single layer as high as the picture beside it, or several fill a page's width."""
    across = (1024 if single else 1060) // columns - GAP - 2 * FRAME
    down = 560 // math.ceil(max(count, 1) / columns) - GAP - 2 * FRAME - 16 if single else across
    return min(max(min(across, down), SMALLEST_TILE), LARGEST_TILE[single])


def _tone_layers(layers: Sequence[LayerTiles], tone: Tone, percentile: float | None) -> list[list[Pixels]]:
    """Tone all tiles of the sheet together, since a tone may share its scale among them."""
    tiles = [tile for layer in layers for tile in layer.tiles]
    scaled_by = [tile.reached or tile.inside for tile in tiles]
    toned = iter(apply_tone([tile.pixels for tile in tiles], tone, percentile=percentile, inside=scaled_by))
    shown = [[(tile, next(toned)) for tile in layer.tiles] for layer in layers]
    return [[pixels if tile.drawn is None else tile.drawn for tile, pixels in pairs] for pairs in shown]


def _single_layer(sheet: Sheet, toned: list[list[Pixels]], columns: int, side: int, outlines: int) -> Box:
    """Lay out title, picture and classes on the left, and the tiles of one layer, if any, on the right."""
    layer = sheet.layers[0] if sheet.layers else LayerTiles("")
    height, width = sheet.picture.shape[:2]
    colours = tile_colours(layer.tiles, height, width, outlines)
    picture = _picture_with_windows(sheet.picture, layer.tiles, colours, PICTURE_SIDE)
    room = max(picture.width, 300)
    size = sheet.note or f"{size_text((height, width))} pixels, as the net sees them"
    note = _joined(size, _window_note(layer.tiles, colours, height, width))
    left = vstack(
        [_headed(sheet.title, note, room), picture, *_class_rows(sheet.top_classes, room), *_found(sheet, room)], gap=8
    )
    if not sheet.layers:
        return left
    rows = tile_rows(layer.tiles, toned[0], colours, columns, side)
    right = vstack([_headed(layer.heading, layer.note, max(rows.width, 320)), rows], gap=8)
    return hstack([left, right], gap=GUTTER)


def _several_layers(sheet: Sheet, toned: list[list[Pixels]], columns: int, side: int, outlines: int) -> Box:
    """Lay out title and classes on top, then the tiles of each layer beside its own copy of the picture."""
    copy_side = max(side + 2 * FRAME, 132)
    height, width = sheet.picture.shape[:2]
    headings: list[tuple[str, str]] = []
    bodies: list[Box] = []
    for layer, pixels in zip(sheet.layers, toned, strict=True):
        colours = tile_colours(layer.tiles, height, width, outlines)
        picture = _picture_with_windows(sheet.picture, layer.tiles, colours, copy_side)
        rows = tile_rows(layer.tiles, pixels, colours, columns, side)
        headings.append((layer.heading, _joined(layer.note, _window_note(layer.tiles, colours, height, width))))
        bodies.append(hstack([picture, rows], gap=20))
    page = max(480, *(body.width for body in bodies))
    layers = [vstack([_heading_line(*words, page), body], gap=5) for words, body in zip(headings, bodies, strict=True)]
    classes = wrap(" · ".join(f"{name} {percent(share, decimals=1)}" for name, share in sheet.top_classes), BODY, page)
    top = [text_line(sheet.title, TITLE, page, keep_end=True), *(text_line(text, BODY, page, ink=FAINT) for text in classes)]
    return vstack([vstack(top), *_found(sheet, page), *layers], gap=18)


def _headed(title: str, note: str, width: int) -> Box:
    """Set a title over a smaller note; an empty line keeps its height, so that columns align."""
    return vstack([text_line(title, TITLE, width, keep_end=True), text_line(note, BODY, width, ink=FAINT)])


def _heading_line(heading: str, note: str, width: int) -> Box:
    """Set heading and note on one line; a long heading is cut before the note is."""
    first = text_line(heading, HEADING, width - min(text_width(note, BODY) + 12, width // 2), keep_end=True)
    used = min(sum(item.width for item in first.items) + 12, width)
    second = text_line(note, BODY, width - used, ink=FAINT)
    lowered = Box(second.width, first.height, second.moved(0, first.height - second.height - 1))
    return hstack([Box(used, first.height, first.items), lowered])


def _window_note(tiles: Sequence[Tile], colours: Sequence[Colour | None], height: int, width: int) -> str:
    """Return how many windows are outlined, where some are not."""
    count = sum(colour is not None for colour in colours)
    possible = sum(has_outline(tile, height, width) for tile in tiles)
    return f"outlined: the windows of the first {count}" if 0 < count < possible else ""


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _class_rows(top_classes: Sequence[tuple[str, float]], width: int) -> list[Box]:
    """Set the classes below each other, their percentages in a column."""
    percents = [percent(share, decimals=1) for _, share in top_classes]
    column = max((text_width(text, BODY) for text in percents), default=0)
    rows = [
        hstack([text_line(text, BODY, column, align="right"), text_line(name, BODY, width - column - 10)], gap=10)
        for text, (name, _) in zip(percents, top_classes, strict=True)
    ]
    return [vstack(rows)] if rows else []


def _found(sheet: Sheet, width: int) -> list[Box]:
    """Show what a detector or a segmenter says, if the net is one."""
    if sheet.objects is not None:
        return [objects_box(sheet.picture, sheet.objects, width)]
    return [] if sheet.segments is None else [segments_box(sheet.picture, sheet.segments, width)]


def _picture_with_windows(picture: Pixels, tiles: Sequence[Tile], colours: Sequence[Colour | None], side: int) -> Box:
    """Return the picture with its longer side `side` pixels, and the windows of the coloured tiles on it."""
    pairs = [(tile.window, colour) for tile, colour in zip(tiles, colours, strict=True) if colour is not None]
    return windows_box(picture, [window for window, _ in pairs], [colour for _, colour in pairs], side)
