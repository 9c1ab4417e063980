"""Caffe's DeconvolutionLayer: its size formula, its parameters under their own names, its fillers.

It is Caffe's convolution with forward and backward swapped, and takes the same parameters "in the opposite sense": `pad` is
removed from the output, and `stride` makes it larger. Filters have torch's layout, (inputs, outputs / group, kh, kw), so that
the weights of a Caffe model can be copied over. There is no `output_padding`: of all sizes from which a strided convolution
would make the input's size, the layer returns the smallest. Whether it interpolates depends on its filters: the default filler
is the constant 0; `bilinear` interpolates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from ..errors import OptionError, check_option
from ..receptive_field import Pair, pair
from .base import Sides, common_factor
from .transposed import transposed_convolution

Filler: TypeAlias = Literal["constant", "bilinear", "gaussian"]


def output_size(size: int, kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> int:
    """Return the length of a side after the layer: stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * pad.

    >>> output_size(34, kernel=16, stride=8)
    280
    """
    return stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * pad


def bilinear_filler(shape: tuple[int, ...]) -> Tensor:
    """Fill a blob as Caffe's `BilinearFiller` does: every filter is the same tent.

    Every pair of an input and an output gets the tent, so channels are added up unless `group` is their number.

    Args:
        shape: (inputs, outputs / group, k, k).

    Returns:
        A tensor of that shape, float64.

    Raises:
        OptionError: the shape is another one.
    """
    if len(shape) != 4 or shape[2] != shape[3]:
        raise OptionError(f"the bilinear filler cannot fill a blob of shape {shape}. Give (inputs, outputs / group, k, k).")
    kernel = shape[3]
    factor = math.ceil(kernel / 2)
    centre = (kernel - 1) / (2.0 * factor)
    tent = 1 - (torch.arange(kernel, dtype=torch.float64) / factor - centre).abs()
    return (tent[:, None] * tent).expand(shape).clone()


def _constant_filler(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def _gaussian_filler(shape: tuple[int, ...]) -> Tensor:
    return 0.01 * torch.randn(shape, dtype=torch.float64)


#: What a blob is filled with; Noh et al. 2015 start their deconvolutions from the Gaussian, standard deviation 0.01.
FILLERS: dict[str, Callable[[tuple[int, ...]], Tensor]] = {
    "constant": _constant_filler,  # 0: Caffe's default
    "bilinear": bilinear_filler,
    "gaussian": _gaussian_filler,
}


class DeconvolutionLayer(nn.Module):
    """A transposed convolution with the parameters of Caffe's ConvolutionParameter: (N, C', H', W') -> (N, num_output, H, W).

    Args:
        channels: C', the inputs.
        num_output: the outputs.
        kernel_size, stride, pad, dilation: one number, or (height, width), as in kernel_h and kernel_w.
        group: how many groups of channels are convolved separately.
        bias_term: whether a bias is added to each output.
        weight_filler: what the filters start as.

    Raises:
        OptionError: `group` does not divide the channels, or `weight_filler` is none of its values.

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
        weight_filler: Filler = "constant",
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

    def output_size(self, size: Pair) -> Pair:
        """Return the (H, W) of the output for an input of (H', W').

        Raises:
            OptionError: the padding leaves nothing.
        """
        height, width = map(output_size, size, self.kernel, self.stride, self.pad, self.dilation)
        if height < 1 or width < 1:
            raise OptionError(
                f"pad {self.pad} leaves nothing of {size[0]}x{size[1]}: the output would be {height}x{width}. "
                "Give less padding."
            )
        return height, width

    def forward(self, bottom: Tensor) -> Tensor:
        """(N, C', H', W') -> (N, num_output, H, W)."""
        top = transposed_convolution(
            bottom,
            self.output_size((bottom.shape[2], bottom.shape[3])),
            filters=self.weight,
            stride=self.stride,
            padding=self.pad,
            dilation=self.dilation,
            groups=self.group,
        )
        return top if self.bias is None else top + self.bias[:, None, None]


def upsample(small: Tensor, size: tuple[int, int], *, stride: int | None = None) -> Tensor:
    """Upsample by the recipe in the comment on Caffe's bilinear filler.

    Kernel 2 f - f % 2, stride f, pad ceil((f - 1) / 2), one group per channel, no bias, learning rate 0.

    Args:
        small: (N, C, H', W').
        size: (H, W) of the result.
        stride: the factor f, the same for rows and columns; by default the smallest that fits.

    Returns:
        (N, C, H, W).

    Raises:
        OptionError: rows and columns need different factors, or the sizes do not fit.
    """
    factor = common_factor(small, size, stride, "Caffe's recipe")
    kernel, channels = 2 * factor - factor % 2, small.shape[1]
    filters = bilinear_filler((channels, 1, kernel, kernel))
    padding = math.ceil((factor - 1) / 2)
    return transposed_convolution(small, size, filters=filters, stride=factor, padding=padding, groups=channels)
