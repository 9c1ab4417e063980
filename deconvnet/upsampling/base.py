"""What an upsampler is, and the checks that all of them start with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from ..errors import OptionError
from ..receptive_field import Pair, pair

#: A small tensor (N, C, H', W') and a size (H, W) go in, and by keyword whatever else the method needs; out comes
#: (N, C, H, W), of the same type and on the same device.
Upsampler: TypeAlias = Callable[..., Tensor]

#: One number for both axes, or (rows, columns).
Sides: TypeAlias = int | tuple[int, int]


def check_maps(maps: Tensor) -> None:
    """Raise `OptionError` unless `maps` is a batch of maps: (N, C, H, W), floats, not empty."""
    if maps.dim() != 4 or not maps.is_floating_point() or 0 in maps.shape:
        dtype = str(maps.dtype).removeprefix("torch.")
        raise OptionError(
            f"expected a float tensor (N, C, H, W), found {tuple(maps.shape)} of {dtype}. Pass a single map as map[None, None]."
        )


def check_inputs(small: Tensor, size: tuple[int, int]) -> None:
    """Raise `OptionError` unless an upsampler can start: a batch of maps, and a size of two whole numbers above 0."""
    check_maps(small)
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise OptionError(f"size cannot be {size!r}: give the height and width to upsample to, in pixels, such as (96, 128).")


def block_sides(small: Tensor, size: tuple[int, int], stride: Sides | None = None) -> Pair:
    """Return the block of the large map that each value of the small map stands for.

    Args:
        small: (N, C, H', W').
        size: (H, W) of the large map.
        stride: the block's sides; by default the smallest that fit.

    Returns:
        The block's (height, width). Blocks at the bottom and the right may be cut by the edge.

    Raises:
        OptionError: the inputs are no maps or no size, or blocks of this stride do not cover the size.
    """
    check_inputs(small, size)
    height, width = small.shape[2], small.shape[3]
    block = (-(-size[0] // height), -(-size[1] // width)) if stride is None else pair(stride)
    if min(block) < 1 or (height, width) != (-(-size[0] // block[0]), -(-size[1] // block[1])):
        raise OptionError(
            f"cannot upsample {height}x{width} to {size[0]}x{size[1]} by blocks of {block[0]}x{block[1]}: they do not fill it. "
            "Give a size that is the map's times the stride, or less than one block short of it."
        )
    return block


def common_factor(small: Tensor, size: tuple[int, int], stride: int | None, method: str) -> int:
    """Return the factor that rows and columns have in common; `method` is the subject of the error if there is none.

    Raises:
        OptionError: rows and columns need different factors, or the inputs do not fit.
    """
    rows, columns = block_sides(small, size, stride)
    if rows != columns:
        raise OptionError(
            f"{method} cannot upsample by {rows} rows and {columns} columns at once. Give a size with one factor for both."
        )
    return rows
