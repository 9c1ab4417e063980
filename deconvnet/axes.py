"""Which axes of a value are channels, rows and columns, and maps with their axes in torch's order.

Most values are (N, C, H, W), but some nets compute with channels last, and a classifier's are (N, F). A rule says what its call
does to the axes; whoever shows maps reads them here.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .errors import UnitError
from .units import Window

#: The axes of channels, rows and columns; None where there is no such axis, which then counts as one.
Axes = tuple[int | None, int | None, int | None]

#: The axes of (N, C, H, W).
MAPS: Axes = (1, 2, 3)


def default_axes(shape: Sequence[int]) -> Axes:
    """Return torch's convention: (N, C, H, W), (N, F), and with more axes rows and columns last."""
    if len(shape) >= 4:
        return 1 if len(shape) == 4 else None, len(shape) - 2, len(shape) - 1
    return (1 if len(shape) == 2 else None), None, None


def map_size(shape: Sequence[int], axes: Axes) -> tuple[int, int]:
    """Return the rows and columns of a value of `shape`."""
    _, rows, cols = axes
    return (1 if rows is None else shape[rows]), (1 if cols is None else shape[cols])


def whole_frame(shape: Sequence[int], axes: Axes) -> Window:
    """Return the window that holds the whole of a value of `shape`."""
    return Window(0, 0, *map_size(shape, axes))


def relabel(window: Window, shape: Sequence[int], given: Axes, wanted: Axes) -> Window:
    """Return a window of a value of `shape`, whose rows and columns are the axes `given`, by the axes `wanted`.

    An axis that the window says nothing of is taken whole. What is empty stays empty.
    """
    if given == wanted or not window.height:
        return window
    extents = {given[1]: (window.top, window.height), given[2]: (window.left, window.width)}
    whole = whole_frame(shape, wanted)
    top, height = extents.get(wanted[1], (0, whole.height))
    left, width = extents.get(wanted[2], (0, whole.width))
    return Window(top, left, height, width)


def as_maps(activations: Tensor, axes: Axes, layer: str) -> Tensor:
    """Return activations as maps (N, C', H', W'), whichever their axes are; an (N, F) layer counts as F channels of 1x1.

    Raises:
        UnitError: the layer has no maps, such as one of (N, T, F).
    """
    if axes[0] is None or activations.dim() not in (2, 4):
        size = "x".join(map(str, activations.shape[1:]))
        raise UnitError(f"layer {layer!r} has no maps: its output is {size}, not channels x rows x columns.")
    return activations[:, :, None, None] if activations.dim() == 2 else activations.permute(0, *axes)  # type: ignore[arg-type]


def from_maps(maps: Tensor, axes: Axes) -> Tensor:
    """Return maps (K, C', H', W') with the axes of their layer: the inverse of `as_maps`."""
    if axes[1] is None:
        return maps.flatten(1)
    return maps.permute(0, *(1 + axes.index(axis) for axis in (1, 2, 3)))
