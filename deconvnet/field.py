"""Receptive-field arithmetic: which rectangle below does a rectangle above depend on?

A chain of layers asks one rule after the other (Araujo, Norris & Sim, Distill 2019); a net with branches takes the
union where branches meet again, which needs no assumption about their alignment. Rectangles are not clipped to the
frame: `top` and `left` may be negative, so that every unit of a layer has a window of one size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .units import Window

if TYPE_CHECKING:  # the tape stands below this file in the order of imports
    from .tape import Tape

Pair = tuple[int, int]


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


def binned_window(window: Window, size: Pair, bins: Pair) -> Window:
    """Return the part of an input of `size` that `window` of an adaptive pool with `bins` outputs depends on."""
    top, bottom = window.top * size[0] // bins[0], -(-window.bottom * size[0] // bins[0])
    left, right = window.left * size[1] // bins[1], -(-window.right * size[1] // bins[1])
    return Window(top, left, bottom - top, right - left)


def pixel_window(tape: Tape, value: int, window: Window) -> Window:
    """Return the pixels that `window` of a value on the tape depends on, over all branches, unclipped.

    Empty (height and width 0) where no path leads to the pixels.
    """
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
            if part is not None:
                windows[number] = windows[number].union(part) if number in windows else part
    return windows.get(0, Window(0, 0, 0, 0))
