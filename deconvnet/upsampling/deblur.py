"""Blur a scene by a known kernel, undo it by both ways, and count decibels: what comes back, what border and noise cost.

The scene is larger than the picture that is cut from its middle, before and after blurring: as in a camera, what lies beyond
the picture's edge has been blurred into it and is not known. Blurring a picture that wraps around instead flatters Wiener's
filter, which takes it to wrap around: no photograph does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import OptionError
from . import deconvolve
from .base import check_sizes
from .metrics import psnr


@dataclass(frozen=True)
class Restoration:
    """What one way made of a blurred picture: (N, C, H, W), cut to 0..1, and its PSNR in decibels, the edge apart.

    `inside` leaves out as many rows and columns at every edge as the blur reaches.
    """

    name: str
    made: Tensor
    psnr: float
    inside: float


@dataclass(frozen=True)
class Restorations:
    """The sharp picture (N, C, H, W), the kernel (k, k), and the restorations, first of all the blurred picture itself."""

    sharp: Tensor
    blur: Tensor
    tried: list[Restoration]
    settings: dict[str, Any]


def run(
    scene: Tensor,
    blur: Tensor,
    *,
    noise: float = 0.01,
    balance: float = 0.03,
    iterations: int = 30,
    borders: Sequence[str] = ("edge", "circular", "zero"),
    seed: int = 0,
) -> Restorations:
    """Blur a scene (1, C, H, W) in 0..1, cut out its middle, two thirds a side, and undo the blur by both ways.

    `noise`: deviation of what is added after blurring, on the scale 0..1. `balance` and `iterations` are the ways' own,
    `borders` what is assumed beyond the edge, one after the other.
    """
    check_sizes(scene, (1, 1))
    reach = (blur.shape[0] // 2, blur.shape[1] // 2)
    margins = (scene.shape[2] // 6, scene.shape[3] // 6)
    if any(margin < side for margin, side in zip(margins, reach, strict=True)):
        raise OptionError(
            f"a scene of {scene.shape[2]}x{scene.shape[3]} is too small for a blur of {blur.shape[0]}x{blur.shape[1]}: "
            "it is cut by a sixth on every side. Give one of three times the blur or more."
        )
    sharp = _cut(scene, margins)
    seen = deconvolve.convolve(scene, blur, border="none", noise=noise, seed=seed)
    seen = _cut(seen, (margins[0] - reach[0], margins[1] - reach[1])).clamp(0, 1)
    size = (sharp.shape[2], sharp.shape[3])
    tried = [_measured("blurred", sharp, seen, reach)]
    for border in borders:
        made = deconvolve.wiener(seen, size, blur=blur, balance=balance, border=border)
        tried.append(_measured(f"wiener, {border}", sharp, made, reach))
    for border in borders:
        made = deconvolve.richardson_lucy(seen, size, blur=blur, iterations=iterations, border=border)
        tried.append(_measured(f"richardson-lucy, {border}", sharp, made, reach))
    return Restorations(sharp, blur, tried, {"noise": noise, "balance": balance, "iterations": iterations, "seed": seed})


def _measured(name: str, sharp: Tensor, made: Tensor, reach: tuple[int, int]) -> Restoration:
    made = made.clamp(0, 1)
    return Restoration(name, made, psnr(sharp, made, 1.0), psnr(_cut(sharp, reach), _cut(made, reach), 1.0))


def _cut(picture: Tensor, margins: tuple[int, int]) -> Tensor:
    """Take rows and columns off every edge."""
    return picture[:, :, margins[0] : picture.shape[2] - margins[0], margins[1] : picture.shape[3] - margins[1]]
