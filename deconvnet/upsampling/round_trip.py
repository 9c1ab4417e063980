"""A map's round trip: pooled once, and upsampled again by several methods, each measured against the original."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..choices import POOLS, Pool
from ..errors import OptionError, check_option
from ..memory import machine_bytes
from ..results import Json
from .base import check_maps
from .checkerboard import checkerboard_energy
from .fcn import bilinear_geometry
from .filter_fitting import fit_filter
from .metrics import count_multiply_adds, psnr, shortest_time, ssim
from .unpooling import PoolSwitches, max_pool
from .upsamplers import UPSAMPLERS

#: Methods that compute outside torch, where multiply-adds cannot be counted.
OUTSIDE_TORCH = ("wiener", "richardson-lucy")


@dataclass(frozen=True, eq=False)
class Downsampled:
    """A map and its pooled form.

    Attributes:
        large: (1, C, H, W).
        small: (1, C, H / factor, W / factor).
        switches: those of the max pool, even if the mean was pooled.
        factor: how many times smaller.
        pool: "max" or "mean".
    """

    large: Tensor
    small: Tensor
    switches: PoolSwitches
    factor: int
    pool: Pool

    @property
    def size(self) -> tuple[int, int]:
        """(H, W), the size to upsample to again."""
        return self.large.shape[2], self.large.shape[3]


@dataclass(frozen=True, eq=False)
class Upsampled:
    """What one method made of a small map, and how near it came.

    Attributes:
        method: its name in `UPSAMPLERS`.
        large: (1, C, H, W).
        psnr: decibels, infinite if nothing differs.
        ssim: structural similarity, at most 1.
        checkerboard: `checkerboard.checkerboard_energy`, 0..1.
        multiply_adds: of convolutions and interpolations; None for a method that computes outside torch.
        milliseconds: on one thread of this machine.
    """

    method: str
    large: Tensor
    psnr: float
    ssim: float
    checkerboard: float
    multiply_adds: int | None
    milliseconds: float


@dataclass(frozen=True, eq=False)
class RoundTrip:
    """A map pooled by one factor, and what each method made of it."""

    downsampled: Downsampled
    upsampled: tuple[Upsampled, ...]

    def rows(self) -> list[dict[str, Json]]:
        """Return the numbers, a row per method, ready for JSON; a `psnr` of None means that nothing differs."""
        downsampled = self.downsampled
        return [
            {
                "factor": downsampled.factor,
                "down": downsampled.pool,
                "kernel": downsampled.switches.kernel[0],
                "size": list(downsampled.size),
                "way": upsampled.method,
                "psnr": upsampled.psnr if math.isfinite(upsampled.psnr) else None,
                "ssim": upsampled.ssim,
                "checkerboard": upsampled.checkerboard,
                "multiply_adds": upsampled.multiply_adds,
                "milliseconds": round(upsampled.milliseconds, 3),
            }
            for upsampled in self.upsampled
        ]


def crop_to_factors(large: Tensor, factors: Sequence[int]) -> Tensor:
    """Crop a map at the bottom and the right to a size that all factors divide.

    Args:
        large: (1, C, H, W).
        factors: whole numbers of at least 2.

    Returns:
        (1, C, H', W'), on the CPU.

    Raises:
        OptionError: a factor is below 2, there are several maps, or the map is too small.
    """
    check_maps(large)
    if not factors or any(factor < 2 for factor in factors):
        raise OptionError(f"factors cannot be {list(factors)}: give whole numbers of at least 2.")
    if len(large) != 1:
        raise OptionError(f"one map at a time is compared, found {len(large)}. Give (1, C, H, W).")
    multiple = math.lcm(*factors)
    height, width = (side // multiple * multiple for side in large.shape[2:])
    if min(height, width) < 3:  # the smallest window of SSIM
        raise OptionError(
            f"a map of {large.shape[2]}x{large.shape[3]} is too small for factors of {' and '.join(map(str, factors))}. "
            "Give a larger map, or smaller factors."
        )
    return large[:, :, :height, :width].detach().cpu().contiguous()


def downsample(large: Tensor, factor: int, *, pool: Pool = "max", kernel: int | None = None) -> Downsampled:
    """Pool a map, and record the switches of the max pool.

    Args:
        large: (1, C, H, W), a multiple of the factor.
        factor: pixels between neighbouring windows.
        pool: take each window's "max" or "mean".
        kernel: the windows' side in pixels; by default the factor, so that they do not overlap.

    Returns:
        The map, pooled.

    Raises:
        OptionError: windows would leave gaps or not fit the map, or `pool` is none of its values.
    """
    check_option("pool", pool, POOLS)
    kernel = kernel or factor
    if not factor <= kernel < 2 * min(large.shape[2:]):
        raise OptionError(
            f"kernel cannot be {kernel}: give at least the factor, {factor}, and less than twice the map's shorter side."
        )
    padding = (kernel - factor + 1) // 2  # as many windows as there are blocks
    small, switches = max_pool(large, kernel, factor, padding)
    if pool == "mean":
        small = F.avg_pool2d(large, kernel, factor, padding, count_include_pad=False)
    return Downsampled(large, small, switches, factor, pool)


def upsample(downsampled: Downsampled, method: str, span: float) -> Upsampled:
    """Upsample by one method, count and time it, and compare the result with the original.

    Args:
        downsampled: the pooled map.
        method: a key of `UPSAMPLERS`.
        span: the difference of white and black, for PSNR and SSIM.

    Returns:
        The result and its measures.

    Raises:
        OptionError: the method cannot take this map.
        MissingPackageError: scikit-image is not installed.
    """
    inputs = METHOD_INPUTS[method](downsampled) if method in METHOD_INPUTS else {}
    call = partial(UPSAMPLERS[method], downsampled.small, downsampled.size, **inputs)
    with torch.no_grad():
        count = None if method in OUTSIDE_TORCH else count_multiply_adds(call)
        large = call()
        seconds = shortest_time(call)
    return Upsampled(
        method=method,
        large=large,
        psnr=psnr(downsampled.large, large, span),
        ssim=ssim(downsampled.large, large, span),
        checkerboard=checkerboard_energy(large, downsampled.factor),
        multiply_adds=count,
        milliseconds=1000 * seconds,
    )


def _switches(downsampled: Downsampled) -> dict[str, Any]:
    return {"switches": downsampled.switches}


def _box(downsampled: Downsampled) -> dict[str, Any]:
    """A box one pixel larger than the stride, which therefore does not divide it: the classical checkerboard."""
    side = downsampled.factor + 1
    return {"filters": torch.full((side, side), (downsampled.factor / side) ** 2)}


def _best_filter(downsampled: Downsampled) -> dict[str, Any]:
    """The filter of FCN's size that brings this small map nearest to this large one."""
    kernel = bilinear_geometry(downsampled.factor)[0]
    taken = 8 * kernel**4  # float64, a number for each pair of taps
    if taken > (machine_bytes() or taken):
        raise OptionError(
            f"factor cannot be {downsampled.factor} with transposed-learned: its {kernel}x{kernel} filter takes "
            f"{taken / 2**30:,.0f} GiB to fit, more than this machine has. Give a smaller factor, or leave that method out."
        )
    return {"filters": fit_filter(downsampled.small, downsampled.large, kernel)}


#: What a method is given beside the small map and the size.
METHOD_INPUTS: dict[str, Callable[[Downsampled], dict[str, Any]]] = {
    "unpool-switches": _switches,
    "unpool-last": _switches,
    "transposed": _box,
    "transposed-even": _box,
    "transposed-learned": _best_filter,
}
