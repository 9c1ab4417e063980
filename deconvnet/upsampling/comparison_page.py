"""The comparison as a page: the original, the small map, what each method made of it, and a detail to see the pixels in.

Whole maps are drawn pixel by pixel, or enlarged by a whole factor: resizing a bed of nails would draw a pattern that is not
there. Of a map too large for that only details are shown. Times stay off the page: the same call draws the same page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..images import to_rgb
from ..render.overlay import draw_windows
from ..render.page import Box, hstack, image_box, text_line, vstack, with_margin
from ..render.palette import COLOURS, FAINT
from ..render.text import BODY, HEADING, SMALL, TITLE, percent, source_title, wrap
from ..render.tone import Pixels
from ..units import Window
from ..version import __version__
from .round_trip import Downsampled, RoundTrip, Upsampled

CELL_WIDTH = 224  # pixels: the most that a whole map is drawn with
DETAIL_SIDE = 32  # about so many pixels of the map are a detail's side
VISIBLE_SCALE = 3  # a map that is enlarged so many times shows its pixels, and needs no detail
CELL_GAP, PAGE_MARGIN, COLUMNS = 12, 24, 6

#: What the footer says of methods that need it.
METHOD_NOTES = {
    ("transposed", "transposed-even"): (
        "transposed: the filter is a box one pixel wider than the factor, which so does not divide it; "
        "even: the overlap count is divided out"
    ),
    ("transposed-learned",): "learned: the best filter of FCN's size for this very picture, by least squares",
    ("wiener", "richardson-lucy"): "wiener, richardson-lucy: bicubic interpolation, then the average over blocks undone",
}


@dataclass(frozen=True)
class MapStyle:
    """How maps are drawn: `low` is black, `high` is white, and `detail` is the window drawn large, None for no detail."""

    low: float
    high: float
    detail: Window | None

    def pixels(self, maps: Tensor) -> Pixels:
        """(1, C, H, W) -> (H, W, 3), 0..255: three channels as colours, any other number as the grey of their mean."""
        shares = (maps[0].double().numpy() - self.low) / (self.high - self.low)
        return to_rgb(np.rint(255 * shares.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0))


def lay_out_page(round_trips: Sequence[RoundTrip], *, source: Mapping[str, Any], limits: tuple[float, float]) -> Box:
    """Lay a comparison out on a page.

    Args:
        round_trips: one for each factor.
        source: what the map is: "picture", and for a net's map also "model", "layer" and "channel".
        limits: the values drawn black and white.

    Returns:
        The page.
    """
    large = round_trips[0].downsampled.large
    step = math.lcm(*(trip.downsampled.factor for trip in round_trips))
    enlarged = CELL_WIDTH // max(large.shape[2:]) >= VISIBLE_SCALE
    style = MapStyle(*limits, None if enlarged else busiest_window(large, step))
    blocks = [_factor_block(trip, style) for trip in round_trips]
    width = max(block.width for block in blocks)
    note = f"black is {limits[0]:.3g}, white {limits[1]:.3g}"
    top = vstack([text_line(_title(source), TITLE, width, keep_end=True), text_line(note, BODY, width, ink=FAINT)])
    bottom = vstack([text_line(text, SMALL, width, ink=FAINT) for text in wrap(_footer(round_trips), SMALL, width)])
    return with_margin(vstack([top, *blocks, bottom], gap=20), PAGE_MARGIN)


def busiest_window(large: Tensor, step: int) -> Window:
    """Return the window of a map (1, C, H, W) in which values vary most; its position and sides are multiples of `step`."""
    height, width = large.shape[2:]
    side = min(max(round(DETAIL_SIDE / step), 1) * step, height, width)
    grey = large.double().mean(1, keepdim=True)
    mean, square = F.avg_pool2d(torch.cat([grey, grey.square()], 1), side, step)[0]
    variance = square - mean.square()
    row, col = divmod(int(variance.argmax()), variance.shape[1])
    return Window(row * step, col * step, side, side)


def count_text(count: int) -> str:
    """Write a count with three digits.

    >>> count_text(0), count_text(338_688), count_text(2_408_448)
    ('0', '339 k', '2.41 M')
    """
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.0f} {unit}" if count >= 100 * size else f"{count / size:.3g} {unit}"
    return str(count)


def share_text(share: float) -> str:
    """Write a share of 0..1 in percent: "0", "< 0.1 %", "84.9 %"."""
    return "0" if share < 1e-12 else percent(share, decimals=1)  # what rounding leaves of nothing is nothing


def _title(source: Mapping[str, Any]) -> str:
    picture = source_title(str(source["picture"]))
    if "layer" not in source:
        return picture
    return f"{source['layer']}:{source['channel']} of {source['model']} on {picture}"


def _footer(round_trips: Sequence[RoundTrip]) -> str:
    shown = {upsampled.method for trip in round_trips for upsampled in trip.upsampled}
    notes = [note for methods, note in METHOD_NOTES.items() if shown.intersection(methods)]
    return " · ".join([*notes, f"deconvnet {__version__}"])


def _factor_block(trip: RoundTrip, style: MapStyle) -> Box:
    """Lay out one factor: a heading above rows of cells."""
    downsampled = trip.downsampled
    (height, width), small = downsampled.size, downsampled.small.shape
    size, pooled = f"{height}x{width}", f"{small[2]}x{small[3]}"
    cells = [
        *([_overview(downsampled.large, style)] if max(downsampled.size) > CELL_WIDTH else []),
        _map_cell(downsampled.large, ["original", size], style, marked=True),
        _small_cell(downsampled, ["small", f"{pooled}, {downsampled.pool} pool"], style),
        *(_map_cell(upsampled.large, _caption(upsampled), style) for upsampled in trip.upsampled),
    ]
    rows = [hstack(cells[first : first + COLUMNS], CELL_GAP) for first in range(0, len(cells), COLUMNS)]
    width_of_rows = max(row.width for row in rows)
    kernel = downsampled.switches.kernel
    pool = f"{downsampled.pool} pool, {kernel[0]}x{kernel[1]} windows {downsampled.factor} apart"
    heading = text_line(f"factor {downsampled.factor}", HEADING, width_of_rows)
    note = text_line(f"{size} down to {pooled} by {pool}, and up again", BODY, width_of_rows, ink=FAINT)
    return vstack([vstack([heading, note]), *rows], gap=CELL_GAP)


def _caption(upsampled: Upsampled) -> list[str]:
    """Name a method, and say how near it came, what it cost, and what pattern it left."""
    count = upsampled.multiply_adds
    return [
        upsampled.method,
        f"{upsampled.psnr:.1f} dB, SSIM {upsampled.ssim:.3f}",
        "multiply-adds not counted" if count is None else f"{count_text(count)} multiply-adds",
        f"checkerboard {share_text(upsampled.checkerboard)}",
    ]


def _overview(maps: Tensor, style: MapStyle) -> Box:
    """Set a map that is too large for a cell, shrunk, with the detail's window on it."""
    pixels = style.pixels(maps)
    windows = [] if style.detail is None else [style.detail]
    image = draw_windows(pixels, windows, COLOURS[: len(windows)], CELL_WIDTH / max(pixels.shape[:2]))
    return _captioned([image_box(image)], ["whole"])


def _map_cell(maps: Tensor, texts: Sequence[str], style: MapStyle, *, marked: bool = False) -> Box:
    """Set a map, its detail and its texts below each other; `marked` draws the detail's window on the map."""
    pixels, detail = style.pixels(maps), style.detail
    scale = CELL_WIDTH // max(pixels.shape[:2])
    parts = [image_box(_mark(pixels, detail if marked else None, scale))] if scale else []
    if detail is not None:
        parts.append(image_box(_enlarge(_cut(pixels, detail), max(CELL_WIDTH // detail.width, 1))))
    return _captioned(parts, texts)


def _small_cell(downsampled: Downsampled, texts: Sequence[str], style: MapStyle) -> Box:
    """Set the small map, in pixels as large as the original's, and the part of it that the detail shows."""
    pixels, detail, factor = style.pixels(downsampled.small), style.detail, downsampled.factor
    scale = CELL_WIDTH // max(downsampled.size)
    # as high as the original, so that the details are aligned
    parts = [Box(CELL_WIDTH, downsampled.size[0] * scale, image_box(_enlarge(pixels, scale)).items)] if scale else []
    if detail is not None:
        part = Window(*(side // factor for side in (detail.top, detail.left, detail.height, detail.width)))
        parts.append(image_box(_enlarge(_cut(pixels, part), max(CELL_WIDTH // detail.width, 1) * factor)))
    return _captioned(parts, texts)


def _captioned(parts: Sequence[Box], texts: Sequence[str]) -> Box:
    """Set a name and the lines that say more of it under drawings, in a cell."""
    name, *details = texts
    lines = [text_line(name, BODY, CELL_WIDTH), *(text_line(text, SMALL, CELL_WIDTH, ink=FAINT) for text in details)]
    return vstack([vstack(parts, gap=6), vstack([Box(CELL_WIDTH, 0), *lines])], gap=2)


def _mark(pixels: Pixels, window: Window | None, scale: int) -> Image.Image:
    """Enlarge a map by a whole factor and draw a window on it."""
    image = _enlarge(pixels, scale)
    if window is None:
        return image
    enlarged = Window(*(scale * side for side in (window.top, window.left, window.height, window.width)))
    return draw_windows(np.asarray(image), [enlarged], COLOURS[:1])


def _cut(pixels: Pixels, window: Window) -> Pixels:
    return pixels[window.top : window.bottom, window.left : window.right]


def _enlarge(pixels: Pixels, scale: int) -> Image.Image:
    """Enlarge by a whole factor, so that every pixel stays a square."""
    height, width = pixels.shape[:2]
    return Image.fromarray(pixels).resize((width * scale, height * scale), Image.Resampling.NEAREST)
