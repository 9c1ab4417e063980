"""Receptive-field arithmetic: which rectangle below does a rectangle above depend on?

A chain of layers asks one rule after the other (Araujo, Norris & Sim, Distill 2019); a net with branches takes the
union where branches meet again, which needs no assumption about their alignment. Rectangles are not clipped to the
frame: `top` and `left` may be negative, so that every unit of a layer has a window of one size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .units import Window

if TYPE_CHECKING:  # the tape stands below this file in the order of imports
    from .tape import Tape

Pair = tuple[int, int]

#: The axes of channels, rows and columns; None where there is no such axis, which then counts as one.
Layout = tuple[int | None, int | None, int | None]


def default_layout(shape: Sequence[int]) -> Layout:
    """Return torch's convention: (N, C, H, W), (N, F), and with more axes rows and columns last."""
    if len(shape) >= 4:
        return 1 if len(shape) == 4 else None, len(shape) - 2, len(shape) - 1
    return (1 if len(shape) == 2 else None), None, None


def map_size(shape: Sequence[int], layout: Layout) -> Pair:
    """Return the rows and columns of a value."""
    _, rows, cols = layout
    return (1 if rows is None else shape[rows]), (1 if cols is None else shape[cols])


def whole(shape: Sequence[int], layout: Layout) -> Window:
    """Return the window of a value's whole frame."""
    return Window(0, 0, *map_size(shape, layout))


#: What a rule's `window` gives for an input that no signal goes to.
NOTHING = Window(0, 0, 0, 0)


def pair(value: int | Pair | list[int]) -> Pair:
    """Read 3, (3,), [3, 5] as torch does: one number serves both axes."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def sliding_window(window: Window, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)) -> Window:
    """Return the part of the input that `window` of a convolution's or pool's output depends on."""
    height = (window.height - 1) * stride[0] + dilation[0] * (kernel[0] - 1) + 1
    width = (window.width - 1) * stride[1] + dilation[1] * (kernel[1] - 1) + 1
    return Window(window.top * stride[0] - padding[0], window.left * stride[1] - padding[1], height, width)


def spreading_window(window: Window, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)) -> Window:
    """Return the part of the input that paints on `window` of a transposed convolution's output."""
    reach = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    top, left = -(-(window.top + padding[0] - reach[0]) // stride[0]), -(-(window.left + padding[1] - reach[1]) // stride[1])
    bottom, right = (window.bottom - 1 + padding[0]) // stride[0], (window.right - 1 + padding[1]) // stride[1]
    # a place between the strides that nothing paints on has an empty window: one pixel, so that it has a place
    return Window(top, left, max(bottom - top + 1, 1), max(right - left + 1, 1))


def resized_window(window: Window, size: Pair, result: Pair, reach: int, align_corners: bool) -> Window:
    """Return the part of an input of `size` that interpolation to `result` draws `window` from, `reach` pixels around."""
    edges = []
    for first, last, old, new in zip(
        (window.top, window.left), (window.bottom - 1, window.right - 1), size, result, strict=True
    ):
        if align_corners:
            scale, shift = (old - 1) / max(new - 1, 1), 0.0
        else:
            scale = old / new
            shift = (scale - 1) / 2
        edges.append((math.floor(first * scale + shift) - reach, math.floor(last * scale + shift) + reach))
    (top, bottom), (left, right) = edges
    return Window(top, left, bottom - top + 1, right - left + 1)


def binned_window(window: Window, size: Pair, bins: Pair) -> Window:
    """Return the part of an input of `size` that `window` of an adaptive pool with `bins` outputs depends on."""
    top, bottom = window.top * size[0] // bins[0], -(-window.bottom * size[0] // bins[0])
    left, right = window.left * size[1] // bins[1], -(-window.right * size[1] // bins[1])
    return Window(top, left, bottom - top, right - left)


def windows_below(tape: Tape, value: int, window: Window) -> dict[int, Window]:
    """Return, for each value on the way down, the window of it that `window` of a value depends on, over all branches."""
    windows = {value: window}
    for call in tape.down_from(value):
        reached = [windows[number] for number in call.outputs if number in windows]
        if not reached:
            continue
        above = reached[0]
        for other in reached[1:]:
            above = above.union(other)
        rule = tape.rule(call)
        below = rule.window(call.kept, above)
        for number, part in zip(call.inputs, below if isinstance(below, tuple) else (below,) * len(call.inputs), strict=True):
            part = whole(tape.shapes[number], tape.layouts[number]) if part is None else part
            if part != NOTHING:
                windows[number] = windows[number].union(part) if number in windows else part
    return windows


def pixel_window(tape: Tape, value: int, window: Window) -> Window:
    """Return the pixels that `window` of a value on the tape depends on, unclipped.

    Empty (height and width 0) where no path leads to the pixels. Worked out once for a tape.
    """
    if (value, window) not in tape.windows:
        tape.windows[value, window] = windows_below(tape, value, window).get(0, NOTHING)
    return tape.windows[value, window]
