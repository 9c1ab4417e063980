"""Caffe's DeconvolutionLayer: its size formula, its parameters under their own names, its fillers.

It is Caffe's convolution with forward and backward swapped, and takes the same parameters "in the opposite sense": `pad` is
taken off the output, `stride` makes it larger. Filters lie as torch's do, (inputs, outputs / group, kh, kw), so that a Caffe
model's weights can be copied over. There is no `output_padding`: of the sizes that a strided convolution makes one size of, it
returns the smallest. Whether it interpolates depends on its filters: the default filler is constant 0; `bilinear` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import OptionError, check_option
from ..receptive_field import Pair, pair
from .transpose import transposed
from .unpool import Sides, strides_between


def output_size(size: int, kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> int:
    """Return how long a side of `size` comes out: stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * pad.

    >>> output_size(34, kernel=16, stride=8)
    280
    """
    return stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * pad


def bilinear_filler(shape: tuple[int, ...]) -> Tensor:
    """Fill a blob (inputs, outputs / group, k, k) as Caffe's `BilinearFiller` does: every filter the same tent, float64.

    Every pair of an input and an output gets the tent, so that without `group` = channels the channels are added up.
    """
    if len(shape) != 4 or shape[2] != shape[3]:
        raise OptionError(f"the bilinear filler cannot fill a blob of shape {shape}. Give (inputs, outputs / group, k, k).")
    kernel = shape[3]
    factor = math.ceil(kernel / 2)
    middle = (kernel - 1) / (2.0 * factor)
    tent = 1 - (torch.arange(kernel, dtype=torch.float64) / factor - middle).abs()
    return (tent[:, None] * tent).expand(shape).clone()


def _constant(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def _gaussian(shape: tuple[int, ...]) -> Tensor:
    return 0.01 * torch.randn(shape, dtype=torch.float64)


#: What a weight filler puts in a blob; Noh et al. 2015 start their deconvolutions from the Gaussian, standard deviation 0.01.
FILLERS: dict[str, Callable[[tuple[int, ...]], Tensor]] = {
    "constant": _constant,  # 0: Caffe's default
    "bilinear": bilinear_filler,
    "gaussian": _gaussian,
}


class DeconvolutionLayer(nn.Module):
    """A transposed convolution under the names of Caffe's ConvolutionParameter: (N, C', H', W') -> (N, num_output, H, W).

    Pairs are (height, width), as kernel_h and kernel_w.

        >>> layer = DeconvolutionLayer(21, num_output=21, kernel_size=16, stride=8, group=21, weight_filler="bilinear")
        >>> layer(torch.rand(1, 21, 34, 34)).shape
        torch.Size([1, 21, 280, 280])
    """

    def __init__(
        self,
        channels: int,
        *,
        num_output: int,
        kernel_size: Sides,
        stride: Sides = 1,
        pad: Sides = 0,
        dilation: Sides = 1,
        group: int = 1,
        bias_term: bool = True,
        weight_filler: str = "constant",
    ) -> None:
        super().__init__()
        check_option("weight_filler", weight_filler, FILLERS)
        if group < 1 or channels % group or num_output % group:
            raise OptionError(f"group cannot be {group}: it must divide the {channels} inputs and the {num_output} outputs.")
        self.kernel, self.stride, self.pad, self.dilation = pair(kernel_size), pair(stride), pair(pad), pair(dilation)
        self.group = group
        blob = FILLERS[weight_filler]((channels, num_output // group, *self.kernel))
        self.weight = nn.Parameter(blob.to(torch.get_default_dtype()))
        self.bias = nn.Parameter(torch.zeros(num_output)) if bias_term else None

    def size_of(self, size: Pair) -> Pair:
        """Return the (H, W) that (H', W') come out at, or refuse padding that leaves nothing."""
        height, width = map(output_size, size, self.kernel, self.stride, self.pad, self.dilation)
        if height < 1 or width < 1:
            raise OptionError(f"pad {self.pad} leaves nothing of {size[0]}x{size[1]}: it would come out at {height}x{width}.")
        return height, width

    def forward(self, bottom: Tensor) -> Tensor:
        """(N, C', H', W') -> (N, num_output, H, W)."""
        top = transposed(
            bottom,
            self.size_of((bottom.shape[2], bottom.shape[3])),
            filters=self.weight,
            stride=self.stride,
            padding=self.pad,
            dilation=self.dilation,
            groups=self.group,
        )
        return top if self.bias is None else top + self.bias[:, None, None]


def deconvolution(small: Tensor, size: tuple[int, int], *, stride: int | None = None) -> Tensor:
    """Go up by the recipe in Caffe's own comment on its bilinear filler: (N, C, H', W') -> (N, C, H, W).

    Kernel 2 f - f % 2, stride f, pad ceil((f - 1) / 2), one group a channel, no bias, learning rate 0.
    """
    factor, across = strides_between(small, size, stride)
    if factor != across:
        raise OptionError(f"Caffe's recipe has one factor: it cannot go up by {factor} rows and {across} columns at once.")
    kernel, channels = 2 * factor - factor % 2, small.shape[1]
    filters = bilinear_filler((channels, 1, kernel, kernel))
    return transposed(small, size, filters=filters, stride=factor, padding=math.ceil((factor - 1) / 2), groups=channels)
