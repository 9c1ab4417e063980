"""Checkerboards: what a stride leaves in a picture, and how strong it is.

Where a transposed convolution's kernel is not divisible by its stride, some pixels are reached by more taps than their
neighbours: 1 and 2 along a row for kernel 3, stride 2, and 1, 2 and 4 in the plane (Odena, Dumoulin & Olah, Distill 2016). The
way down of a strided convolution is one, so that the deconvnet's projections carry it: ZFNet's first layer has kernel 7,
stride 2. With learned filters the count is half the story: even counts can carry uneven weights, and bilinear filters of an odd
kernel have uneven counts and no checkerboard. `transpose.transposed(..., divide=)` divides out the one or the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError
from ..receptive_field import pair

Sides = int | tuple[int, int]


def overlap_count(size: Sequence[int], kernel: Sides, stride: Sides, padding: Sides = 0, dilation: Sides = 1) -> Tensor:
    """Return how many taps reach each pixel, (H, W), when (H', W') = `size` values are painted: conv_transpose2d of ones.

    >>> overlap_count((1, 4), (1, 3), 2)
    tensor([[1., 1., 2., 1., 2., 1., 2., 1., 1.]])
    """
    ones, taps = torch.ones((1, 1, *size)), torch.ones((1, 1, *pair(kernel)))
    return F.conv_transpose2d(ones, taps, stride=pair(stride), padding=pair(padding), dilation=pair(dilation))[0, 0]


def checkerboard(large: Tensor, stride: Sides) -> float:
    """Return the share of a picture's variance that repeats with the stride, 0..1: its checkerboard energy.

    `large`: (N, C, H, W). All pixels of one phase - row and column modulo the stride - are averaged, map by map; the energy is
    the variance of these stride^2 means over the variance of all pixels. By Parseval's theorem that is the share of the power
    spectrum which stands at the multiples of 1/stride. A flat picture has none, photographs next to none (half of 100 have less
    than 0.001 % at stride 2 and 0.01 % at stride 4), and a bed of nails made of a flat picture is nothing else: 1. What changes
    sign from place to place cancels out: ask for the energy of its absolute values. Rows and columns beyond a multiple of the
    stride are left out.
    """
    down, across = pair(stride)
    height, width = large.shape[2] // down * down, large.shape[3] // across * across
    if not height or not width:
        raise OptionError(f"a map of {large.shape[2]}x{large.shape[3]} is smaller than the stride, {down}x{across}.")
    maps = large[:, :, :height, :width].double()
    phases = maps.reshape(*maps.shape[:2], height // down, down, width // across, across).mean((2, 4))  # (N, C, s, s)
    whole = maps.var((2, 3), correction=0).sum()
    # a flat picture's variance is rounding, not zero
    return float(phases.var((2, 3), correction=0).sum() / whole) if whole > 1e-20 * maps.square().sum() else 0.0
