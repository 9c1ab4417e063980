"""Convolutions: the transposed convolution with the same filters, biases left out (Zeiler & Fergus 2014, 2.1)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..receptive_field import sliding_window, spreading_window
from ..tape import CallContext, Saved
from ..units import Window
from . import onednn
from .base import Rule, check_only_first

FORWARD = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class Conv(Rule):
    """(N, C, H, W) -> (N, C', H', W'); mirrored by the transposed convolution, which flips each filter by itself.

    Zeiler & Fergus 2014, 2.1: "transposed versions of the same filters". The bias is not mentioned there; it is left
    out, which makes a projection linear in its signal up to the rectification. The same for one and three axes.
    """

    def run(
        self,
        asked: CallContext,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> tuple[Tensor, Saved]:
        """Keep the filters that were really used (some nets normalise theirs in the forward pass)."""
        check_only_first(asked)
        axes = weight.dim() - 2
        kernel, dilation = tuple(weight.shape[2:]), sized(dilation, axes)
        kept = Saved(
            size=input.shape, weight=weight, kernel=kernel, stride=sized(stride, axes), dilation=dilation, groups=groups
        )
        if isinstance(padding, str):
            # "same" pads by half the reach, the odd pixel at the far edge; only the near edge counts for the way down
            reach = [step * (size - 1) if padding == "same" else 0 for step, size in zip(dilation, kernel, strict=True)]
            padding = tuple(size // 2 for size in reach)
        kept.padding = sized(padding, axes)
        kept.phases, kept.laid_out = {}, onednn.Layout()  # filled when mirrored
        return asked(), kept

    def mirror(self, kept: Saved, signal: Tensor) -> Tensor:
        """(K, C', H', W') -> (K, C, H, W); rectified too where the plan left that to us (`kept.rectify`)."""
        size, rectify = kept.size[2:], getattr(kept, "rectify", False)
        if len(size) == 2 and kept.stride[0] == kept.stride[1] > 1 and kept.weight.shape[1] <= 4 and _is_plain(kept):
            result = by_phases(signal, kept)
            return result.clamp(min=0) if rectify else result
        spare = [  # rows and columns at the far edge that no window reached, or (negative) that "same" padded
            length - ((out - 1) * stride - 2 * pad + dilation * (kernel - 1) + 1)
            for length, out, stride, pad, dilation, kernel in zip(
                size, signal.shape[2:], kept.stride, kept.padding, kept.dilation, kept.kernel, strict=True
            )
        ]
        geometry = (kept.padding, tuple(max(extra, 0) for extra in spare), kept.stride, kept.dilation, kept.groups)
        return cut(_transposed(signal, kept, geometry, rectify), size)

    def window(self, kept: Saved, window: Window) -> Window | None:
        """Every output pixel sees a kernel's reach."""
        if len(kept.kernel) != 2:
            return None
        return sliding_window(window, kept.kernel, kept.stride, kept.padding, kept.dilation)


def _transposed(signal: Tensor, kept: Saved, geometry: tuple[Any, ...], rectify: bool) -> Tensor:
    """The transposed convolution by the fastest way that there is; the same sums."""
    if onednn.serves(signal, kept.weight):
        filters = kept.laid_out.of(kept.weight, signal, geometry)
        if filters is not None:
            return onednn.conv_transpose(signal, filters, geometry, rectify=rectify)
    padding, output_padding, stride, dilation, groups = geometry
    result = TRANSPOSED[signal.dim() - 2](
        signal, kept.weight.to(signal.dtype), None, stride, padding, output_padding, groups, dilation
    )
    return result.clamp_(min=0) if rectify else result


def _is_plain(kept: Saved) -> bool:
    return bool(kept.groups == 1 and kept.dilation == (1, 1))


def by_phases(signal: Tensor, kept: Saved) -> Tensor:
    """The transposed convolution of a strided first layer, two to four times faster: (K, C', H', W') -> (K, C, H, W).

    Output pixels of one phase, row and column modulo the stride, come from the same taps of a filter. So one convolution
    without stride makes the phases as channels, and `pixel_shuffle` puts them in their places: the same sums.
    """
    stride = kept.stride[0]
    if signal.dtype not in kept.phases:
        kept.phases[signal.dtype] = _phase_filters(kept.weight.detach().to(signal.dtype), stride)
    filters = kept.phases[signal.dtype]
    reach = (filters.shape[2] - 1, filters.shape[3] - 1)
    result = F.pixel_shuffle(F.conv2d(signal, filters, padding=reach), stride)
    top, left = kept.padding
    (height, width), (tall, wide) = kept.size[2:], result.shape[2:]
    if tall < top + height or wide < left + width:  # rows and columns that no window reached
        result = F.pad(result, (0, max(left + width - wide, 0), 0, max(top + height - tall, 0)))
    return result[:, :, top : top + height, left : left + width]


def _phase_filters(weight: Tensor, stride: int) -> Tensor:
    """(C', C, k, k) -> (C stride^2, C', t, t): the taps of each phase, flipped as a convolution needs them."""
    outputs, inputs, tall, wide = weight.shape
    rows, cols = -(-tall // stride), -(-wide // stride)
    weight = F.pad(weight, (0, cols * stride - wide, 0, rows * stride - tall))
    taps = weight.view(outputs, inputs, rows, stride, cols, stride).permute(1, 3, 5, 0, 2, 4).flip(4, 5)
    return taps.reshape(inputs * stride * stride, outputs, rows, cols).contiguous(memory_format=torch.channels_last)


class ConvTranspose(Rule):
    """The way up that is a way down already: mirrored by the convolution with the same filters, the bias left out."""

    def run(
        self,
        asked: CallContext,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> tuple[Tensor, Saved]:
        """Keep the filters."""
        check_only_first(asked)
        axes = weight.dim() - 2
        kept = Saved(size=input.shape, weight=weight, kernel=tuple(weight.shape[2:]), groups=groups)
        kept.stride, kept.padding, kept.dilation = sized(stride, axes), sized(padding, axes), sized(dilation, axes)
        return asked(), kept

    def mirror(self, kept: Saved, signal: Tensor) -> Tensor:
        """(K, C', H', W') -> (K, C, H, W)."""
        size = kept.size[2:]
        result = FORWARD[len(size)](
            signal,
            kept.weight.to(signal.dtype),
            stride=kept.stride,
            padding=kept.padding,
            dilation=kept.dilation,
            groups=kept.groups,
        )
        return cut(result, size)  # output padding longer than the stride gives windows that no input made

    def window(self, kept: Saved, window: Window) -> Window | None:
        """Every input pixel paints a kernel's reach."""
        if len(kept.kernel) != 2:
            return None
        return spreading_window(window, kept.kernel, kept.stride, kept.padding, kept.dilation)


def sized(value: Any, axes: int) -> tuple[int, ...]:
    """Read 3, (3,), [3, 5] as torch does: one number serves all axes."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


def cut(values: Tensor, size: Any) -> Tensor:
    """Cut values (K, C, ...) to a size of their last axes."""
    for axis, length in enumerate(size, start=2):
        values = values.narrow(axis, 0, length)
    return values
