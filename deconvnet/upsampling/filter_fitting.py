"""The filter with which a transposed convolution comes nearest to a given large map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import block_sides
from .transposed import centred_padding
from .unpooling import to_top_left


def fit_filter(small: Tensor, large: Tensor, kernel: int, *, padding: int | None = None) -> Tensor:
    """Fit a filter by least squares, so that `transposed_convolution` brings the small map nearest to the large one.

    It is the best filter for this one pair: a bound on what training on many pictures could reach, not an example of it.

    Args:
        small: (N, C, H', W').
        large: (N, C, H, W).
        kernel: the filter's side, in pixels.
        padding: as in `transposed_convolution`.

    Returns:
        (kernel, kernel), one filter for all channels.

    Raises:
        OptionError: the sizes do not fit.
    """
    size = (large.shape[2], large.shape[3])
    stride = block_sides(small, size)
    top, left = centred_padding((kernel, kernel), stride, (1, 1)) if padding is None else (padding, padding)
    margins = (kernel - 1 - left, left, kernel - 1 - top, top)
    spaced = F.pad(to_top_left(small, size, stride=stride).flatten(0, 1)[:, None].double(), margins)
    squares = spaced.new_zeros((kernel**2, kernel**2))
    products = spaced.new_zeros((kernel**2, 1))
    for source, target in zip(spaced, large.flatten(0, 1).double(), strict=True):  # all at once would take k^2 times the memory
        inputs = F.unfold(source[None], kernel)[0]  # (k * k, H * W): what each tap is multiplied by
        squares += inputs @ inputs.T
        products += inputs @ target.reshape(-1, 1)
    taps = torch.linalg.lstsq(
        squares.cpu(), products.cpu(), driver="gelsd"
    ).solution  # gelsd: flat maps leave taps undetermined
    return taps.view(kernel, kernel).flip(0, 1).to(large)
