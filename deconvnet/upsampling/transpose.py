"""Transposed convolution: each small value paints its filter on the large map, and where painted filters overlap they add up.

It is called deconvolution, fractionally strided convolution and upconvolution too. It does not undo a convolution: it is the
transpose of the matrix that a convolution is, so that its forward pass is a convolution's backward pass. A dilated ("atrous")
convolution is something else again. There are three more ways to write the same sums, and a test holds them equal:

    scatter    one multiplication of matrices, and each product added to its place (Caffe's col2im)
    zeros      zeros put between the small values, then a convolution with flipped filters: stride^2 times the work
    sub-pixel  a convolution to stride^2 times the channels, which are then laid side by side (Shi et al. 2016)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, check_option
from ..receptive_field import Pair, pair
from .base import check_sizes
from .unpool import Sides, strides_between, top_left

Form = Callable[[Tensor, Tensor, Pair, Pair, int], Tensor]


def transposed(
    small: Tensor,
    size: tuple[int, int],
    *,
    filters: Tensor,
    stride: Sides | None = None,
    padding: Sides | None = None,
    dilation: Sides = 1,
    groups: int = 1,
    divide: str = "nothing",
    form: str = "torch",
) -> Tensor:
    """Paint each value's filter on the large map: (N, C', H', W') -> (N, C, H, W).

    `filters`: (C', C / groups, kh, kw), torch's layout and Caffe's; or (kh, kw), one filter for every channel by itself.
    `stride`: how far apart the filters are painted, by default as the two sizes say. `padding`: rows and columns taken off the
    result's edges, by default so many that the filters stand in the middle of their blocks. The result is cut, or goes on
    with zeros, to `size`. `divide`: by what overlaps made of a flat map, see `overlaps` ("count" or "gain").
    `form`: which of the equal ways of computing it, a key of `FORMS`.

        >>> transposed(torch.tensor([[[[1.0, 2.0]]]]), (1, 4), filters=torch.tensor([[1.0, 1.0, 1.0]]), padding=(0, 0)).tolist()
        [[[[1.0, 1.0, 3.0, 2.0]]]]
    """
    check_sizes(small, size)
    check_option("form", form, FORMS)
    if filters.dim() == 2:
        filters, groups = filters.expand(small.shape[1], 1, *filters.shape), small.shape[1]
    _check_filters(small, filters, groups)
    steps, spread = strides_between(small, size) if stride is None else pair(stride), pair(dilation)
    edge = centred(filters.shape[2:], steps, spread) if padding is None else pair(padding)
    check_option("divide", divide, ("nothing", "count", "gain"))
    filters = filters.to(small)
    large = cut(FORMS[form](small, filters, steps, spread, groups), edge, size)
    return large if divide == "nothing" else large / cut(overlaps(small, filters, steps, spread, groups, by=divide), edge, size)


def by_torch(small: Tensor, filters: Tensor, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    """Let torch do it. This and the other forms return the whole canvas: (H' - 1) * stride + dilation * (k - 1) + 1 rows."""
    return F.conv_transpose2d(small, filters, stride=stride, dilation=dilation, groups=groups)


def by_scatter(small: Tensor, filters: Tensor, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    """Multiply each small value by its filter, and add each product to its place."""
    batch, inputs, height, width = small.shape
    columns = torch.einsum(  # (N, g, C'/g, H'W') and (g, C'/g, C/g * kh * kw) -> (N, C * kh * kw, H'W')
        "ngip,gio->ngop", small.reshape(batch, groups, inputs // groups, -1), filters.reshape(groups, inputs // groups, -1)
    ).flatten(1, 2)
    kernel = (filters.shape[2], filters.shape[3])
    canvas = reach((height, width), kernel, stride, dilation)
    return F.fold(columns, canvas, kernel, dilation=dilation, stride=stride)


def by_zeros(small: Tensor, filters: Tensor, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    """Put zeros between the small values, then convolve with the filters, flipped, inputs and outputs swapped.

    Convolving "transposed filters" and flipping them by hand as well would undo the flip: a known mistake.
    """
    height, width = small.shape[2:]
    spaced = top_left(small, ((height - 1) * stride[0] + 1, (width - 1) * stride[1] + 1), stride=stride)
    edge = [spread * (side - 1) for spread, side in zip(dilation, filters.shape[2:], strict=True)]
    return F.conv2d(spaced, _swapped(filters, groups).flip(2, 3), padding=edge, dilation=dilation, groups=groups)


def by_sub_pixel(small: Tensor, filters: Tensor, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    """Compute the pixels of each phase, row and column modulo the stride, as channels of a small map; lay them side by side."""
    down, across = stride
    canvas = reach(small.shape[2:], filters.shape[2:], stride, dilation)
    tall, wide = reach(filters.shape[2:], (1, 1), dilation, (1, 1))
    filters = top_left(filters, (tall, wide), stride=dilation)  # taps that stand apart are a longer filter with zeros in it
    rows, columns = -(-tall // down), -(-wide // across)
    filters = F.pad(filters, (0, columns * across - wide, 0, rows * down - tall))
    outputs = filters.shape[1] * groups
    taps = _swapped(filters, groups)
    taps = taps.reshape(*taps.shape[:2], rows, down, columns, across)
    taps = taps.permute(0, 3, 5, 1, 2, 4).flatten(0, 2).flip(2, 3)  # (C * s * s, C'/g, rows, columns)
    phases = F.conv2d(small, taps, padding=(rows - 1, columns - 1), groups=groups)
    phases = phases.reshape(len(phases), outputs, down, across, *phases.shape[2:])
    phases = phases.permute(0, 1, 4, 2, 5, 3)  # (N, C, rows, s, columns, s)
    return phases.flatten(4, 5).flatten(2, 3)[:, :, : canvas[0], : canvas[1]]


#: The same sums, four times.
FORMS: dict[str, Form] = {
    "torch": by_torch,
    "scatter": by_scatter,
    "zeros": by_zeros,
    "sub-pixel": by_sub_pixel,
}


def overlaps(small: Tensor, filters: Tensor, stride: Pair, dilation: Pair, groups: int, *, by: str) -> Tensor:
    """Return what the overlaps alone make of a flat map, as a canvas (1, C, ...): by this a result is divided to even it out.

    `by` "count": how many taps reach each pixel, relative to their mean, so that the brightness stays. "gain": what the taps'
    weights add up to, so that a flat map keeps its value. It is 1 where that is nothing, for nothing is to be divided there.
    """
    ones, taps = torch.ones_like(small[:1]), filters if by == "gain" else torch.ones_like(filters)
    canvas = by_torch(ones, taps, stride, dilation, groups)
    if by == "count":
        canvas = canvas * (stride[0] * stride[1] * groups / taps[:, 0].numel())
    return canvas.masked_fill(canvas.abs() <= 1e-6 * canvas.abs().max(), 1.0)


def learn_filter(small: Tensor, large: Tensor, kernel: int, *, padding: int | None = None) -> Tensor:
    """Return the (k, k) filter with which `transposed` brings a small map nearest to a large one, by least squares.

    (N, C, H', W') and (N, C, H, W), one filter for all channels. It is the best that this one pair allows: a bound on what
    training on many pictures could give, not an example of it.
    """
    size = (large.shape[2], large.shape[3])
    stride = strides_between(small, size)
    below, right = centred((kernel, kernel), stride, (1, 1)) if padding is None else (padding, padding)
    edges = (kernel - 1 - right, right, kernel - 1 - below, below)
    frames = F.pad(top_left(small, size, stride=stride).flatten(0, 1)[:, None].double(), edges)
    squares = frames.new_zeros((kernel**2, kernel**2))
    products = frames.new_zeros((kernel**2, 1))
    for frame, goal in zip(frames, large.flatten(0, 1).double(), strict=True):  # one at a time: k^2 as much memory
        seen = F.unfold(frame[None], kernel)[0]  # (k * k, H * W): what each tap sees
        squares += seen @ seen.T
        products += seen @ goal.reshape(-1, 1)
    taps = torch.linalg.lstsq(squares.cpu(), products.cpu(), driver="gelsd").solution  # gelsd: flat maps leave taps free
    return taps.view(kernel, kernel).flip(0, 1).to(large)


def centred(kernel: Sequence[int], stride: Pair, dilation: Pair) -> Pair:
    """Return the padding with which each filter stands in the middle of its block; half a pixel to the left if it must."""
    down, across = ((spread * (k - 1) + 1 - s) // 2 for k, s, spread in zip(kernel, stride, dilation, strict=True))
    return max(down, 0), max(across, 0)


def reach(size: Sequence[int], kernel: Sequence[int], stride: Pair, dilation: Pair) -> Pair:
    """Return the canvas (height, width) that filters painted for each of `size` values cover together."""
    height, width = ((n - 1) * s + d * (k - 1) + 1 for n, k, s, d in zip(size, kernel, stride, dilation, strict=True))
    return height, width


def cut(canvas: Tensor, padding: Pair, size: tuple[int, int]) -> Tensor:
    """Take `padding` rows and columns off the top and left, and cut the canvas, or go on with zeros, to (H, W)."""
    canvas = canvas[:, :, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    return F.pad(canvas, (0, size[1] - canvas.shape[3], 0, size[0] - canvas.shape[2]))


def _swapped(filters: Tensor, groups: int) -> Tensor:
    """(C', C/g, k, k), as a transposed convolution has them -> (C, C'/g, k, k), as a convolution does."""
    return filters.reshape(groups, -1, *filters.shape[1:]).transpose(1, 2).flatten(0, 1)


def _check_filters(small: Tensor, filters: Tensor, groups: int) -> None:
    if filters.dim() != 4 or filters.shape[0] != small.shape[1] or groups < 1 or filters.shape[0] % groups:
        raise OptionError(
            f"filters of shape {tuple(filters.shape)} in {groups} groups do not fit {small.shape[1]} channels. "
            "Give (C', C / groups, k, k), or (k, k) for all."
        )
