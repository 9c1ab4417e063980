"""Cutting windows out of arrays and tensors, filled where they leave what there is; and which part is worth showing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .units import Window

ENERGY_SHARE = 0.95  # of a projection's energy: what its box holds
SMALLEST_BOX = 16  # pixels: a smaller window is shown whole


def recut(values: Any, at: Window, to: Window, fill: float = 0) -> Any:
    """Return values that lie at one window as they are cut at another.

    Args:
        values: an array or a tensor (..., h, w), whose last axes lie at the window `at`.
        at: where the values lie.
        to: where to cut them.
        fill: what stands where `to` reaches beyond `at`.

    Returns:
        A new array or tensor (..., to.height, to.width), of the same type and device.
    """
    shape = (*values.shape[:-2], to.height, to.width)
    result = np.full(shape, fill, values.dtype) if isinstance(values, np.ndarray) else values.new_full(shape, fill)
    top, left = max(at.top, to.top), max(at.left, to.left)
    bottom, right = min(at.bottom, to.bottom), min(at.right, to.right)
    if bottom > top and right > left:
        result[..., top - to.top : bottom - to.top, left - to.left : right - to.left] = values[
            ..., top - at.top : bottom - at.top, left - at.left : right - at.left
        ]
    return result


def cut_window(values: Any, window: Window, fill: float = 0) -> Any:
    """Cut a window out of a whole frame, an array or a tensor (..., H, W) -> (..., h, w); `fill` stands outside the frame."""
    return recut(values, Window(0, 0, *values.shape[-2:]), window, fill)


def energy_boxes(
    projections: Sequence[npt.NDArray[np.floating]], windows: Sequence[Window], frame: Sequence[int]
) -> list[Window]:
    """Return where projections are: for each the square that holds 95 % of its energy, all of one size.

    The energy is the sum of squares over all colours. The largest of the smallest such squares gives the size. A square lies
    inside the frame; it is cut to the frame's height or width where it is larger. Windows of up to `SMALLEST_BOX` pixels are
    shown whole: they are filters.

    Args:
        projections: (C, h, w) each: what arrived in the part of the window inside the frame. What is not finite counts as zero.
        windows: the projections' windows, unclipped.
        frame: (height, width) of the image.

    Returns:
        A box for each projection. One without energy is shown around the middle of its window.

        >>> spot = np.zeros((3, 40, 40))
        >>> spot[:, 30:, 35:] = 1
        >>> energy_boxes([spot], [Window(-5, 0, 45, 40)], (224, 224))
        [Window(top=24, left=24, height=16, width=16)]
    """
    insides = [window.clip(*frame) for window in windows]
    squares = [_smallest_square(values, inside) for values, inside in zip(projections, insides, strict=True)]
    sides = [max(square.height, square.width) for square in squares if square.height]
    if sides:
        sides.append(min(SMALLEST_BOX, max(max(window.height, window.width) for window in windows)))
    else:
        sides = [max(1, inside.height, inside.width) for inside in insides]
    side = max(sides, default=1)
    return [
        _box_around(square, side, window, inside, frame)
        for square, window, inside in zip(squares, windows, insides, strict=True)
    ]


def _smallest_square(values: npt.NDArray[np.floating], inside: Window) -> Window:
    """Return the smallest square with `ENERGY_SHARE` of the energy, cut to where the values lie; empty if there is none."""
    finite = np.where(np.isfinite(values), values, 0).astype(np.float64)
    energy = np.square(finite / (np.abs(finite).max(initial=0) or 1)).sum(0)
    sums = np.pad(energy.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    needed = ENERGY_SHARE * sums[-1, -1]
    if not needed > 0:
        return Window(inside.top, inside.left, 0, 0)
    fails, fits = 0, max(energy.shape)  # sides: halve the gap between one that holds too little and one that holds enough
    while fits - fails > 1:
        side = (fails + fits) // 2
        fails, fits = (fails, side) if _square_sums(sums, side).max() >= needed else (side, fits)
    held = _square_sums(sums, fits)
    top, left = divmod(int(held.argmax()), held.shape[1])
    return Window(inside.top + top, inside.left + left, min(fits, energy.shape[0]), min(fits, energy.shape[1]))


def _square_sums(sums: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64]:
    """Return the sum in each square of a side, from the sums above and left of each corner; squares are cut to the array."""
    down, right = (min(side, length - 1) for length in sums.shape)
    result: npt.NDArray[np.float64] = sums[down:, right:] - sums[:-down, right:] - sums[down:, :-right] + sums[:-down, :-right]
    return result


def _box_around(square: Window, side: int, window: Window, inside: Window, frame: Sequence[int]) -> Window:
    """Return a box of `side` pixels around a square, moved into the window if it is no larger, and into the frame."""
    square = square if square.height else inside
    starts = [
        (square.top, square.height, window.top, window.height),
        (square.left, square.width, window.left, window.width),
    ]
    corner, size = [], [min(side, length) for length in frame]
    for (start, held, first, reach), length, whole in zip(starts, size, frame, strict=True):
        start -= (length - held) // 2
        if length <= reach:
            start = min(max(start, first), first + reach - length)
        corner.append(min(max(start, 0), whole - length))
    return Window(*corner, *size)


def shown_window(window: Window, frame: Sequence[int]) -> Window:
    """Return the part of pixel space that projections are compared in: a window, or the frame if the window is as large."""
    height, width = frame
    return Window(0, 0, height, width) if window.height >= height or window.width >= width else window
