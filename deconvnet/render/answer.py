"""What a detector or a segmenter says of a picture: a small copy with its boxes or its classes, and their names beside it.

Colours here stand for what is found, and have nothing to do with those of windows and tiles; hence a copy of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..images import FoundObject, Segments
from ..units import Window
from .overlay import enlarge
from .page import Box, drawing_box, hstack, text_line, vstack
from .palette import COLOURS, FAINT, PALE, Colour
from .text import BODY, line_height, percent, text_width
from .tile import drawn_size, windows_box
from .tone import Pixels

SIDE = 200  # the longer side of the copy
SEGMENTS = 6  # that have a colour of their own
_GREY, _COLOUR = 0.45, 0.55  # shares of picture and colour in a segment
_SWATCH = 10  # pixels


def objects_box(picture: Pixels, objects: Sequence[FoundObject], width: int) -> Box:
    """Show the boxes that a detector found, the highest score first."""
    windows = [_window(item) for item in objects]
    inks = [COLOURS[number % len(COLOURS)] for number in range(len(objects))]
    rows = [(ink, item.score, item.name) for ink, item in zip(inks, objects, strict=True)]
    copy = windows_box(picture, windows, inks, SIDE)
    return _beside(copy, "the net finds" if rows else "the net finds no object", rows, width)


def segments_box(picture: Pixels, segments: Segments, width: int) -> Box:
    """Show the class of each pixel, in colours over the grey picture; rare classes share a grey."""
    shares = segments.shares()
    inks = {number: COLOURS[at] if at < SEGMENTS else PALE for at, (number, _) in enumerate(shares)}
    painted = _painted(picture, segments.labels, inks)
    height, length = drawn_size(picture, SIDE)
    copy = drawing_box(length, height, lambda scale: enlarge(painted, scale * SIDE / max(picture.shape[:2])))
    rows = [(inks[number], share, segments.names[number]) for number, share in shares[:SEGMENTS]]
    if len(shares) > SEGMENTS:
        rows.append((PALE, sum(share for _, share in shares[SEGMENTS:]), f"{len(shares) - SEGMENTS} more"))
    return _beside(copy, "the net's class of each pixel", rows, width)


def _beside(copy: Box, heading: str, rows: Sequence[tuple[Colour, float, str]], width: int) -> Box:
    """Set a heading and rows - a swatch, a share and a name each - beside the copy of the picture."""
    room = max(width - copy.width - 14, 60)
    column = max((text_width(percent(share), BODY) for _, share, _ in rows), default=0)
    lines = [
        hstack(
            [
                _swatch(ink),
                text_line(percent(share), BODY, column, align="right"),
                text_line(name, BODY, room - _SWATCH - column - 16),
            ],
            gap=8,
        )
        for ink, share, name in rows
    ]
    return hstack([copy, vstack([text_line(heading, BODY, room, ink=FAINT), *lines])], gap=14)


def _swatch(ink: Colour) -> Box:
    """Return a square of a colour, in the middle of a line."""
    square = drawing_box(_SWATCH, _SWATCH, partial(_square, ink))
    return Box(_SWATCH, line_height(BODY), square.moved(0, (line_height(BODY) - _SWATCH) // 2))


def _square(ink: Colour, scale: float) -> Image.Image:
    return Image.new("RGB", (max(round(_SWATCH * scale), 1),) * 2, ink)


def _window(item: FoundObject) -> Window:
    """Return the pixels that a box touches; some may lie beyond the picture."""
    top, left = (math.floor(value) for value in item.box[:2])
    bottom, right = (math.ceil(value) for value in item.box[2:])
    return Window(top, left, bottom - top, right - left)


def _painted(picture: Pixels, labels: npt.NDArray[np.int64], inks: dict[int, Colour]) -> Pixels:
    """Return the grey picture with each pixel in its class's colour; labels of a grid count for the pixels around them."""
    height, width = picture.shape[:2]
    rows, cols = (np.arange(size) * count // size for size, count in ((height, labels.shape[0]), (width, labels.shape[1])))
    numbers = labels[rows[:, None], cols]
    colours = np.zeros((height, width, 3), np.float32)
    for number, ink in inks.items():
        colours[numbers == number] = ink
    grey = picture.astype(np.float32).mean(2, keepdims=True)
    return np.rint(_GREY * grey + _COLOUR * colours).astype(np.uint8)
