"""One map pooled and upsampled again by every method: what comes back, how near it is, and what it costs.

All methods start from the same small map, or they could not be compared: by default that of the max pool, since it alone has
switches. Its maxima are brighter than the picture, which costs the interpolations a few decibels; `pool="mean"` is fair to
them, and puts the means where the maxima were. The learned filter knows the large map, and stands for the best that any filter
of its size could do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ..choices import Pool
from ..errors import OptionError, UnitError, check_option
from ..images import Picture
from ..layers import last_layer
from ..named_channels import channel_numbers, class_map_layer
from ..net import DeconvNet
from ..render.page import Box, paint
from ..render.save import PICTURE_SUFFIXES, save_picture
from ..results import Json, Result
from ..version import __version__
from .comparison_page import lay_out_page
from .round_trip import RoundTrip, crop_to_factors, downsample, upsample
from .upsamplers import UPSAMPLERS

#: What is compared by default. Left out is what looks the same as one of these: unpool-nearest as nearest, unpool-last as
#: unpool-switches where windows do not overlap, transposed-caffe as transposed-fcn.
DEFAULT_METHODS = (
    "nearest", "bilinear", "bicubic", "unpool-top-left", "unpool-centre", "unpool-switches",
    "transposed", "transposed-even", "transposed-fcn", "transposed-learned",
)  # fmt: skip

#: What can be compared: all but the methods that start from codes, which were found by looking at the large map.
COMPARABLE_METHODS = tuple(method for method in UPSAMPLERS if method not in ("sparse", "adaptive"))


@dataclass(frozen=True, eq=False)
class UpsamplingComparison(Result):
    """What each method made of a map, for each factor.

    Attributes:
        round_trips: one for each factor.
        limits: the values drawn black and white.
        settings: what was compared, and how.
    """

    round_trips: tuple[RoundTrip, ...]
    limits: tuple[float, float]
    settings: dict[str, Any] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Json]]:
        """Return the numbers, a row per factor and method, ready for JSON; a `psnr` of None means that nothing differs."""
        return [row for round_trip in self.round_trips for row in round_trip.rows()]

    def to_json(self) -> dict[str, Any]:
        """Return the settings and the numbers, without maps."""
        return {"results": self.rows(), "settings": self.settings}

    def draw(self) -> Image.Image:
        """Draw the page: the original, the small map and what each method made of it, pixel by pixel, with their numbers."""
        return paint(self._page())

    def _page(self) -> Box:
        return lay_out_page(self.round_trips, source=self.settings, limits=self.limits)

    def plot(self) -> Figure:
        """Return the page as a figure of the same pixels."""
        pixels = np.asarray(self.draw())
        dots_per_inch = 100
        figure = Figure(figsize=(pixels.shape[1] / dots_per_inch, pixels.shape[0] / dots_per_inch), dpi=dots_per_inch)
        figure.figimage(pixels)
        return figure

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Save the page, the maps or the numbers, by the suffix of the path.

        Args:
            path: a .png, .jpg or .pdf file for the page, with settings and numbers but no times inside: the same comparison
                gives the same bytes. .npz for the maps and numbers, .json for the numbers.

        Returns:
            The paths of the files written.

        Raises:
            OptionError: the suffix is none of these, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            return super().save(path)
        timeless = [{key: value for key, value in row.items() if key != "milliseconds"} for row in self.rows()]
        save_picture(self._page(), path, settings={**self.settings, "results": timeless})
        return [path]


def compare(
    large: Tensor,
    *,
    methods: Sequence[str] = DEFAULT_METHODS,
    factors: Sequence[int] = (2, 4),
    pool: Pool = "max",
    kernel: int | None = None,
    limits: tuple[float, float] | None = None,
    source: dict[str, Any] | None = None,
) -> UpsamplingComparison:
    """Pool a map by each factor, and upsample it again by each method.

    Args:
        large: (1, C, H, W); cropped to a size that all factors divide.
        methods: keys of `UPSAMPLERS`, except "sparse" and "adaptive".
        factors: whole numbers of at least 2.
        pool: take each window's "max" or "mean".
        kernel: the side of the pool's windows in pixels; by default the factor, so that they do not overlap.
        limits: the values of black and white, for PSNR, SSIM and drawing; by default the map's extremes for the measures, and
            its smallest value and 99.5th percentile for drawing.
        source: what the map is, kept in the settings: "picture", and for a net's map also "model", "layer" and "channel".

    Returns:
        A round trip for each factor.

    Raises:
        OptionError: a method, factor or kernel cannot be taken, or the map is the same everywhere.
        MissingPackageError: scikit-image is not installed.

    >>> comparison = compare(torch.rand(1, 3, 32, 32), methods=["nearest"], factors=[2])
    >>> comparison.round_trips[0].downsampled.small.shape, comparison.rows()[0]["way"]
    (torch.Size([1, 3, 16, 16]), 'nearest')
    """
    for method in methods:
        check_option("method", method, COMPARABLE_METHODS)
    large = crop_to_factors(large, factors)
    low, high = limits or (float(large.min()), float(large.max()))
    if not high > low:
        raise OptionError(f"the map is {low:g} everywhere: there is nothing to compare. Give another channel or picture.")
    pooled = [downsample(large, factor, pool=pool, kernel=kernel) for factor in factors]
    round_trips = tuple(
        RoundTrip(small_map, tuple(upsample(small_map, method, high - low) for method in methods)) for small_map in pooled
    )
    limits = limits or _drawing_limits(large)
    settings = {
        **(source or {"picture": "map"}),
        "factors": list(factors),
        "down": pool,
        "kernel": [small_map.switches.kernel[0] for small_map in pooled],
        "limits": list(limits),
        "version": __version__,
    }
    return UpsamplingComparison(round_trips, limits, settings)


def map_of(
    net: DeconvNet, picture: Picture, layer: str | None = None, channel: int | str | None = None
) -> tuple[Tensor, str, int]:
    """Return one map that a net makes of a picture.

    Args:
        net: the net.
        picture: a path or a PIL picture.
        layer: by default the last rectified one; for the name of a class the one with a map for each class.
        channel: where a map is a class's, also by the class's name; by default the one with the strongest unit.

    Returns:
        The map (1, 1, H', W'), its layer and its channel.

    Raises:
        UnknownLayerError: the net has no such layer.
        UnitError: the layer has no such channel.
    """
    recording = net.record([picture])
    default = class_map_layer if isinstance(channel, str) else last_layer
    layer = net.layer_name(layer) if layer else default(recording)
    maps = recording.stored_maps(layer)  # (1, C, H', W')
    if channel is None:
        channel = int(maps[0].flatten(1).amax(1).argmax())
    [channel] = channel_numbers(net.loaded, recording, layer, [channel])
    if not 0 <= channel < maps.shape[1]:
        raise UnitError(f"layer {layer!r} has {maps.shape[1]} channels, numbered from 0; found {channel}.")
    return maps[:, channel : channel + 1].float().cpu(), layer, channel


def _drawing_limits(large: Tensor) -> tuple[float, float]:
    """Return a map's smallest value and its 99.5th percentile; its largest if the percentile is no larger than the smallest."""
    low, high = float(large.min()), float(np.percentile(large.numpy(), 99.5))
    return low, high if high > low else float(large.max())
