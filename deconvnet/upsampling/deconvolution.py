"""Deconvolution in the first sense of the word: undo a convolution whose kernel is known. Nothing is learned or transposed.

    wiener              divides in the frequency domain, less where the blur let little through (scikit-image)
    richardson_lucy     multiplies by the ratio of picture to estimate, again and again; for values that are not negative

What the blur removed is lost: where the kernel's spectrum is near zero, dividing by it turns any rounding into noise. Hence the
`balance` of the one and the few iterations of the other. Both assume the picture to continue beyond its edge as it does not:
Wiener as if wrapped around, Richardson-Lucy as if black. That makes rings and dark borders, so the picture is first extended,
by `border`, and cropped afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import OptionError
from ..optional import require
from .base import check_inputs
from .blurs import Border, box_blur, check_blur, extend
from .interpolation import bicubic

#: A channel (H, W) and a kernel (kh, kw) go in, the deconvolved channel comes out.
_Deconvolve: TypeAlias = Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]]


def wiener(
    small: Tensor, size: tuple[int, int], *, blur: Tensor | None = None, balance: float = 0.03, border: Border = "edge"
) -> Tensor:
    """Upsample by bicubic interpolation, if `size` is larger, and undo the blur by Wiener's filter.

    Args:
        small: (N, C, H', W'), values of any sign.
        size: (H, W) of the result.
        blur: the kernel (kh, kw) that the large picture was convolved with; by default the average over the blocks that became
            one pixel each.
        balance: how much smoothness counts against sharpness, above 0: the more noise, the more.
        border: how the picture continues beyond its edge.

    Returns:
        (N, C, H, W).

    Raises:
        OptionError: an argument is none of its values.
        MissingPackageError: scikit-image is not installed.
    """
    restoration = require("skimage.restoration", needed_by="wiener", extra="upsampling")
    if balance <= 0:
        raise OptionError(f"balance cannot be {balance!r}: give a number above 0, or noise would be all that is left.")
    return _undo(small, size, blur, border, lambda channel, kernel: restoration.wiener(channel, kernel, balance, clip=False))


def richardson_lucy(
    small: Tensor, size: tuple[int, int], *, blur: Tensor | None = None, iterations: int = 10, border: Border = "edge"
) -> Tensor:
    """Upsample by bicubic interpolation, if `size` is larger, and undo the blur by Richardson and Lucy's iteration.

    Args:
        small: (N, C, H', W'), not negative: a picture in 0..1 or a rectified map. What bicubic interpolation overshoots below
            zero is cut off.
        size: (H, W) of the result.
        blur: as in `wiener`.
        iterations: the more, the sharper the picture, and the noise.
        border: how the picture continues beyond its edge.

    Returns:
        (N, C, H, W).

    Raises:
        OptionError: there are negative values, or an argument is none of its values.
        MissingPackageError: scikit-image is not installed.
    """
    restoration = require("skimage.restoration", needed_by="richardson-lucy", extra="upsampling")
    if float(small.min()) < 0:
        raise OptionError("richardson-lucy takes no negative values. Give a picture in 0..1 or a rectified map.")
    if iterations < 1:
        raise OptionError(f"iterations cannot be {iterations!r}: give 1 or more.")

    def deconvolve(channel: npt.NDArray[np.float64], kernel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        top = channel.max() or 1.0  # scikit-image starts from one half everywhere: bring every map to the scale of pictures
        scaled = np.maximum(channel, 0) / top
        return top * restoration.richardson_lucy(scaled, kernel, iterations, clip=False, filter_epsilon=1e-12)

    return _undo(small, size, blur, border, deconvolve)


def _undo(small: Tensor, size: tuple[int, int], blur: Tensor | None, border: Border, deconvolve: _Deconvolve) -> Tensor:
    """Interpolate to the size, extend beyond the edge, deconvolve channel by channel, and crop."""
    check_inputs(small, size)
    if blur is None:
        blur = _block_average(small, size)
    check_blur(blur)
    large = small if tuple(small.shape[2:]) == tuple(size) else bicubic(small, size)
    if max(blur.shape) == 1:  # nothing was averaged
        return large
    top, left = 2 * blur.shape[0], 2 * blur.shape[1]
    channels = extend(large, (top, left), border).flatten(0, 1).double().cpu().numpy()
    kernel = blur.double().cpu().numpy()
    sharp = torch.from_numpy(np.stack([deconvolve(channel, kernel) for channel in channels])).to(large)
    return sharp[:, top : top + size[0], left : left + size[1]].reshape(large.shape)


def _block_average(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the kernel that averages over the blocks of the large picture that became one pixel each."""
    rows, columns = (max(1, round(long / short)) for long, short in zip(size, small.shape[2:], strict=True))
    return box_blur(rows).sum(1)[:, None] * box_blur(columns).sum(0)
