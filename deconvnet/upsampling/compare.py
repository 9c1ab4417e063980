"""One map taken down once and up again by every way: what comes back, how near it is, and what it costs.

All ways start from the same small map, or they could not be compared: the max pool's by default, since it alone has switches.
Its maxima are brighter than the picture, which the interpolations pay for with a few decibels; `down="mean"` is fair to
them, and puts the means where the maxima stood. What a way is given beside the small map is said in `GIVEN`; the learned filter
knows the large map, and stands for the best that any filter of its size could do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, UnitError, check_option
from ..images import Picture
from ..projection import as_maps, default_layer
from ..tape import Saved
from . import WAYS
from .base import check_sizes
from .bilinear import geometry
from .checkerboard import checkerboard
from .metrics import fastest, multiply_adds, psnr, ssim
from .transpose import learn_filter
from .unpool import max_pool

if TYPE_CHECKING:
    from ..net import DeconvNet

#: What is compared unless ways are named. Left out: what looks the same as one of these (unpool-nearest as nearest, unpool-last
#: as unpool-switches where windows do not overlap, transposed-caffe as transposed-fcn).
SHOWN = (
    "nearest", "bilinear", "bicubic", "unpool-top-left", "unpool-centre", "unpool-switches",
    "transposed", "transposed-even", "transposed-fcn", "transposed-learned",
)  # fmt: skip

#: What can be compared: all but those which go up from codes that were found by looking at the large map.
COMPARED = tuple(way for way in WAYS if way not in ("sparse", "adaptive"))

#: What computes outside torch, where multiply-adds cannot be counted.
OUTSIDE = ("wiener", "richardson-lucy")

DOWN = ("max", "mean")


@dataclass(frozen=True)
class Downsampled:
    """A map (1, C, H, W) and what was made of it: small (1, C, H / factor, W / factor), and the max pool's switches.

    `down` is "max" or "mean"; the switches are the max pool's in either case.
    """

    large: Tensor
    small: Tensor
    switches: Saved
    factor: int
    down: str

    @property
    def size(self) -> tuple[int, int]:
        """The size to go up to again, (H, W)."""
        return self.large.shape[2], self.large.shape[3]


@dataclass(frozen=True)
class Upsampled:
    """What one way made of the small map, and how it fared.

    `psnr`: decibels, infinite where nothing differs. `ssim`: structural similarity, at most 1. `checkerboard`: 0..1, as
    `checkerboard.checkerboard` says. `multiply_adds`: those of convolutions and interpolations; placing values costs none.
    None for a way that computes outside torch. `milliseconds`: on one thread of this machine.
    """

    way: str
    large: Tensor
    psnr: float
    ssim: float
    checkerboard: float
    multiply_adds: int | None
    milliseconds: float


def compare(
    large: Tensor,
    *,
    ways: Sequence[str] = SHOWN,
    factors: Sequence[int] = (2, 4),
    down: str = "max",
    kernel: int | None = None,
    limits: tuple[float, float] | None = None,
) -> list[tuple[Downsampled, list[Upsampled]]]:
    """Take a map (1, C, H, W) down by each factor, and up again by each way; cut to a size that all factors divide.

    `down`: "max" pools by the maximum, "mean" by the mean. `kernel`: the side of its windows in pixels, by default the factor,
    so that they do not overlap. `limits`: the values that PSNR and SSIM take as black and white, by default the map's extremes.

        >>> [(descent, ascents)] = compare(torch.rand(1, 3, 32, 32), ways=["nearest"], factors=[2])
        >>> descent.small.shape, ascents[0].way
        (torch.Size([1, 3, 16, 16]), 'nearest')
    """
    for way in ways:
        check_option("way", way, COMPARED)
    large = cut_to_factors(large, factors)
    low, high = limits or (float(large.min()), float(large.max()))
    if not high > low:
        raise OptionError(f"the map is {low:g} everywhere: there is nothing to compare. Take another channel or picture.")
    descents = [descend(large, factor, down=down, kernel=kernel) for factor in factors]
    return [(descent, [ascend(descent, way, high - low) for way in ways]) for descent in descents]


def cut_to_factors(large: Tensor, factors: Sequence[int]) -> Tensor:
    """Cut a map (1, C, H, W) at the bottom and the right to a size that all factors divide."""
    check_sizes(large, (1, 1))
    if not factors or any(factor < 2 for factor in factors):
        raise OptionError(f"factors cannot be {list(factors)}: give whole numbers of at least 2.")
    whole = math.lcm(*factors)
    height, width = (side // whole * whole for side in large.shape[2:])
    if len(large) != 1:
        raise OptionError(f"one map at a time is compared, found {len(large)}. Give (1, C, H, W).")
    if min(height, width) < 3:  # the smallest window of SSIM
        raise OptionError(
            f"a map of {large.shape[2]}x{large.shape[3]} is too small to go down by {' and '.join(map(str, factors))}. "
            "Take a larger one, or smaller factors."
        )
    return large[:, :, :height, :width].detach().cpu().contiguous()


def descend(large: Tensor, factor: int, *, down: str = "max", kernel: int | None = None) -> Downsampled:
    """Take a map down: pool it by windows of `kernel` pixels, `factor` apart, and keep the max pool's switches."""
    check_option("down", down, DOWN)
    kernel = kernel or factor
    if not factor <= kernel < 2 * min(large.shape[2:]):
        raise OptionError(f"kernel cannot be {kernel}: windows {factor} apart are at least so large, and fit the map.")
    padding = (kernel - factor + 1) // 2  # as many windows as there are blocks
    small, switches = max_pool(large, kernel, factor, padding)
    if down == "mean":
        small = F.avg_pool2d(large, kernel, factor, padding, count_include_pad=False)
    return Downsampled(large, small, switches, factor, down)


def ascend(descent: Downsampled, way: str, span: float) -> Upsampled:
    """Go up by one way, count and time it, and hold the result against the original; `span` is white minus black."""
    go = partial(WAYS[way], descent.small, descent.size, **GIVEN.get(way, _nothing)(descent))
    with torch.no_grad():
        count = None if way in OUTSIDE else multiply_adds(go)
        large = go()
        seconds = fastest(go)
    return Upsampled(
        way=way,
        large=large,
        psnr=psnr(descent.large, large, span),
        ssim=ssim(descent.large, large, span),
        checkerboard=checkerboard(large, descent.factor),
        multiply_adds=count,
        milliseconds=1000 * seconds,
    )


def report(courses: Sequence[tuple[Downsampled, Sequence[Upsampled]]]) -> list[dict[str, Any]]:
    """Return the numbers of a comparison, a row for each factor and way, ready for JSON; a `psnr` of None: exact."""
    return [
        {
            "factor": descent.factor,
            "down": descent.down,
            "kernel": descent.switches.kernel[0],
            "size": list(descent.size),
            "way": ascent.way,
            "psnr": ascent.psnr if math.isfinite(ascent.psnr) else None,
            "ssim": ascent.ssim,
            "checkerboard": ascent.checkerboard,
            "multiply_adds": ascent.multiply_adds,
            "milliseconds": round(ascent.milliseconds, 3),
        }
        for descent, ascents in courses
        for ascent in ascents
    ]


def map_of(net: DeconvNet, picture: Picture, layer: str | None = None, channel: int | None = None) -> tuple[Tensor, str, int]:
    """Return one map (1, 1, H', W') that a net makes of a picture, its layer and its channel.

    By default the last rectified layer's, and of a layer the map with the strongest unit.
    """
    recording = net.record([picture])
    layer = layer or default_layer(recording)
    maps = as_maps(recording.activations(layer), recording.layout(layer), layer)  # (1, C, H', W')
    if channel is None:
        channel = int(maps[0].flatten(1).amax(1).argmax())
    if not 0 <= channel < maps.shape[1]:
        raise UnitError(f"layer {layer!r} has {maps.shape[1]} channels, numbered from 0; found {channel}.")
    return maps[:, channel : channel + 1].float().cpu(), layer, channel


def _nothing(descent: Downsampled) -> dict[str, Any]:
    return {}


def _switches(descent: Downsampled) -> dict[str, Any]:
    return {"switches": descent.switches}


def _box(descent: Downsampled) -> dict[str, Any]:
    """A box one pixel larger than the stride, which so does not divide it: the classical checkerboard."""
    side = descent.factor + 1
    return {"filters": torch.full((side, side), (descent.factor / side) ** 2)}


def _best(descent: Downsampled) -> dict[str, Any]:
    """The filter of FCN's size that brings this small map nearest to this large one."""
    return {"filters": learn_filter(descent.small, descent.large, geometry(descent.factor)[0])}


#: What a way is given beside the small map and the size.
GIVEN: dict[str, Callable[[Downsampled], dict[str, Any]]] = {
    "unpool-switches": _switches,
    "unpool-last": _switches,
    "transposed": _box,
    "transposed-even": _box,
    "transposed-learned": _best,
}
