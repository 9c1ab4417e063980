"""Bilinear interpolation as a transposed convolution: FCN's start for an upsampling that may be learned.

Long, Shelhamer & Darrell 2015 start the layers that bring scores back to the picture's size as bilinear interpolation; the
inner ones are then learned, the last one is left as it is (its learning rate is zero). Away from the border the result is
`interpolate.bilinear` exactly. At the border it is not: there the taps that lie outside the map bring nothing, and the edge
fades towards zero, where interpolation goes on with the last value.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import OptionError
from .transpose import transposed
from .unpool import strides_between


def bilinear_filter(kernel: int) -> Tensor:
    """Return FCN's bilinear filter, (k, k) float64: a tent around the centre, for the factor (k + 1) // 2.

    >>> bilinear_filter(4)[0]
    tensor([0.0625, 0.1875, 0.1875, 0.0625], dtype=torch.float64)
    """
    if kernel < 1:
        raise OptionError(f"kernel cannot be {kernel!r}: a filter has at least one tap.")
    factor = (kernel + 1) // 2
    middle = factor - 1 if kernel % 2 else factor - 0.5
    tent = 1 - (torch.arange(kernel, dtype=torch.float64) - middle).abs() / factor
    return tent[:, None] * tent


def geometry(factor: int) -> tuple[int, int, int]:
    """Return kernel, stride and padding with which a transposed convolution goes up by a whole factor exactly.

    >>> geometry(2), geometry(3)
    ((4, 2, 1), (5, 3, 1))
    """
    if factor < 1:
        raise OptionError(f"factor cannot be {factor!r}: going up takes a whole factor of at least 1.")
    return 2 * factor - factor % 2, factor, factor // 2  # the padding is ceil((factor - 1) / 2)


def fcn(small: Tensor, size: tuple[int, int], *, stride: int | None = None) -> Tensor:
    """Go up by a transposed convolution with FCN's bilinear filter: (N, C, H', W') -> (N, C, H, W), cut to `size`.

    `stride` is the factor, by default the smallest with which the sizes fit; it is the same for rows and columns.
    """
    down, across = strides_between(small, size, stride)
    if down != across:
        raise OptionError(f"FCN's filter is square: it cannot go up by {down} rows and {across} columns at once.")
    kernel, _, padding = geometry(down)
    return transposed(small, size, filters=bilinear_filter(kernel), stride=down, padding=padding)


class BilinearUpsampling(nn.Module):
    """FCN's upsampling as a layer: (N, C, H', W') -> (N, C, factor H', factor W'), each channel by itself.

    `trained` False keeps the filters as they are, as FCN's last layer does; True lets an optimiser change them.

        >>> BilinearUpsampling(21, 8)(torch.rand(1, 21, 4, 5)).shape
        torch.Size([1, 21, 32, 40])
    """

    def __init__(self, channels: int, factor: int, *, trained: bool = False) -> None:
        super().__init__()
        kernel, self.factor, self.padding = geometry(factor)
        filters = bilinear_filter(kernel).to(torch.get_default_dtype()).repeat(channels, 1, 1, 1)
        self.weight = nn.Parameter(filters, requires_grad=trained)  # (C, 1, k, k): one filter a channel

    def forward(self, small: Tensor) -> Tensor:
        """(N, C, H', W') -> (N, C, factor H', factor W')."""
        size = (small.shape[2] * self.factor, small.shape[3] * self.factor)
        return transposed(small, size, filters=self.weight, stride=self.factor, padding=self.padding, groups=len(self.weight))
