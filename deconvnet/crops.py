"""Cutting windows out of arrays and tensors, filled where they leave what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .units import Window


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


def shown_window(window: Window, frame: Sequence[int]) -> Window:
    """Return the part of pixel space that a projection is drawn in.

    Args:
        window: the projection's window.
        frame: (height, width) of the image.

    Returns:
        The window; the whole frame where the window is as high or as wide as that, since it would show mostly what lies beyond.
    """
    height, width = frame
    return Window(0, 0, height, width) if window.height >= height or window.width >= width else window
