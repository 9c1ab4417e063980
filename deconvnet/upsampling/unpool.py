"""Unpooling: each value of the small map goes to one place of the large one, and all other places are zero.

Where to? Without help, to a fixed place of its block: the top left corner (Dosovitskiy, Springenberg & Brox 2015: "bed of
nails"), or the centre (Mahendran & Vedaldi 2016). With the switches of the max pool that made the map small, to where each
maximum stood (Zeiler & Fergus 2014, 2.1): the structure comes back that pooling took away. The placing itself is the engine's
own, from `rules/pool.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, check_option
from ..receptive_field import pair
from ..rules.pool import MaxPool2d, to_offsets
from ..tape import Saved
from .base import check_sizes

Sides = int | tuple[int, int]  # one number for both axes, or (down, across)


def max_pool(
    large: Tensor, kernel: Sides, stride: Sides | None = None, padding: Sides = 0, dilation: Sides = 1, ceil_mode: bool = False
) -> tuple[Tensor, Saved]:
    """Pool by the maximum and keep the switches: (N, C, H, W) -> (N, C, H', W') and what `switched` needs to go up again.

    The arguments are those of `torch.nn.functional.max_pool2d`. A switch is the offset of the maximum within its window, in one
    byte; of equal maxima the first in row-major order counts.
    """
    check_sizes(large, (1, 1))
    switches = Saved(
        size=large.shape,
        kernel=pair(kernel),
        stride=pair(kernel if stride is None else stride),
        padding=pair(padding),
        dilation=pair(dilation),
        ceil_mode=ceil_mode,
    )
    small, indices = F.max_pool2d(
        large,
        switches.kernel,
        stride=switches.stride,
        padding=switches.padding,
        dilation=switches.dilation,
        ceil_mode=ceil_mode,
        return_indices=True,
    )
    switches.switches = to_offsets(indices, switches)
    return small, switches


def switched(small: Tensor, size: tuple[int, int], *, switches: Saved, overlap: str = "sum") -> Tensor:
    """Put each value where the maximum of its window stood: (N, C, H', W') -> (N, C, H, W), zero elsewhere.

    `overlap`: where windows overlap, one pixel can be the maximum of several; their values add up ("sum", the adjoint of
    pooling, as autograd does), or the last in row-major order stays ("last", as `torch.nn.MaxUnpool2d`, but deterministic).

        >>> small, switches = max_pool(torch.tensor([[[[1.0, 5.0], [2.0, 3.0]]]]), 2)
        >>> switched(small, (2, 2), switches=switches).tolist()
        [[[[0.0, 5.0], [0.0, 0.0]]]]
    """
    check_sizes(small, size)
    check_option("overlap", overlap, ("sum", "last"))
    _check_switches(small, size, switches)
    large: Tensor = MaxPool2d(overlap=overlap).mirror(switches, small)
    return large


def top_left(small: Tensor, size: tuple[int, int], *, stride: Sides | None = None) -> Tensor:
    """Put each value in the top left corner of its block, zeros elsewhere: a bed of nails. (N, C, H', W') -> (N, C, H, W).

    `stride` is the side of a block, by default the smallest that fits both sizes; blocks at the far edge may be cut.
    """
    down, across = strides_between(small, size, stride)
    large = small.new_zeros((*small.shape[:2], *size))
    large[:, :, ::down, ::across] = small
    return large


def centre(small: Tensor, size: tuple[int, int], *, stride: Sides | None = None) -> Tensor:
    """Put each value in the centre of its block, zeros elsewhere: (N, C, H', W') -> (N, C, H, W).

    Of a block with an even side the centre is the later of the two middle places; of one that the edge cuts, the place nearest
    to it.
    """
    block = strides_between(small, size, stride)
    frame = torch.Size((*small.shape[:2], *size))
    kept = Saved(size=frame, kernel=block, stride=block, padding=(0, 0), dilation=(1, 1), ceil_mode=True)
    large: Tensor = MaxPool2d(switches=False).mirror(kept, small)
    return large


def repeated(small: Tensor, size: tuple[int, int], *, stride: Sides | None = None) -> Tensor:
    """Fill each block with its value: nearest unpooling, (N, C, H', W') -> (N, C, H, W).

    Where the sizes have a whole ratio this is nearest interpolation.
    """
    down, across = strides_between(small, size, stride)
    return small.repeat_interleave(down, 2).repeat_interleave(across, 3)[:, :, : size[0], : size[1]]


def strides_between(small: Tensor, size: tuple[int, int], stride: Sides | None = None) -> tuple[int, int]:
    """Return the sides of the blocks that a small map's values have in the large one, or refuse sizes that do not fit."""
    check_sizes(small, size)
    found = (small.shape[2], small.shape[3])
    block = tuple(-(-long // short) for long, short in zip(size, found, strict=True)) if stride is None else pair(stride)
    down, across = block
    if min(block) < 1 or found != (-(-size[0] // max(down, 1)), -(-size[1] // max(across, 1))):
        raise OptionError(
            f"cannot unpool {found[0]}x{found[1]} to {size[0]}x{size[1]} by blocks of {down}x{across}: "
            "that many do not fill it. Give a size that is the map's times the stride, or less than a block short of it."
        )
    return down, across


def _check_switches(small: Tensor, size: tuple[int, int], switches: Saved) -> None:
    pooled, large = switches.switches.shape, switches.size
    if tuple(size) != tuple(large[2:]) or small.shape[1:] != pooled[1:] or pooled[0] not in (1, small.shape[0]):
        raise OptionError(
            f"these switches go from {_text(pooled)} to {large[2]}x{large[3]}, "
            f"not from {_text(small.shape)} to {size[0]}x{size[1]}. Pool a map of the size to go up to."
        )


def _text(shape: torch.Size) -> str:
    return "x".join(map(str, shape))
