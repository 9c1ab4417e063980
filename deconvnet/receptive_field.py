"""Receptive-field arithmetic: which rectangle below does a rectangle above depend on?

A chain of layers asks one rule after the other (Araujo, Norris & Sim, Distill 2019); a net with branches takes the
union where branches meet again, which needs no assumption about their alignment. Rectangles are not clipped to the
frame: `top` and `left` may be negative, so that every unit of a layer has a window of one size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .units import Window

Pair = tuple[int, int]
Lengths = Sequence[int]  # along rows and columns

#: What a rule's `window` gives for an input that no signal goes to.
NOTHING = Window(0, 0, 0, 0)


def pair(value: int | Pair | list[int]) -> Pair:
    """Read 3, (3,), [3, 5] as torch does: one number serves both axes."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def sliding_window(window: Window, kernel: Lengths, stride: Lengths, padding: Lengths, dilation: Lengths = (1, 1)) -> Window:
    """Return the part of the input that `window` of a convolution's or pool's output depends on."""
    height = (window.height - 1) * stride[0] + dilation[0] * (kernel[0] - 1) + 1
    width = (window.width - 1) * stride[1] + dilation[1] * (kernel[1] - 1) + 1
    return Window(window.top * stride[0] - padding[0], window.left * stride[1] - padding[1], height, width)


def spreading_window(window: Window, kernel: Lengths, stride: Lengths, padding: Lengths, dilation: Lengths = (1, 1)) -> Window:
    """Return the part of the input that paints on `window` of a transposed convolution's output."""
    reach = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    top, left = -(-(window.top + padding[0] - reach[0]) // stride[0]), -(-(window.left + padding[1] - reach[1]) // stride[1])
    bottom, right = (window.bottom - 1 + padding[0]) // stride[0], (window.right - 1 + padding[1]) // stride[1]
    # a place between the strides that nothing paints on has an empty window: one pixel, so that it has a place
    return Window(top, left, max(bottom - top + 1, 1), max(right - left + 1, 1))


def resized_window(window: Window, size: Lengths, result: Lengths, reach: int, align_corners: bool) -> Window:
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


def binned_window(window: Window, size: Lengths, bins: Lengths) -> Window:
    """Return the part of an input of `size` that `window` of an adaptive pool with `bins` outputs depends on."""
    top, bottom = window.top * size[0] // bins[0], -(-window.bottom * size[0] // bins[0])
    left, right = window.left * size[1] // bins[1], -(-window.right * size[1] // bins[1])
    return Window(top, left, bottom - top, right - left)
