"""Four equal ways of computing a transposed convolution; a test holds them equal, and `transposed_convolution` takes any.

    torch      torch's own
    scatter    one product of matrices, and each result added at its position: Caffe's col2im
    zeros      zeros between the small values, then a convolution with flipped filters: stride^2 times the work
    sub-pixel  a convolution to stride^2 times the channels, laid side by side (Shi et al. 2016)

Each returns the whole canvas: (H' - 1) * stride + dilation * (kernel - 1) + 1 rows, and columns likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ..receptive_field import Pair
from .unpooling import to_top_left

Form: TypeAlias = Literal["torch", "scatter", "zeros", "sub-pixel"]

#: (small, filters, stride, dilation, groups) -> canvas; filters are (C', C / groups, kh, kw).
FormFunction: TypeAlias = Callable[[Tensor, Tensor, Pair, Pair, int], Tensor]


def by_torch(small: Tensor, filters: Tensor, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    """Let torch compute it."""
    return F.conv_transpose2d(small, filters, stride=stride, dilation=dilation, groups=groups)


def by_scatter(small: Tensor, filters: Tensor, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    """Multiply each small value by its filter, and add each product at its position."""
    batch, channels, height, width = small.shape
    columns = torch.einsum(  # (N, g, C'/g, H'W') and (g, C'/g, C/g * kh * kw) -> (N, C * kh * kw, H'W')
        "ngip,gio->ngop", small.reshape(batch, groups, channels // groups, -1), filters.reshape(groups, channels // groups, -1)
    ).flatten(1, 2)
    kernel = (filters.shape[2], filters.shape[3])
    return F.fold(columns, canvas_size((height, width), kernel, stride, dilation), kernel, dilation=dilation, stride=stride)


def by_zeros(small: Tensor, filters: Tensor, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    """Put zeros between the small values, then convolve with the filters, flipped, inputs and outputs swapped.

    Flipping filters that are "transposed" already would undo the flip: a known mistake.
    """
    height, width = small.shape[2:]
    spaced = to_top_left(small, ((height - 1) * stride[0] + 1, (width - 1) * stride[1] + 1), stride=stride)
    padding = [step * (side - 1) for step, side in zip(dilation, filters.shape[2:], strict=True)]
    return F.conv2d(spaced, _swap_channels(filters, groups).flip(2, 3), padding=padding, dilation=dilation, groups=groups)


def by_sub_pixel(small: Tensor, filters: Tensor, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    """Compute the pixels of each phase - row and column modulo the stride - as channels of a small map, and interleave them."""
    height, width = canvas_size(small.shape[2:], filters.shape[2:], stride, dilation)
    taps, (rows, columns) = _taps_by_phase(filters, stride, dilation, groups)
    phases = F.conv2d(small, taps, padding=(rows - 1, columns - 1), groups=groups)
    phases = phases.reshape(len(phases), filters.shape[1] * groups, *stride, *phases.shape[2:])
    phases = phases.permute(0, 1, 4, 2, 5, 3)  # (N, C, rows, s, columns, s)
    return phases.flatten(4, 5).flatten(2, 3)[:, :, :height, :width]


def _taps_by_phase(filters: Tensor, stride: Pair, dilation: Pair, groups: int) -> tuple[Tensor, Pair]:
    """Sort the taps by phase: filters of a convolution, (C * s * s, C' / groups, rows, columns), and their (rows, columns)."""
    height, width = canvas_size(filters.shape[2:], (1, 1), dilation, (1, 1))
    filters = to_top_left(filters, (height, width), stride=dilation)  # a dilated filter is a longer one with zeros in it
    rows, columns = -(-height // stride[0]), -(-width // stride[1])
    filters = F.pad(filters, (0, columns * stride[1] - width, 0, rows * stride[0] - height))
    taps = _swap_channels(filters, groups)
    taps = taps.reshape(*taps.shape[:2], rows, stride[0], columns, stride[1])
    return taps.permute(0, 3, 5, 1, 2, 4).flatten(0, 2).flip(2, 3), (rows, columns)


def _swap_channels(filters: Tensor, groups: int) -> Tensor:
    """(C', C/g, k, k), as a transposed convolution has them -> (C, C'/g, k, k), as a convolution does."""
    return filters.reshape(groups, -1, *filters.shape[1:]).transpose(1, 2).flatten(0, 1)


def canvas_size(size: Sequence[int], kernel: Sequence[int], stride: Pair, dilation: Pair) -> Pair:
    """Return the (height, width) that the filters of a map of `size` values cover together."""
    height, width = ((n - 1) * s + d * (k - 1) + 1 for n, k, s, d in zip(size, kernel, stride, dilation, strict=True))
    return height, width


FORMS: dict[str, FormFunction] = {
    "torch": by_torch,
    "scatter": by_scatter,
    "zeros": by_zeros,
    "sub-pixel": by_sub_pixel,
}
