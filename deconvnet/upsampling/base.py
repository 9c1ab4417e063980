"""What a way of going up is, and what each checks before it starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from ..errors import OptionError

#: A small tensor (N, C, H', W') and a size (H, W) go in, and by keyword what else the way needs; (N, C, H, W) comes out, of the
#: same type, on the same device.
Upsampler: TypeAlias = Callable[..., Tensor]


def check_sizes(small: Tensor, size: tuple[int, int]) -> None:
    """Refuse what is not a batch of maps, (N, C, H', W') floats, or a size that is no size."""
    if small.dim() != 4 or not small.is_floating_point() or 0 in small.shape:
        found = f"{tuple(small.shape)} of {str(small.dtype).removeprefix('torch.')}"
        raise OptionError(f"going up takes a float tensor (N, C, H, W), found {found}. One map: map[None, None].")
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise OptionError(f"size cannot be {size!r}: it is the height and width to go up to, in pixels, such as (96, 128).")
