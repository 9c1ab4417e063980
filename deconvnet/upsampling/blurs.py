"""Blurs: their kernels, and blurring by a true convolution, with what lies beyond the picture's edge said openly."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, check_option
from ..receptive_field import Pair
from .base import check_maps

#: How a picture continues beyond its edge: mirrored, by its last pixel, from its other side, or by black.
Border: TypeAlias = Literal["reflect", "edge", "circular", "zero"]

_TORCH_MODES = {"reflect": "reflect", "edge": "replicate", "circular": "circular", "zero": "constant"}
BORDERS = tuple(_TORCH_MODES)


def gaussian_blur(sigma: float, radius: int | None = None) -> Tensor:
    """Return the kernel of a Gaussian blur.

    Args:
        sigma: the standard deviation, in pixels.
        radius: pixels from the centre to the kernel's edge; by default three sigma.

    Returns:
        (2 * radius + 1, 2 * radius + 1), sums to 1.

    Raises:
        OptionError: sigma is not above 0.
    """
    if sigma <= 0:
        raise OptionError(f"sigma cannot be {sigma!r}: give the blur's standard deviation, above 0 pixels.")
    radius = math.ceil(3 * sigma) if radius is None else radius
    row = torch.exp(-torch.arange(-radius, radius + 1, dtype=torch.float64).square() / (2 * sigma**2))
    return (row[:, None] * row / row.sum() ** 2).float()


def motion_blur(length: int, degrees: float = 0.0) -> Tensor:
    """Return the kernel of a camera that moved in a straight line during the exposure.

    Args:
        length: of the movement, in pixels.
        degrees: its direction, clockwise from the right.

    Returns:
        (k, k) with odd k, at least the length, sums to 1.

    Raises:
        OptionError: the length is below 1.
    """
    if length < 1:
        raise OptionError(f"length cannot be {length!r}: give 1 pixel or more.")
    radius = math.ceil((length - 1) / 2)
    kernel = torch.zeros(2 * radius + 1, 2 * radius + 1, dtype=torch.float64)
    angle, samples = math.radians(degrees), 16 * length
    for distance in ((index + 0.5) / samples * length - length / 2 for index in range(samples)):
        row, col = radius + distance * math.sin(angle), radius + distance * math.cos(angle)
        kernel[min(max(round(row), 0), 2 * radius), min(max(round(col), 0), 2 * radius)] += 1
    return (kernel / kernel.sum()).float()


def box_blur(factor: int) -> Tensor:
    """Return the kernel that averages over blocks of `factor` pixels.

    A kernel has odd sides, so that it has a centre: an even factor gives one pixel more, with half weights at both ends.

    Returns:
        (k, k) with odd k, sums to 1.

    Raises:
        OptionError: the factor is below 1.
    """
    if factor < 1:
        raise OptionError(f"factor cannot be {factor!r}: give 1 pixel or more.")
    row = torch.ones(factor) if factor % 2 else torch.cat([torch.tensor([0.5]), torch.ones(factor - 1), torch.tensor([0.5])])
    return row[:, None] * row / factor**2


def convolve(
    picture: Tensor, blur: Tensor, *, border: Border | Literal["none"] = "reflect", noise: float = 0.0, seed: int = 0
) -> Tensor:
    """Convolve a picture with a kernel, which is flipped, as in mathematics and unlike in convnets.

    Args:
        picture: (N, C, H, W).
        blur: the kernel, (kh, kw) with odd sides; not negative, sums to 1.
        border: how the picture continues beyond its edge. "none": it does not, and only pixels that need nothing from there are
            returned.
        noise: standard deviation of the Gaussian noise added afterwards, in the picture's unit.
        seed: of the noise.

    Returns:
        (N, C, H, W), or with border "none" (N, C, H - kh + 1, W - kw + 1).

    Raises:
        OptionError: the kernel is no blur or larger than the picture, or the border is none of its values.
    """
    check_maps(picture)
    check_blur(blur)
    check_option("border", border, (*BORDERS, "none"))
    kernel = blur.to(picture).flip(0, 1).expand(picture.shape[1], 1, *blur.shape)
    if border != "none":
        picture = extend(picture, (blur.shape[0] // 2, blur.shape[1] // 2), border)
    if any(side < kernel_side for side, kernel_side in zip(picture.shape[2:], blur.shape, strict=True)):
        raise OptionError(
            f"the blur of {blur.shape[0]}x{blur.shape[1]} is larger than the picture. Give a border, or a larger picture."
        )
    blurred = F.conv2d(picture, kernel, groups=picture.shape[1])
    if noise:
        blurred = blurred + noise * torch.randn(blurred.shape, generator=torch.Generator().manual_seed(seed)).to(blurred)
    return blurred


def extend(picture: Tensor, margins: Pair, border: Border) -> Tensor:
    """Continue a picture beyond its edge.

    Args:
        picture: (N, C, H, W).
        margins: (rows, columns) added on every side.
        border: with what.

    Returns:
        (N, C, H + 2 * rows, W + 2 * columns).

    Raises:
        OptionError: the picture is too small to be mirrored or repeated that far.
    """
    check_option("border", border, BORDERS)
    rows, columns = margins
    height, width = picture.shape[2], picture.shape[3]
    limits = {"reflect": (height - 1, width - 1), "circular": (height, width)}.get(border, margins)
    if rows > limits[0] or columns > limits[1]:
        raise OptionError(f"a picture of {height}x{width} cannot be extended by {rows}x{columns} with {border!r}. Use 'edge'.")
    return F.pad(picture, (columns, columns, rows, rows), mode=_TORCH_MODES[border])


def smooth_part(picture: Tensor, sigma: float = 3.0) -> Tensor:
    """Return a picture's smooth part, by a Gaussian blur; what is left without it is edges and texture, which suit sparse
    codes.

    Args:
        picture: (N, C, H, W).
        sigma: the blur's standard deviation, in pixels.

    Returns:
        (N, C, H, W).
    """
    return convolve(picture, gaussian_blur(sigma), border="edge")


def check_blur(blur: Tensor) -> None:
    """Raise `OptionError` unless `blur` is a kernel (kh, kw) with odd sides, not negative, that sums to 1."""
    if blur.dim() != 2 or any(side % 2 == 0 for side in blur.shape):
        raise OptionError(
            f"expected a blur (kh, kw) with odd sides, so that it has a centre, found {tuple(blur.shape)}. Pad it with zeros."
        )
    if float(blur.min()) < 0 or abs(float(blur.sum()) - 1) > 1e-3:
        raise OptionError(
            f"expected a blur that is not negative and sums to 1, found a sum of {float(blur.sum()):.4g}. Divide it by that."
        )
