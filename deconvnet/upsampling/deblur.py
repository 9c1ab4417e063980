"""Blur a scene by a known kernel, undo the blur by two methods, and measure what comes back, and what border and noise cost.

The scene is larger than the picture that is cut from its middle, before and after blurring: as in a camera, what lies beyond
the picture's edge was blurred into it and is not known. Blurring a picture that wraps around would flatter Wiener's filter,
which assumes it to wrap around: no photograph does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from ..errors import OptionError
from ..receptive_field import Pair
from ..results import PIXELS, Result
from .base import check_maps
from .blurs import Border, convolve
from .deconvolution import richardson_lucy, wiener
from .metrics import psnr
from .panels import show_pixels, to_grey, to_pixels


@dataclass(frozen=True, eq=False)
class Restoration:
    """What one method made of a blurred picture.

    Attributes:
        name: of the method and the border, such as "wiener, edge".
        picture: (1, C, H, W), clipped to 0..1.
        psnr: of the whole picture, in decibels.
        inside: of the picture without as many rows and columns at every edge as the blur reaches, in decibels.
    """

    name: str
    picture: Tensor = field(metadata=PIXELS)
    psnr: float
    inside: float


@dataclass(frozen=True, eq=False)
class Restorations(Result):
    """What each method made of a blurred picture.

    Attributes:
        sharp: the picture before blurring, (1, C, H, W) in 0..1.
        blur: the kernel, (kh, kw).
        restorations: first of all the blurred picture itself.
        settings: what `run` was asked for.
    """

    sharp: Tensor = field(metadata=PIXELS)
    blur: Tensor
    restorations: tuple[Restoration, ...]
    settings: dict[str, Any]

    def plot(self) -> Figure:
        """Plot the kernel, the sharp picture, and every restoration with its decibels inside and over all."""
        panels = [("sharp", self.sharp[0])]
        panels += [(f"{r.name}\n{r.psnr:.1f} dB, inside {r.inside:.1f}", r.picture[0]) for r in self.restorations]
        columns = math.ceil((len(panels) + 1) / 2)
        figure = Figure(figsize=(1.45 * columns, 3.6), layout="constrained")
        grid = figure.subplots(2, columns).flatten()
        show_pixels(grid[0], to_grey(self.blur.numpy()), f"the blur,\n{self.blur.shape[0]} x {self.blur.shape[1]} pixels")
        for axes, (title, picture) in zip(grid[1:], panels, strict=False):
            show_pixels(axes, to_pixels(picture), title)
        for axes in grid[1 + len(panels) :]:
            axes.set_axis_off()
        return figure


def run(
    scene: Tensor,
    blur: Tensor,
    *,
    noise: float = 0.01,
    balance: float = 0.03,
    iterations: int = 30,
    borders: Sequence[Border] = ("edge", "circular", "zero"),
    seed: int = 0,
) -> Restorations:
    """Blur a scene, cut out its middle, two thirds of each side, and undo the blur by Wiener's and Richardson and Lucy's
    method.

    Args:
        scene: (1, C, H, W) in 0..1.
        blur: the kernel, (kh, kw) with odd sides.
        noise: standard deviation of the noise added after blurring, on the scale 0..1.
        balance: as in `deconvolution.wiener`.
        iterations: as in `deconvolution.richardson_lucy`.
        borders: how the picture is assumed to continue beyond its edge, one after the other.
        seed: of the noise.

    Returns:
        The restorations of each method with each border.

    Raises:
        OptionError: the scene is too small for the blur, or an argument is none of its values.
        MissingPackageError: scikit-image is not installed.
    """
    check_maps(scene)
    reach = (blur.shape[0] // 2, blur.shape[1] // 2)
    margins = (scene.shape[2] // 6, scene.shape[3] // 6)
    if margins[0] < reach[0] or margins[1] < reach[1]:
        raise OptionError(
            f"a scene of {scene.shape[2]}x{scene.shape[3]} is too small for a blur of {blur.shape[0]}x{blur.shape[1]}: "
            "a sixth is cut off on every side. Give a scene of at least three times the blur."
        )
    sharp = _crop(scene, margins)
    blurred = convolve(scene, blur, border="none", noise=noise, seed=seed)
    blurred = _crop(blurred, (margins[0] - reach[0], margins[1] - reach[1])).clamp(0, 1)
    size = (sharp.shape[2], sharp.shape[3])
    pictures = {"blurred": blurred}
    for border in borders:
        pictures[f"wiener, {border}"] = wiener(blurred, size, blur=blur, balance=balance, border=border)
    for border in borders:
        pictures[f"richardson-lucy, {border}"] = richardson_lucy(blurred, size, blur=blur, iterations=iterations, border=border)
    restorations = tuple(_measure(name, sharp, picture, reach) for name, picture in pictures.items())
    return Restorations(sharp, blur, restorations, {"noise": noise, "balance": balance, "iterations": iterations, "seed": seed})


def _measure(name: str, sharp: Tensor, picture: Tensor, reach: Pair) -> Restoration:
    picture = picture.clamp(0, 1)
    return Restoration(name, picture, psnr(sharp, picture, 1.0), psnr(_crop(sharp, reach), _crop(picture, reach), 1.0))


def _crop(picture: Tensor, margins: Pair) -> Tensor:
    """Take rows and columns off every edge."""
    return picture[:, :, margins[0] : picture.shape[2] - margins[0], margins[1] : picture.shape[3] - margins[1]]
