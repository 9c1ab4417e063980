"""Unpooling: each value of the small map goes to one position of the large map, and all other positions are zero.

Without help it goes to a fixed position of its block: the top left corner (Dosovitskiy, Springenberg & Brox 2015, "bed of
nails") or the centre (Mahendran & Vedaldi 2016). With the switches of the max pool that made the map small, it goes to where
each maximum was (Zeiler & Fergus 2014, 2.1), and the structure that pooling removed comes back. The values are moved by the
deconvnet's own mirror rule, `rules.pool.MaxPool2d`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..choices import OVERLAPS, Overlap
from ..errors import OptionError, check_option
from ..receptive_field import Pair, pair
from ..rules.pool import MaxPool2d
from ..rules.switches import SavedMaxPool, to_offsets
from .base import Sides, block_sides, check_inputs, check_maps


@dataclass(frozen=True, eq=False)
class PoolSwitches:
    """Where the maxima of a max pool were.

    Attributes:
        offsets: (N, C, H', W'), each maximum's position in its window in row-major order, one byte where that is enough.
        size: (N, C, H, W) of the map that was pooled.
        kernel, stride, padding, dilation: the pool's, in (rows, columns).
        ceil_mode: whether a window may begin inside and end outside the map.
    """

    offsets: Tensor
    size: torch.Size
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    ceil_mode: bool


def max_pool(
    large: Tensor, kernel: Sides, stride: Sides | None = None, padding: Sides = 0, dilation: Sides = 1, ceil_mode: bool = False
) -> tuple[Tensor, PoolSwitches]:
    """Pool by the maximum, and record the switches.

    Args:
        large: (N, C, H, W).
        kernel, stride, padding, dilation, ceil_mode: as in `torch.nn.functional.max_pool2d`.

    Returns:
        The pooled map (N, C, H', W'), and its switches, which `to_switches` takes. Of several equal maxima in a window the
        first in row-major order counts.

    Raises:
        OptionError: `large` is not a batch of maps.
    """
    check_maps(large)
    sides = pair(kernel), pair(kernel if stride is None else stride), pair(padding), pair(dilation)
    small, indices = F.max_pool2d(large, *sides, ceil_mode=ceil_mode, return_indices=True)
    return small, PoolSwitches(to_offsets(indices, _pool(large.shape, *sides, ceil_mode)), large.shape, *sides, ceil_mode)


def to_switches(small: Tensor, size: tuple[int, int], *, switches: PoolSwitches, overlap: Overlap = "sum") -> Tensor:
    """Put each value where the maximum of its window was, and zero elsewhere (Zeiler & Fergus 2014, 2.1).

    Args:
        small: (N, C, H', W'), the pooled map or another one of its size.
        size: (H, W) of the map that was pooled.
        switches: those of the pool, of one image or of N.
        overlap: where windows overlap, a pixel can be the maximum of several. "sum" adds their values: the adjoint of pooling,
            as in autograd. "last" keeps the last value in row-major order: as `torch.nn.MaxUnpool2d`, but deterministic.

    Returns:
        (N, C, H, W).

    Raises:
        OptionError: the switches belong to other sizes, or an argument is none of its values.

    >>> small, switches = max_pool(torch.tensor([[[[1.0, 5.0], [2.0, 3.0]]]]), 2)
    >>> to_switches(small, (2, 2), switches=switches).tolist()
    [[[[0.0, 5.0], [0.0, 0.0]]]]
    """
    check_inputs(small, size)
    check_option("overlap", overlap, OVERLAPS)
    _check_switches(small, size, switches)
    pool = _pool(switches.size, switches.kernel, switches.stride, switches.padding, switches.dilation, switches.ceil_mode)
    return MaxPool2d(overlap=overlap).mirror(replace(pool, switches=switches.offsets), small)


def to_top_left(small: Tensor, size: tuple[int, int], *, stride: Sides | None = None) -> Tensor:
    """Put each value in the top left corner of its block, and zero elsewhere: a bed of nails (Dosovitskiy et al. 2015).

    Args:
        small: (N, C, H', W').
        size: (H, W) of the result.
        stride: the sides of a block in pixels; by default the smallest that fit. Blocks at the far edges may be cut.

    Returns:
        (N, C, H, W).

    Raises:
        OptionError: blocks of this stride do not cover the size, or the inputs are no maps or no size.
    """
    height, width = block_sides(small, size, stride)
    large = small.new_zeros((*small.shape[:2], *size))
    large[:, :, ::height, ::width] = small
    return large


def to_centre(small: Tensor, size: tuple[int, int], *, stride: Sides | None = None) -> Tensor:
    """Put each value in the centre of its block, and zero elsewhere (Mahendran & Vedaldi 2016).

    If a side of the block is even, the centre is the later of the two middle positions; if the edge cuts the block, it is the
    position nearest to the centre.

    Args:
        small: (N, C, H', W').
        size: (H, W) of the result.
        stride: the sides of a block in pixels; by default the smallest that fit. Blocks at the far edges may be cut.

    Returns:
        (N, C, H, W).

    Raises:
        OptionError: blocks of this stride do not cover the size, or the inputs are no maps or no size.
    """
    block = block_sides(small, size, stride)
    pool = _pool(torch.Size((*small.shape[:2], *size)), block, block, (0, 0), (1, 1), True)
    return MaxPool2d(switches=False).mirror(pool, small)


def to_whole_block(small: Tensor, size: tuple[int, int], *, stride: Sides | None = None) -> Tensor:
    """Fill each block with its value: nearest-neighbour unpooling.

    Args:
        small: (N, C, H', W').
        size: (H, W) of the result. If it is a multiple of (H', W'), this is `interpolation.nearest`.
        stride: the sides of a block in pixels; by default the smallest that fit. Blocks at the far edges may be cut.

    Returns:
        (N, C, H, W).

    Raises:
        OptionError: blocks of this stride do not cover the size, or the inputs are no maps or no size.
    """
    height, width = block_sides(small, size, stride)
    return small.repeat_interleave(height, 2).repeat_interleave(width, 3)[:, :, : size[0], : size[1]]


def _pool(size: torch.Size, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> SavedMaxPool:
    """Describe a pool as its mirror rule does."""
    return SavedMaxPool(size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)


def _check_switches(small: Tensor, size: tuple[int, int], switches: PoolSwitches) -> None:
    pooled, large = switches.offsets.shape, switches.size
    if tuple(size) != tuple(large[2:]) or small.shape[1:] != pooled[1:] or pooled[0] not in (1, small.shape[0]):
        raise OptionError(
            f"these switches go from {_text(pooled)} to {large[2]}x{large[3]}, "
            f"not from {_text(small.shape)} to {size[0]}x{size[1]}. Pool a map of the size to upsample to."
        )


def _text(shape: torch.Size) -> str:
    return "x".join(map(str, shape))
