"""Signals as curves: over the samples, a strip for each channel, about a line of zero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .palette import BLUE, INK, PALE, Colour
from .tone import Pixels

#: A figure has room for this many channels: the strongest are drawn.
MOST_STRIPS = 12

_FINER = 3  # curves are drawn so many times larger, and reduced: their edges are then smooth
_BEHIND: Colour = (160, 160, 160)


def strips_shown(values: npt.NDArray[np.floating]) -> list[int]:
    """Return the channels of a signal (C, L) that a figure has room for, in order: those with most energy."""
    energy = np.square(np.nan_to_num(values.astype(np.float64))).sum(1)
    return sorted(int(channel) for channel in np.argsort(-energy, kind="stable")[:MOST_STRIPS])


def draw_curves(
    values: npt.NDArray[np.floating],
    width: int,
    height: int,
    *,
    behind: npt.NDArray[np.floating] | None = None,
    channels: Sequence[int] | None = None,
) -> Pixels:
    """Draw a signal as curves.

    All strips have one scale: from minus to plus the largest absolute value. What is not finite is left out.

    Args:
        values: (C, L).
        width: of the picture, in pixels.
        height: of all strips together, in pixels.
        behind: another signal of the same shape, drawn paler behind on a scale of its own, such as the input.
        channels: which are drawn, one strip each; None: those with most energy.

    Returns:
        (height, width, 3), 0..255.
    """
    shown = strips_shown(values) if channels is None else list(channels)
    image = Image.new("RGB", (width * _FINER, height * _FINER), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    strip = height * _FINER / max(len(shown), 1)
    for number, channel in enumerate(shown):
        middle = (number + 0.5) * strip
        pen.line([(0, middle), (image.width, middle)], fill=PALE, width=_FINER)
        if behind is not None:
            _draw(pen, _scaled(behind, channel), middle, strip, image.width, _BEHIND)
        _draw(pen, _scaled(values, channel), middle, strip, image.width, INK if behind is None else BLUE)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def _scaled(values: npt.NDArray[np.floating], channel: int) -> npt.NDArray[np.float64]:
    """Return a channel between -1 and 1, by the scale of all channels."""
    largest = float(np.abs(np.nan_to_num(values, posinf=0, neginf=0)).max(initial=0)) or 1.0
    return values[channel].astype(np.float64) / largest


def _draw(
    pen: ImageDraw.ImageDraw, curve: npt.NDArray[np.float64], middle: float, strip: float, width: int, ink: Colour
) -> None:
    """Draw one curve; where samples are finer than pixels, the range of each pixel's samples."""
    step = width / len(curve)
    points = [((at + 0.5) * step, middle - 0.45 * strip * float(value)) for at, value in enumerate(curve) if np.isfinite(value)]
    if len(points) > 1:
        pen.line(points, fill=ink, width=round(1.5 * _FINER), joint="curve")
    elif points:
        (x, y), half = points[0], _FINER
        pen.ellipse([x - half, y - half, x + half, y + half], fill=ink)
