"""Deconvolution in the word's first sense: undo a convolution whose kernel is known. Nothing is learned, nothing transposed.

    wiener              divides in the frequency domain, less where the blur let little through (scikit-image)
    richardson_lucy     multiplies by what a ratio says is missing, again and again; for values that are not negative

What was blurred away is gone: where the kernel's spectrum is near zero, dividing by it makes noise of any rounding. Hence the
`balance` of one and the few iterations of the other. Both take the picture to go on beyond its edge in a way that it does not:
Wiener as if it were wrapped around, Richardson-Lucy as if all were black. That makes rings and dark borders, so the picture is
first continued, by `border`, and cut back afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, check_option
from ..optional import require
from . import interpolate
from .base import check_sizes

#: How a picture goes on beyond its edge: mirrored, its last pixel repeated, from its other side, black.
BORDERS = {"reflect": "reflect", "edge": "replicate", "circular": "circular", "zero": "constant"}


def gaussian_blur(sigma: float, radius: int | None = None) -> Tensor:
    """Return a Gaussian kernel, (2 * radius + 1) a side; sigma and radius in pixels, the radius by default three sigma."""
    if sigma <= 0:
        raise OptionError(f"sigma cannot be {sigma!r}: a blur has a width above 0 pixels.")
    radius = math.ceil(3 * sigma) if radius is None else radius
    row = torch.exp(-torch.arange(-radius, radius + 1, dtype=torch.float64).square() / (2 * sigma**2))
    return (row[:, None] * row / row.sum() ** 2).float()


def motion_blur(length: int, degrees: float = 0.0) -> Tensor:
    """Return the kernel of a camera that moved `length` pixels while it looked; degrees clockwise from the right."""
    if length < 1:
        raise OptionError(f"length cannot be {length!r}: a motion goes over one pixel or more.")
    radius = math.ceil((length - 1) / 2)
    kernel = torch.zeros(2 * radius + 1, 2 * radius + 1, dtype=torch.float64)
    angle, samples = math.radians(degrees), 16 * length
    for along in ((index + 0.5) / samples * length - length / 2 for index in range(samples)):
        row, col = radius + along * math.sin(angle), radius + along * math.cos(angle)
        kernel[min(max(round(row), 0), 2 * radius), min(max(round(col), 0), 2 * radius)] += 1
    return (kernel / kernel.sum()).float()


def box_blur(factor: int) -> Tensor:
    """Return the average over blocks of `factor` pixels as a kernel with a middle: an even one has half weights at its ends."""
    if factor < 1:
        raise OptionError(f"factor cannot be {factor!r}: a block has one pixel or more.")
    row = torch.ones(factor) if factor % 2 else torch.cat([torch.tensor([0.5]), torch.ones(factor - 1), torch.tensor([0.5])])
    return row[:, None] * row / factor**2


def convolve(picture: Tensor, blur: Tensor, *, border: str = "reflect", noise: float = 0.0, seed: int = 0) -> Tensor:
    """Blur: (N, C, H, W) convolved with a kernel (k, k), which is flipped, as in mathematics and unlike in convnets.

    `border` says how the picture goes on beyond its edge, a key of `BORDERS`, or is "none": only what needs nothing from there,
    (N, C, H - k + 1, W - k + 1), is returned. `noise` is the deviation of Gaussian noise that is added, in the picture's unit.
    """
    check_sizes(picture, (1, 1))
    _check_blur(blur)
    check_option("border", border, (*BORDERS, "none"))
    kernel = blur.to(picture).flip(0, 1).expand(picture.shape[1], 1, *blur.shape)
    if border != "none":
        picture = extend(picture, (blur.shape[0] // 2, blur.shape[1] // 2), border)
    if any(side < kernel_side for side, kernel_side in zip(picture.shape[2:], blur.shape, strict=True)):
        raise OptionError(
            f"the blur of {blur.shape[0]}x{blur.shape[1]} is larger than the picture. Give a border, or a larger one."
        )
    blurred = F.conv2d(picture, kernel, groups=picture.shape[1])
    if noise:
        blurred = blurred + noise * torch.randn(blurred.shape, generator=torch.Generator().manual_seed(seed)).to(blurred)
    return blurred


def extend(picture: Tensor, margins: tuple[int, int], border: str) -> Tensor:
    """Let a picture go on by `margins` rows and columns on every side, its own way to go on being `border`."""
    check_option("border", border, BORDERS)
    tall, wide = margins
    most = {"reflect": (picture.shape[2] - 1, picture.shape[3] - 1), "circular": tuple(picture.shape[2:])}.get(border, margins)
    if tall > most[0] or wide > most[1]:
        raise OptionError(
            f"a picture of {picture.shape[2]}x{picture.shape[3]} cannot go on for {tall}x{wide} by {border!r}. Use 'edge'."
        )
    return F.pad(picture, (wide, wide, tall, tall), mode=BORDERS[border])


def smooth(picture: Tensor, sigma: float = 3.0) -> Tensor:
    """Return a picture's smooth part; what is left without it is edges and texture, which is what sparse codes are good at."""
    return convolve(picture, gaussian_blur(sigma), border="edge")


def wiener(
    small: Tensor, size: tuple[int, int], *, blur: Tensor | None = None, balance: float = 0.03, border: str = "edge"
) -> Tensor:
    """Go up by bicubic interpolation, where `size` is larger, and undo the blur by Wiener's filter.

    (N, C, H', W') -> (N, C, H, W). `blur` (k, k): what the large picture was convolved with; by default the average over the
    blocks that became one pixel each. `balance`: how much smoothness counts against sharpness; the more noise, the more. Any
    values, also negative ones, will do.
    """
    restoration = require("skimage.restoration", needed_by="wiener", extra="upsampling")
    if balance <= 0:
        raise OptionError(f"balance cannot be {balance!r}: it is above 0, or the noise would be all that is seen.")
    return _undo(small, size, blur, border, lambda plane, kernel: restoration.wiener(plane, kernel, balance, clip=False))


def richardson_lucy(
    small: Tensor, size: tuple[int, int], *, blur: Tensor | None = None, iterations: int = 10, border: str = "edge"
) -> Tensor:
    """Go up by bicubic interpolation, where `size` is larger, and undo the blur by Richardson and Lucy's iteration.

    (N, C, H', W') -> (N, C, H, W); `blur` as in `wiener`. Values must not be negative (what bicubic interpolation overshoots
    below zero is cut): pictures in 0..1, or rectified maps. The more `iterations`, the sharper, and the more noise is
    sharpened too.
    """
    restoration = require("skimage.restoration", needed_by="richardson-lucy", extra="upsampling")
    if float(small.min()) < 0:
        raise OptionError(
            "richardson-lucy takes no negative values: it counts light. Give a picture in 0..1 or a rectified map."
        )
    if iterations < 1:
        raise OptionError(f"iterations cannot be {iterations!r}: give 1 or more.")

    def undo(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        top = plane.max() or 1.0  # scikit-image starts from one half everywhere: bring every map to the scale of pictures
        return top * restoration.richardson_lucy(
            np.maximum(plane, 0) / top, kernel, iterations, clip=False, filter_epsilon=1e-12
        )

    return _undo(small, size, blur, border, undo)


def _undo(
    small: Tensor,
    size: tuple[int, int],
    blur: Tensor | None,
    border: str,
    deconvolve: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Tensor:
    """Bring to size, continue beyond the edge, deconvolve map by map, cut back."""
    check_sizes(small, size)
    if blur is None:
        blur = _block_average(small, size)
    _check_blur(blur)
    large = small if tuple(small.shape[2:]) == tuple(size) else interpolate.bicubic(small, size)
    if min(blur.shape) == 1 == max(blur.shape):
        return large
    tall, wide = 2 * blur.shape[0], 2 * blur.shape[1]
    planes = extend(large, (tall, wide), border).flatten(0, 1).double().cpu().numpy()
    kernel = blur.double().cpu().numpy()
    undone = torch.from_numpy(np.stack([deconvolve(plane, kernel) for plane in planes])).to(large)
    return undone[:, tall : tall + size[0], wide : wide + size[1]].reshape(large.shape)


def _block_average(small: Tensor, size: tuple[int, int]) -> Tensor:
    rows, columns = (max(1, round(long / short)) for long, short in zip(size, small.shape[2:], strict=True))
    down, across = box_blur(rows), box_blur(columns)
    return down.sum(1)[:, None] * across.sum(0)


def _check_blur(blur: Tensor) -> None:
    if blur.dim() != 2 or any(side % 2 == 0 for side in blur.shape):
        raise OptionError(
            f"a blur is (k, k) with odd sides, so that it has a middle, found {tuple(blur.shape)}. Pad it with zeros."
        )
    if float(blur.min()) < 0 or abs(float(blur.sum()) - 1) > 1e-3:
        raise OptionError(
            f"a blur has no negative values and sums to 1, found a sum of {float(blur.sum()):.4g}. Divide it by that."
        )
