"""The comparison as a page: the original, the small map, what each way made of it, and a detail to see the pixels in.

Whole maps are drawn pixel by pixel, or enlarged by a whole factor: resizing a bed of nails would draw a pattern that is not
there. Of a map too large for that the details alone are shown. Times stay off the page: the same call draws the same page.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..images import to_rgb
from ..render.overlay import COLOURS, draw_windows
from ..render.page import Box, below, beside, drawing, framed, line, paint
from ..render.save import save_picture
from ..render.text import BODY, FAINT, HEADING, SMALL, TITLE, percent, wrap
from ..units import Window
from ..version import __version__
from .compare import Downsampled, Upsampled, report

Pixels = npt.NDArray[np.uint8]

CELL = 224  # pixels: the width of a cell, and the most that a whole map is drawn with
DETAIL = 32  # about so many pixels of the map are a detail's side
PLAIN = 3  # a map that is enlarged so many times shows its pixels, and needs no detail
GAP, MARGIN, COLUMNS = 12, 24, 6


@dataclass(frozen=True)
class Look:
    """How maps are drawn: `low` is black, `high` is white, and `detail` is the window drawn large, None for no detail."""

    low: float
    high: float
    detail: Window | None

    def pixels(self, values: Tensor) -> Pixels:
        """(1, C, H, W) -> (H, W, 3), 0..255: three channels as colours, any other count as the grey of its mean."""
        unit = (values[0].double().numpy() - self.low) / (self.high - self.low)
        return to_rgb(np.rint(255 * unit.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0))


def draw_comparison(
    courses: Sequence[tuple[Downsampled, Sequence[Upsampled]]],
    *,
    title: str,
    note: str = "",
    limits: tuple[float, float],
    footer: str = "",
) -> Image.Image:
    """Draw what `compare` returned as an RGB picture; `limits` are the values drawn black and white."""
    large = courses[0][0].large
    step = math.lcm(*(descent.factor for descent, _ in courses))
    look = Look(*limits, busiest_window(large, step) if CELL // max(large.shape[2:]) < PLAIN else None)
    blocks = [_block(descent, ascents, look) for descent, ascents in courses]
    width = max(block.width for block in blocks)
    top = below([line(title, TITLE, width, keep_end=True), line(note, BODY, width, ink=FAINT)])
    bottom = below([line(text, SMALL, width, ink=FAINT) for text in wrap(footer, SMALL, width)])
    return paint(framed(below([top, *blocks, bottom], gap=20), MARGIN))


def save_comparison(
    courses: Sequence[tuple[Downsampled, Sequence[Upsampled]]],
    path: str | os.PathLike[str],
    *,
    source: Mapping[str, Any],
    limits: tuple[float, float] | None = None,
) -> None:
    """Save the page as PNG, JPEG or PDF with its settings inside.

    `source` says what was taken down: picture, and of a map model, layer and channel. `limits` are the values drawn black and
    white, by default the map's smallest and its 99.5th percentile.
    """
    limits = limits or _usual_limits(courses[0][0].large)
    descents, rows = [descent for descent, _ in courses], report(courses)
    picture = os.path.basename(str(source["picture"]))
    named = (
        f"{source['layer']}, channel {source['channel']}, of {source['model']} on {picture}" if "layer" in source else picture
    )
    said = [text for ways, text in SAYS.items() if any(row["way"] in ways.split() for row in rows)]
    image = draw_comparison(
        courses,
        title=named,
        note=f"black is {limits[0]:.3g}, white {limits[1]:.3g}",
        limits=limits,
        footer=" · ".join([*said, f"deconvnet {__version__}"]),
    )
    settings = {
        **source,
        "factors": [descent.factor for descent in descents],
        "down": descents[0].down,
        "kernel": [descent.switches.kernel[0] for descent in descents],
        "limits": list(limits),
        "version": __version__,
        "results": [{key: value for key, value in row.items() if key != "milliseconds"} for row in rows],
    }
    save_picture(image, path, settings=settings)


#: What the page's footer says of ways that need it.
SAYS = {
    "transposed transposed-even": (
        "transposed: the filter is a box one pixel wider than the factor, which so does not divide it; "
        "even: the overlap count is divided out"
    ),
    "transposed-learned": "learned: the best filter of FCN's size for this very picture, by least squares",
    "wiener richardson-lucy": "wiener, richardson-lucy: bicubic interpolation, then the average over blocks undone",
}


def busiest_window(large: Tensor, step: int) -> Window:
    """Return the window of a map (1, C, H, W) in which values vary most; its place and sides are multiples of `step`."""
    height, width = large.shape[2:]
    side = min(max(round(DETAIL / step), 1) * step, height, width)
    grey = large.double().mean(1, keepdim=True)
    mean, square = F.avg_pool2d(torch.cat([grey, grey.square()], 1), side, step)[0]
    spread = square - mean.square()
    row, col = divmod(int(spread.argmax()), spread.shape[1])
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
    if share < 1e-12:  # what is left of nothing after rounding
        return "0"
    return percent(share, decimals=1)


def _usual_limits(large: Tensor) -> tuple[float, float]:
    """Return a map's smallest value and its 99.5th percentile, or its largest where that is no larger: a few on nothing."""
    low, high = float(large.min()), float(np.percentile(large.numpy(), 99.5))
    return low, high if high > low else float(large.max())


def _block(descent: Downsampled, ascents: Sequence[Upsampled], look: Look) -> Box:
    """Lay out one factor: a heading over rows of cells."""
    (height, width), small = descent.size, descent.small.shape
    kernel = descent.switches.kernel
    pool = f"{descent.down} pool, {kernel[0]}x{kernel[1]} windows {descent.factor} apart"
    size, pooled = f"{height}x{width}", f"{small[2]}x{small[3]}"
    cells = [
        *([_overview(descent.large, look)] if max(descent.size) > CELL else []),
        _cell(descent.large, ["original", size], look, marked=True),
        _small_cell(descent, ["small", f"{pooled}, {descent.down} pool"], look),
        *(_cell(ascent.large, _caption(ascent), look) for ascent in ascents),
    ]
    rows = [beside(cells[first : first + COLUMNS], GAP) for first in range(0, len(cells), COLUMNS)]
    wide = max(row.width for row in rows)
    heading = line(f"factor {descent.factor}", HEADING, wide)
    note = line(f"{size} down to {pooled} by {pool}, and up again", BODY, wide, ink=FAINT)
    return below([below([heading, note]), *rows], gap=GAP)


def _caption(ascent: Upsampled) -> list[str]:
    """Name a way, and say how near it came, what it cost, and what pattern it left."""
    return [
        ascent.way,
        f"{ascent.psnr:.1f} dB, SSIM {ascent.ssim:.3f}",
        "multiply-adds not counted" if ascent.multiply_adds is None else f"{count_text(ascent.multiply_adds)} multiply-adds",
        f"checkerboard {share_text(ascent.checkerboard)}",
    ]


def _overview(values: Tensor, look: Look) -> Box:
    """Set a map that is too large for a cell, shrunk, with the detail's window on it."""
    pixels = look.pixels(values)
    windows = [] if look.detail is None else [look.detail]
    return _captioned(
        [drawing(draw_windows(pixels, windows, COLOURS[: len(windows)], CELL / max(pixels.shape[:2])))], ["whole"]
    )


def _cell(values: Tensor, texts: Sequence[str], look: Look, *, marked: bool = False) -> Box:
    """Set a map, its detail and its texts below each other; `marked` draws the detail's window on the map."""
    pixels, detail = look.pixels(values), look.detail
    scale = CELL // max(pixels.shape[:2])
    parts = [drawing(_marked(pixels, detail if marked else None, scale))] if scale else []
    if detail is not None:
        parts.append(drawing(_crisp(_part(pixels, detail), max(CELL // detail.width, 1))))
    return _captioned(parts, texts)


def _small_cell(descent: Downsampled, texts: Sequence[str], look: Look) -> Box:
    """Set the small map, in pixels as large as the original's, and the part of it that the detail shows."""
    pixels, detail, factor = look.pixels(descent.small), look.detail, descent.factor
    scale = CELL // max(descent.size)
    # as high as the original, so that the details stand in line
    parts = [Box(CELL, descent.size[0] * scale, drawing(_crisp(pixels, scale)).items)] if scale else []
    if detail is not None:
        part = Window(*(side // factor for side in (detail.top, detail.left, detail.height, detail.width)))
        parts.append(drawing(_crisp(_part(pixels, part), max(CELL // detail.width, 1) * factor)))
    return _captioned(parts, texts)


def _captioned(parts: Sequence[Box], texts: Sequence[str]) -> Box:
    """Set a name and the lines that say more of it under drawings, in a cell."""
    name, *more = texts
    words = [line(name, BODY, CELL), *(line(text, SMALL, CELL, ink=FAINT) for text in more)]
    return below([below(parts, gap=6), below([Box(CELL, 0), *words])], gap=2)


def _marked(pixels: Pixels, window: Window | None, scale: int) -> Image.Image:
    """Enlarge a map by a whole factor and draw a window on it."""
    image = _crisp(pixels, scale)
    if window is None:
        return image
    enlarged = Window(*(scale * side for side in (window.top, window.left, window.height, window.width)))
    return draw_windows(np.asarray(image), [enlarged], COLOURS[:1])


def _part(pixels: Pixels, window: Window) -> Pixels:
    return pixels[window.top : window.bottom, window.left : window.right]


def _crisp(pixels: Pixels, scale: int) -> Image.Image:
    """Enlarge by a whole factor, so that every pixel stays a square."""
    height, width = pixels.shape[:2]
    return Image.fromarray(pixels).resize((width * scale, height * scale), Image.Resampling.NEAREST)
