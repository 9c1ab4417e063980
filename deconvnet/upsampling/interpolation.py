"""Interpolation: values between the old pixels, computed from the old pixels around them. Nothing is learned or remembered.

Pixels are squares with their values at the centre (`align_corners=False` in torch): doubling a row a, b puts the new values a
quarter of a pixel to either side of the old ones. Other conventions would shift the picture.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .base import check_inputs


def nearest(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Give each new pixel the value of the nearest old one.

    Args:
        small: (N, C, H', W').
        size: (H, W) of the result.

    Returns:
        (N, C, H, W).

    Raises:
        OptionError: the inputs are no maps or no size.

    >>> nearest(torch.tensor([[[[1.0, 2.0]]]]), (1, 4)).tolist()
    [[[[1.0, 1.0, 2.0, 2.0]]]]
    """
    check_inputs(small, size)
    return F.interpolate(small, size, mode="nearest-exact")  # torch's "nearest" is off by a pixel for sizes such as 3 -> 5


def bilinear(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Average the four nearest old pixels, weighted by how near they are.

    Args:
        small: (N, C, H', W').
        size: (H, W) of the result.

    Returns:
        (N, C, H, W), within the range of the old values.

    Raises:
        OptionError: the inputs are no maps or no size.

    >>> bilinear(torch.tensor([[[[0.0, 4.0]]]]), (1, 4)).tolist()
    [[[[0.0, 1.0, 3.0, 4.0]]]]
    """
    check_inputs(small, size)
    return F.interpolate(small, size, mode="bilinear", align_corners=False)


def bicubic(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Average the sixteen nearest old pixels, weighted by a cubic kernel (Keys 1981, a = -0.75).

    Args:
        small: (N, C, H', W').
        size: (H, W) of the result.

    Returns:
        (N, C, H, W): sharper than bilinear interpolation, and beside edges it may leave the range of the old values.

    Raises:
        OptionError: the inputs are no maps or no size.
    """
    check_inputs(small, size)
    return F.interpolate(small, size, mode="bicubic", align_corners=False)
