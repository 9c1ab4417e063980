"""Transposed convolution: each small value paints its filter on the large map, and where filters overlap they add up.

It is also called deconvolution, fractionally strided convolution and up-convolution. It does not undo a convolution: it is the
transpose of the matrix that a convolution is, so that its forward pass is a convolution's backward pass. A dilated ("atrous")
convolution is something else again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, check_option
from ..receptive_field import Pair, pair
from .base import Sides, block_sides, check_inputs
from .transposed_forms import FORMS, Form, by_torch

Divisor: TypeAlias = Literal["nothing", "count", "gain"]


def transposed_convolution(
    small: Tensor,
    size: tuple[int, int],
    *,
    filters: Tensor,
    stride: Sides | None = None,
    padding: Sides | None = None,
    dilation: Sides = 1,
    groups: int = 1,
    divide: Divisor = "nothing",
    form: Form = "torch",
) -> Tensor:
    """Paint each value's filter on the large map, and add up where filters overlap.

    Args:
        small: (N, C', H', W').
        size: (H, W) of the result: the canvas is cut to it, or continued with zeros.
        filters: (C', C / groups, kh, kw), the layout of torch and of Caffe; or (kh, kw), one filter for each channel by itself.
        stride: pixels between neighbouring filters; by default as the two sizes say.
        padding: rows and columns cut off the top and left of the canvas; by default so many that filters stand in the middle
            of their blocks.
        dilation: pixels between neighbouring taps of a filter.
        groups: how many groups of channels are convolved separately.
        divide: what the result is divided by. "count": how many taps reach each pixel, relative to their mean, which keeps the
            brightness. "gain": the sum of the taps' weights, which keeps any flat map flat.
        form: which of four equal ways of computing it, see `transposed_forms`.

    Returns:
        (N, C, H, W).

    Raises:
        OptionError: the filters do not fit the channels, sizes do not fit, or an argument is none of its values.

    >>> transposed_convolution(torch.tensor([[[[1.0, 2.0]]]]), (1, 4), filters=torch.ones(1, 3), padding=0).tolist()
    [[[[1.0, 1.0, 3.0, 2.0]]]]
    """
    check_inputs(small, size)
    check_option("form", form, FORMS)
    check_option("divide", divide, get_args(Divisor))
    if filters.dim() == 2:
        filters, groups = filters.expand(small.shape[1], 1, *filters.shape), small.shape[1]
    _check_filters(small, filters, groups)
    filters = filters.to(small)
    steps, spacing = block_sides(small, size) if stride is None else pair(stride), pair(dilation)
    offset = centred_padding(filters.shape[2:], steps, spacing) if padding is None else pair(padding)
    large = _crop(FORMS[form](small, filters, steps, spacing, groups), offset, size)
    if divide == "nothing":
        return large
    return large / _crop(_flat_response(small, filters, steps, spacing, groups, weighted=divide == "gain"), offset, size)


def centred_padding(kernel: Sequence[int], stride: Pair, dilation: Pair) -> Pair:
    """Return the padding that puts each filter in the middle of its block, or half a pixel to the top left of it."""
    rows, columns = ((d * (k - 1) + 1 - s) // 2 for k, s, d in zip(kernel, stride, dilation, strict=True))
    return max(rows, 0), max(columns, 0)


def _flat_response(small: Tensor, filters: Tensor, stride: Pair, dilation: Pair, groups: int, *, weighted: bool) -> Tensor:
    """Return the canvas (1, C, ...) that a map of ones gives, by the taps' weights or by their count relative to its mean.

    It is 1 wherever it would be 0: there is nothing to be divided there.
    """
    taps = filters if weighted else torch.ones_like(filters)
    canvas = by_torch(torch.ones_like(small[:1]), taps, stride, dilation, groups)
    if not weighted:
        canvas = canvas * (stride[0] * stride[1] * groups / taps[:, 0].numel())
    return canvas.masked_fill(canvas.abs() <= 1e-6 * canvas.abs().max(), 1.0)


def _crop(canvas: Tensor, padding: Pair, size: tuple[int, int]) -> Tensor:
    """Take `padding` rows and columns off the top and left, and cut the canvas to (H, W), or continue it with zeros."""
    canvas = canvas[:, :, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    return F.pad(canvas, (0, size[1] - canvas.shape[3], 0, size[0] - canvas.shape[2]))


def _check_filters(small: Tensor, filters: Tensor, groups: int) -> None:
    if filters.dim() != 4 or filters.shape[0] != small.shape[1] or groups < 1 or filters.shape[0] % groups:
        raise OptionError(
            f"filters of shape {tuple(filters.shape)} in {groups} groups do not fit {small.shape[1]} channels. "
            "Give (C', C / groups, kh, kw), or (kh, kw) for all."
        )
