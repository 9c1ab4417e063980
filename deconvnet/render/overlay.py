"""Windows on a picture: thin rectangles, in colours that readers with any colour vision can tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ..errors import OptionError
from ..units import Window
from .palette import Colour
from .tone import LARGEST_FILTER

_HALO = (255, 255, 255)
_DASH_LENGTH = 6  # pixels


def draw_windows(
    picture: npt.NDArray[np.uint8],
    windows: Sequence[Window | None],
    colours: Sequence[Colour],
    scale: float = 1.0,
    *,
    width: int = 2,
    halo: int = 1,
) -> Image.Image:
    """Draw windows on a picture.

    Args:
        picture: (H, W, 3), 0..255.
        windows: in pixels of the picture, clipped to it; the first lies on top. None, or a window that covers the picture, is
            not drawn. Windows that coincide share their rectangle as dashes of their colours, so that none is hidden.
        colours: one for each window.
        scale: how many times larger the result is.
        width, halo: of the lines, and of the white beside them, in pixels of the result.

    Raises:
        OptionError: there is not one colour for each window.
    """
    if len(windows) != len(colours):
        raise OptionError(f"{len(windows)} windows have {len(colours)} colours. Give one colour for each window.")
    height, length = picture.shape[:2]
    image = enlarge(picture, scale)
    pen = ImageDraw.Draw(image)
    shared = _colours_of(windows, colours, height, length)
    for window, inks in reversed(shared.items()):
        _draw_rectangle(pen, window, inks, image.width / length, image.height / height, width, halo)
    return image


def enlarge(pixels: npt.NDArray[np.uint8], scale: float) -> Image.Image:
    """Return pixels (H, W, 3) as a picture `scale` times larger: smooth, but the pixels of a filter as crisp squares.

    Squares hide what a picture shows; a filter of up to `LARGEST_FILTER` pixels is its pixels, and smoothed would suggest more
    detail than there is.
    """
    height, width = pixels.shape[:2]
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    image = Image.fromarray(pixels)
    if scale < 4 or max(height, width) > LARGEST_FILTER:
        return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
    whole = -int(-scale // 1)  # a whole factor first, then down: all pixels come out equally large
    return image.resize((width * whole, height * whole), Image.Resampling.NEAREST).resize(size, Image.Resampling.BOX)


def _colours_of(
    windows: Sequence[Window | None], colours: Sequence[Colour], height: int, width: int
) -> dict[Window, list[Colour]]:
    """Return the rectangles to draw, in order, each with the colours of all windows that coincide with it."""
    shared: dict[Window, list[Colour]] = {}
    for window, colour in zip(windows, colours, strict=True):
        if window is None or window.covers(height, width):
            continue
        clipped = window.clip(height, width)
        if clipped.height and clipped.width:
            shared.setdefault(clipped, []).append(colour)
    return shared


def _draw_rectangle(
    pen: ImageDraw.ImageDraw, window: Window, inks: list[Colour], across: float, down: float, width: int, halo: int
) -> None:
    """Draw a rectangle around the window's pixels: a coloured line with a white halo on both sides."""
    left, top = round(window.left * across), round(window.top * down)
    right, bottom = round(window.right * across) - 1, round(window.bottom * down) - 1
    pen.rectangle((left, top, right, bottom), outline=_HALO, width=width + 2 * halo)
    inner = (left + halo, top + halo, max(right - halo, left + halo), max(bottom - halo, top + halo))
    if len(inks) == 1:
        pen.rectangle(inner, outline=inks[0], width=width)
        return
    for number, dash in enumerate(_dashes(*inner, width)):
        pen.rectangle(dash, fill=inks[number % len(inks)])


def _dashes(left: int, top: int, right: int, bottom: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the dashes along the rectangle's four sides, each a filled box `width` pixels thick."""
    for start in range(left, right + 1, _DASH_LENGTH):
        yield (start, top, min(start + _DASH_LENGTH - 1, right), min(top + width - 1, bottom))
    for start in range(top, bottom + 1, _DASH_LENGTH):
        yield (max(right - width + 1, left), start, right, min(start + _DASH_LENGTH - 1, bottom))
    for start in range(left, right + 1, _DASH_LENGTH):
        yield (start, max(bottom - width + 1, top), min(start + _DASH_LENGTH - 1, right), bottom)
    for start in range(top, bottom + 1, _DASH_LENGTH):
        yield (left, start, min(left + width - 1, right), min(start + _DASH_LENGTH - 1, bottom))
