"""Pooling: max pools put each value back at its switch, averages spread it evenly.

`F.max_unpool2d` overwrites where two pooled maxima share a pixel, which a third of AlexNet's and ZFNet's do (3x3 windows,
stride 2). Here they add up (`overlap="sum"`, as autograd does), or the last one in row-major order stays (`"last"`, as
`MaxUnpool2d` does, but deterministic).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..receptive_field import NOTHING, binned_window, pair, sliding_window, spreading_window
from ..tape import CallContext, Saved, UnsupportedCall
from ..units import Window
from .base import Adjoint, Rule, check_only_first


@dataclasses.dataclass(frozen=True)
class MaxPool2d(Rule):
    """(N, C, H, W) -> (N, C, H', W'); mirrored by putting each value back at its switch.

    Without `switches` each value goes to the middle of its window (Mahendran & Vedaldi 2016).
    """

    switches: bool = True
    overlap: str = "sum"

    @property
    def status(self) -> str:  # type: ignore[override]
        """The true adjoint, unless switches are ignored or collisions overwrite."""
        return "exact" if self.switches and self.overlap == "sum" else "generalised"

    def run(
        self,
        asked: CallContext,
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> tuple[Any, Saved]:
        """Pool once, with indices, and keep them as offsets within the windows: one byte an entry."""
        check_only_first(asked)
        kernel = pair(kernel_size)
        kept = Saved(
            size=input.shape,
            kernel=kernel,
            stride=pair(stride) if stride else kernel,  # None and [] both mean "the kernel's size"
            padding=pair(padding),
            dilation=pair(dilation),
            ceil_mode=ceil_mode,
        )
        output, indices = asked(F.max_pool2d_with_indices, return_indices=True)
        kept.switches, kept.indices = to_offsets(indices, kept), Indices()
        kept.per_image = ("switches",)
        return ((output, indices) if return_indices else output), kept

    def mirror(self, kept: Saved, signal: Tensor | tuple[Tensor | None, ...]) -> Tensor:
        """(K, C, H', W') -> (K, C, H, W)."""
        if isinstance(signal, tuple):  # the indices, which it may have returned too, carry no signal
            signal = next(part for part in signal if part is not None)
        offsets = kept.switches if self.switches else middle_offsets(kept, signal.shape, signal.device)
        if self.overlap == "last":
            signal = signal * last_at_switch(to_indices(offsets, kept), kept.size)
        return unpool(signal, offsets, kept)

    def window(self, kept: Saved, window: Window) -> Window:
        """Every output pixel sees its pooling window."""
        return sliding_window(window, kept.kernel, kept.stride, kept.padding, kept.dilation)


@dataclasses.dataclass(frozen=True)
class AdaptiveMaxPool2d(Rule):
    """(N, C, H, W) -> (N, C, H', W') of a given size, by the maximum of each bin; mirrored as `MaxPool2d` is.

    Bins have no common size, so that switches are kept as pixel numbers, four bytes each.
    """

    switches: bool = True
    overlap: str = "sum"

    @property
    def status(self) -> str:  # type: ignore[override]
        """The true adjoint, unless switches are ignored or collisions overwrite."""
        return "exact" if self.switches and self.overlap == "sum" else "generalised"

    def run(self, asked: CallContext, input: Tensor, output_size: Any, return_indices: bool = False) -> tuple[Any, Saved]:
        """Pool once, with indices."""
        check_only_first(asked)
        output, indices = asked(F.adaptive_max_pool2d_with_indices, return_indices=True)
        kept = Saved({"switches": indices.to(torch.int32)}, size=input.shape, bins=output.shape)
        return ((output, indices) if return_indices else output), kept

    def mirror(self, kept: Saved, signal: Tensor | tuple[Tensor | None, ...]) -> Tensor:
        """(K, C, H', W') -> (K, C, H, W)."""
        if isinstance(signal, tuple):
            signal = next(part for part in signal if part is not None)
        indices = kept.switches.long() if self.switches else _middle_indices(kept, signal.device)
        indices = indices.expand(signal.shape)
        if self.overlap == "last":
            signal = signal * last_at_switch(indices, kept.size)
        frame = signal.new_zeros((signal.shape[0], kept.size[1], kept.size[2] * kept.size[3]))
        return frame.scatter_add_(2, indices.flatten(2), signal.flatten(2)).view(-1, *kept.size[1:])

    def window(self, kept: Saved, window: Window) -> Window:
        """The bins' union."""
        return binned_window(window, kept.size[-2:], kept.bins[-2:])


class MaxUnpool2d(Rule):
    """F.max_unpool2d, the way up of SegNet and of Noh's DeconvNet: each value is taken back from its switch.

    It overwrites where switches coincide: what was overwritten takes no signal.
    """

    def run(
        self,
        asked: CallContext,
        input: Tensor,
        indices: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        output_size: Any = None,
    ) -> tuple[Any, Saved]:
        """Keep the switches; they descend from the image too, but take no signal."""
        kernel = pair(kernel_size)
        kept = Saved({"switches": indices.to(torch.int32)}, size=input.shape, kernel=kernel, padding=pair(padding))
        kept.stride, kept.both = pair(stride) if stride else kernel, asked.descends(input) and asked.descends(indices)
        if not asked.descends(input):
            raise UnsupportedCall("only its switches descend from the image")
        output = asked()
        kept.result = output.shape
        return output, kept

    def mirror(self, kept: Saved, signal: Tensor) -> Any:
        """(K, C, H, W) -> (K, C, H', W')."""
        indices = kept.switches.long().expand(signal.shape[0], *kept.size[1:])
        result = signal.flatten(2).gather(2, indices.flatten(2)).view(indices.shape)
        result = result * last_at_switch(indices, kept.result)
        return (result, None) if kept.both else result

    def window(self, kept: Saved, window: Window) -> Any:
        """The pooled places whose windows reach the place."""
        below = spreading_window(window, kept.kernel, kept.stride, kept.padding)
        return (below, NOTHING) if kept.both else below


class Average(Adjoint):
    """Average pools: the true adjoint; each output sees its own bin."""

    def run(self, asked: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Saved]:
        """Keep the sizes."""
        output, kept = super().run(asked, input, *args, **kwargs)
        kept.bins = output.shape
        return output, kept


class AdaptiveAvgPool2d(Average):
    """(N, C, H, W) -> (N, C, H', W') of a given size, by the mean of each bin."""

    def window(self, kept: Saved, window: Window) -> Window:
        """The bins' union."""
        return binned_window(window, kept.size[-2:], kept.bins[-2:])


class AvgPool2d(Average):
    """(N, C, H, W) -> (N, C, H', W'), the mean of a sliding window."""

    def run(
        self,
        asked: CallContext,
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> tuple[Any, Saved]:
        """Keep the window's geometry too."""
        arguments = (kernel_size, stride or kernel_size, padding, ceil_mode, count_include_pad, divisor_override)
        output, kept = super().run(asked, input, *arguments)
        kept.kernel = pair(kernel_size)
        kept.stride = pair(stride) if stride else kept.kernel
        kept.padding = pair(padding)
        return output, kept

    def window(self, kept: Saved, window: Window) -> Window:
        """Every output pixel sees its pooling window."""
        return sliding_window(window, kept.kernel, kept.stride, kept.padding)


def _middle_indices(kept: Saved, device: torch.device) -> Tensor:
    """Return the flat index of the middle of each bin, (1, C, H', W')."""
    middles = []
    for size, bins in zip(kept.size[2:], kept.bins[2:], strict=True):
        number = torch.arange(bins, device=device)
        middles.append((number * size // bins + ((number + 1) * size + bins - 1) // bins) // 2)
    return (middles[0][:, None] * kept.size[3] + middles[1]).expand(1, kept.size[1], -1, -1)


def _corners(kept: Saved, axis: int, count: int, device: torch.device) -> Tensor:
    """Return the first row (axis 0) or column (axis 1) of each pooling window; may be negative. (count,)"""
    return torch.arange(count, device=device) * kept.stride[axis] - kept.padding[axis]


def to_offsets(indices: Tensor, kept: Saved) -> Tensor:
    """Turn flat pixel indices (N, C, H', W') int64 into offsets within the pooling windows, one byte where that is enough."""
    places = kept.kernel[0] * kept.kernel[1]
    offsets = torch.empty_like(indices, dtype=torch.uint8 if places <= 256 else torch.int32)
    planes, results = (indices.flatten(0, 1), offsets.flatten(0, 1)) if indices.is_contiguous() else (indices, offsets)
    # indices are large: a block at a time stays in a CPU's cache
    block = max(1, _BLOCK // planes[0].numel()) if indices.device.type == "cpu" else len(planes)
    for some, result in zip(torch.split(planes, block), torch.split(results, block), strict=True):
        result.copy_(_offsets(some, kept))
    return offsets


_BLOCK = 1 << 17  # places


def _offsets(indices: Tensor, kept: Saved) -> Tensor:
    width, (tall, wide) = kept.size[3], kept.kernel
    rows, cols = (_corners(kept, axis, indices.shape[axis - 2], indices.device) for axis in (0, 1))
    if kept.dilation != (1, 1) or tall > 8 or wide > width:
        down, right = indices // width - rows[:, None], indices % width - cols
        return (down // kept.dilation[0]) * wide + right // kept.dilation[1]
    away = (indices - (rows[:, None] * width + cols)).to(torch.int32)  # = row * width + col
    offsets = away.clone()
    for row in range(1, tall):  # comparing is several times faster than dividing
        offsets -= (away >= row * width) * (width - wide)
    return offsets


def to_indices(offsets: Tensor, kept: Saved) -> Tensor:
    """Turn offsets within the pooling windows back into flat pixel indices, int64."""
    width, wide, (down, right) = kept.size[3], kept.kernel[1], kept.dilation
    tops, lefts = (_corners(kept, axis, offsets.shape[2 + axis], offsets.device) for axis in (0, 1))
    # row = offset // wide, col = offset - row * wide; dividing bytes is several times faster than looking up int64
    indices = offsets.long() * right if right > 1 else offsets.to(torch.int64, copy=True)
    return indices.add_(offsets // wide, alpha=down * width - right * wide).add_(tops[:, None] * width + lefts)


@dataclasses.dataclass
class Indices:
    """The pixel indices of switches that are used again and again: of one picture, at their second use, where they are few."""

    switches: Tensor | None = None  # those asked for last
    indices: Tensor | None = None  # theirs, in the order that CPU signals have

    def of(self, offsets: Tensor, kept: Saved) -> Tensor:
        """Return the flat pixel indices, int64, of offsets (1 or K, C, H', W')."""
        if offsets is not self.switches:
            self.switches, self.indices = offsets, None
            return to_indices(offsets, kept)
        if self.indices is None:
            indices = to_indices(offsets, kept)
            if indices.numel() > _FEW or indices.device.type != "cpu":
                return indices
            self.indices = indices.contiguous(memory_format=torch.channels_last)
        return self.indices


_FEW = 1 << 18  # int64 indices that a recording may hold on to for one pool: eight bytes each, where a switch takes one


def middle_offsets(kept: Saved, shape: torch.Size, device: torch.device) -> Tensor:
    """Return the offset of each window's middle, or of the place nearest to it that lies inside the frame."""
    middles = []
    for axis in (0, 1):
        corners = _corners(kept, axis, shape[2 + axis], device)
        step, size = kept.dilation[axis], kept.size[2 + axis]
        first, last = (-corners + step - 1) // step, (size - 1 - corners) // step
        middles.append(torch.full_like(corners, kept.kernel[axis] // 2).clamp(first.clamp(min=0), last))
    return (middles[0][:, None] * kept.kernel[1] + middles[1]).expand(1, shape[1], -1, -1)


def last_at_switch(indices: Tensor, size: torch.Size) -> Tensor:
    """Say of each pooled entry whether it is the last, in row-major order, of those with its switch. Bool, as `indices`."""
    flat = indices.flatten(2)
    order = torch.arange(flat.shape[2], device=flat.device).expand_as(flat)
    last = flat.new_zeros((*flat.shape[:2], size[2] * size[3])).scatter_reduce_(2, flat, order, "amax")
    return (last.gather(2, flat) == order).view_as(indices)


def unpool(signal: Tensor, offsets: Tensor, kept: Saved) -> Tensor:
    """Put each value back at its switch, adding where switches coincide: (K, C, H', W') -> (K, C, H, W)."""
    if _aten_serves(signal.device):
        indices = kept.indices.of(offsets, kept) if hasattr(kept, "indices") else to_indices(offsets, kept)
        return _unpool_aten(signal, indices.expand(signal.shape), kept)
    return unpool_by_offsets(signal, offsets, kept)


def _aten_serves(device: torch.device) -> bool:
    """Say whether ATen's own kernel gives the same bytes each time.

    On CUDA it does: each pixel looks for the windows that chose it, and nothing is added atomically. But torch counts it among
    its nondeterministic operations, so that it would raise where those are forbidden; and on ROCm it is another kernel.
    """
    if device.type == "cuda":
        return torch.version.hip is None and not torch.are_deterministic_algorithms_enabled()
    return device.type == "cpu"


def _unpool_aten(signal: Tensor, indices: Tensor, kept: Saved) -> Tensor:
    # ATen's max-pool backward is this very operation, and the fastest; of the input it reads only the shape
    order = torch.channels_last if signal.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    frame = torch.empty((signal.shape[0], *kept.size[1:]), dtype=signal.dtype, device=signal.device, memory_format=order)
    geometry = (kept.kernel, kept.stride, kept.padding, kept.dilation, kept.ceil_mode)
    return torch.ops.aten.max_pool2d_with_indices_backward(signal, frame, *geometry, indices.contiguous(memory_format=order))


def unpool_by_offsets(signal: Tensor, offsets: Tensor, kept: Saved) -> Tensor:
    """The same, one offset after the other, in an order that does not change: for any device."""
    out_height, out_width = signal.shape[2:]
    reach = [  # the canvas that all windows cover together, from the padding's first row and column
        (count - 1) * stride + dilation * (kernel - 1) + 1
        for count, stride, dilation, kernel in zip(signal.shape[2:], kept.stride, kept.dilation, kept.kernel, strict=True)
    ]
    height, width = kept.size[2:]
    top, left = kept.padding
    canvas = signal.new_zeros((*signal.shape[:2], max(reach[0], top + height), max(reach[1], left + width)))
    for row in range(kept.kernel[0]):
        for col in range(kept.kernel[1]):
            first, across = row * kept.dilation[0], col * kept.dilation[1]
            place = canvas[
                :,
                :,
                first : first + (out_height - 1) * kept.stride[0] + 1 : kept.stride[0],
                across : across + (out_width - 1) * kept.stride[1] + 1 : kept.stride[1],
            ]
            place += signal * (offsets == row * kept.kernel[1] + col)
    return canvas[:, :, top : top + height, left : left + width]
