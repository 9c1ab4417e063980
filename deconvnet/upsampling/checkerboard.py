"""Checkerboards: the pattern that a stride leaves in a picture, and how strong it is.

Where the stride does not divide a transposed convolution's kernel, some pixels are reached by more taps than their neighbours:
1 and 2 along a row for kernel 3, stride 2, and 1, 2 and 4 in the plane (Odena, Dumoulin & Olah, Distill 2016). The way down
through a strided convolution is a transposed convolution, so the deconvnet's projections carry the pattern: ZFNet's first layer
has kernel 7, stride 2. With learned filters the count is only half the story: even counts can carry uneven weights, and
bilinear filters of an odd kernel have uneven counts and no checkerboard. `transposed_convolution(..., divide=)` divides by
either.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError
from ..receptive_field import pair
from .base import Sides


def overlap_count(size: Sequence[int], kernel: Sides, stride: Sides, padding: Sides = 0, dilation: Sides = 1) -> Tensor:
    """Count the taps of a transposed convolution that reach each pixel.

    Args:
        size: (H', W') of the small map.
        kernel, stride, padding, dilation: those of the transposed convolution.

    Returns:
        (H, W), float32: the transposed convolution of ones with ones.

    >>> overlap_count((1, 4), (1, 3), 2)
    tensor([[1., 1., 2., 1., 2., 1., 2., 1., 1.]])
    """
    ones, taps = torch.ones((1, 1, *size)), torch.ones((1, 1, *pair(kernel)))
    return F.conv_transpose2d(ones, taps, stride=pair(stride), padding=pair(padding), dilation=pair(dilation))[0, 0]


def checkerboard_energy(large: Tensor, stride: Sides) -> float:
    """Measure the share of a picture's variance that repeats with the stride.

    All pixels of one phase - row and column modulo the stride - are averaged, map by map; the energy is the variance of these
    stride^2 means over the variance of all pixels. By Parseval's theorem this is the share of the power spectrum at multiples
    of 1/stride. A flat picture has none, photographs have next to none (half of 100 have less than 0.001 % at stride 2 and 0.01
    % at stride 4), and a flat picture unpooled to a bed of nails is nothing else: 1. A pattern that changes sign from position
    to position cancels out: measure its absolute values instead.

    Args:
        large: (N, C, H, W). Rows and columns beyond a multiple of the stride are left out.
        stride: the period in pixels, one number or (rows, columns).

    Returns:
        The share, 0..1.

    Raises:
        OptionError: the picture is smaller than the stride.
    """
    down, across = pair(stride)
    rows, columns = large.shape[2] // down, large.shape[3] // across
    if not rows or not columns:
        raise OptionError(
            f"a map of {large.shape[2]}x{large.shape[3]} is smaller than the stride, {down}x{across}. Give a larger map."
        )
    maps = large[:, :, : rows * down, : columns * across].double()
    phases = maps.reshape(*maps.shape[:2], rows, down, columns, across).mean((2, 4))  # (N, C, s, s)
    variance = maps.var((2, 3), correction=0).sum()
    # a flat picture's variance is rounding, not zero
    return float(phases.var((2, 3), correction=0).sum() / variance) if variance > 1e-20 * maps.square().sum() else 0.0
