"""FCN's upsampling: a transposed convolution that starts as bilinear interpolation and may be learned.

Long, Shelhamer & Darrell 2015 start the layers that bring scores back to the picture's size as bilinear interpolation; the
inner ones are then learned, and the last one stays as it is (its learning rate is zero). Away from the border the result is
`interpolation.bilinear` exactly. At the border it is not: the taps that lie outside the map contribute nothing, so the edge
fades towards zero, where interpolation repeats the last value.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import OptionError
from .base import common_factor
from .transposed import transposed_convolution


def bilinear_filter(kernel: int) -> Tensor:
    """Return FCN's bilinear filter: a tent around the centre, for the factor (kernel + 1) // 2.

    Args:
        kernel: the filter's side, in pixels.

    Returns:
        (kernel, kernel), float64.

    Raises:
        OptionError: the side is below 1.

    >>> bilinear_filter(4)[0]
    tensor([0.0625, 0.1875, 0.1875, 0.0625], dtype=torch.float64)
    """
    if kernel < 1:
        raise OptionError(f"kernel cannot be {kernel!r}: a filter has at least one tap.")
    factor = (kernel + 1) // 2
    centre = factor - 1 if kernel % 2 else factor - 0.5
    tent = 1 - (torch.arange(kernel, dtype=torch.float64) - centre).abs() / factor
    return tent[:, None] * tent


def bilinear_geometry(factor: int) -> tuple[int, int, int]:
    """Return the kernel, stride and padding with which a transposed convolution upsamples by exactly a whole factor.

    Raises:
        OptionError: the factor is below 1.

    >>> bilinear_geometry(2), bilinear_geometry(3)
    ((4, 2, 1), (5, 3, 1))
    """
    if factor < 1:
        raise OptionError(f"factor cannot be {factor!r}: give a whole number of at least 1.")
    return 2 * factor - factor % 2, factor, factor // 2  # the padding is ceil((factor - 1) / 2)


def upsample(small: Tensor, size: tuple[int, int], *, stride: int | None = None) -> Tensor:
    """Upsample by a transposed convolution with FCN's bilinear filter.

    Args:
        small: (N, C, H', W').
        size: (H, W) of the result.
        stride: the factor, the same for rows and columns; by default the smallest that fits.

    Returns:
        (N, C, H, W).

    Raises:
        OptionError: rows and columns need different factors, or the sizes do not fit.
    """
    factor = common_factor(small, size, stride, "FCN's square filter")
    kernel, _, padding = bilinear_geometry(factor)
    return transposed_convolution(small, size, filters=bilinear_filter(kernel), stride=factor, padding=padding)


class BilinearUpsampling(nn.Module):
    """FCN's upsampling as a layer: (N, C, H', W') -> (N, C, factor H', factor W'), each channel by itself.

    Args:
        channels: C.
        factor: how many times larger, a whole number.
        trained: whether an optimiser may change the filters; FCN's last layer keeps them.

    Raises:
        OptionError: the factor is below 1.

    >>> BilinearUpsampling(21, 8)(torch.rand(1, 21, 4, 5)).shape
    torch.Size([1, 21, 32, 40])
    """

    def __init__(self, channels: int, factor: int, *, trained: bool = False) -> None:
        super().__init__()
        kernel, self.factor, self.padding = bilinear_geometry(factor)
        filters = bilinear_filter(kernel).to(torch.get_default_dtype()).repeat(channels, 1, 1, 1)
        self.weight = nn.Parameter(filters, requires_grad=trained)  # (C, 1, k, k): one filter per channel

    def forward(self, small: Tensor) -> Tensor:
        """(N, C, H', W') -> (N, C, factor H', factor W')."""
        size = (small.shape[2] * self.factor, small.shape[3] * self.factor)
        return transposed_convolution(
            small, size, filters=self.weight, stride=self.factor, padding=self.padding, groups=len(self.weight)
        )
