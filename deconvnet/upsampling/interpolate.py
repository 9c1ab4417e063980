"""Interpolation: the value between the pixels, from the pixels around it. Nothing is learned and nothing is remembered.

Pixels are squares and their values stand in the middle of them (`align_corners=False`): doubling a row a, b puts new values
a quarter of a pixel to either side of the old ones. Other conventions shift the picture.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .base import check_sizes


def nearest(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Give each new pixel the value of the nearest old one: (N, C, H', W') -> (N, C, H, W).

    >>> nearest(torch.tensor([[[[1.0, 2.0]]]]), (1, 4)).tolist()
    [[[[1.0, 1.0, 2.0, 2.0]]]]
    """
    check_sizes(small, size)
    return F.interpolate(small, size, mode="nearest-exact")  # torch's "nearest" is off by a pixel for sizes such as 3 -> 5


def bilinear(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Weight the four nearest old pixels by how near they are: (N, C, H', W') -> (N, C, H, W).

    >>> bilinear(torch.tensor([[[[0.0, 4.0]]]]), (1, 4)).tolist()
    [[[[0.0, 1.0, 3.0, 4.0]]]]
    """
    check_sizes(small, size)
    return F.interpolate(small, size, mode="bilinear", align_corners=False)


def bicubic(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Weight the sixteen nearest old pixels by a cubic (Keys 1981, a = -0.75): (N, C, H', W') -> (N, C, H, W).

    Sharper than bilinear; it may overshoot the old values' range by the edges.
    """
    check_sizes(small, size)
    return F.interpolate(small, size, mode="bicubic", align_corners=False)
