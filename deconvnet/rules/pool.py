"""Pooling: max pools put each value back at its switch, averages spread it evenly.

`F.max_unpool2d` overwrites where two pooled maxima share a pixel, which a third of AlexNet's and ZFNet's do (3x3 windows,
stride 2). Here they add up (`overlap="sum"`, as autograd does), or the last one in row-major order stays (`"last"`, as
`MaxUnpool2d` does, but deterministic).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..choices import Overlap
from ..receptive_field import NOTHING, binned_window, pair, sliding_window, spreading_window
from ..units import Window
from .base import Rule, SavedAdjoint, Signals, SlidingSaved, Status, VectorJacobian, Windows, check_only_first
from .call import CallContext, Saved, UnsupportedCall, per_image

#: Switches that are turned into offsets at a time: as many as stay in a CPU's cache.
OFFSETS_BLOCK = 1 << 17

#: int64 indices that a recording may hold on to for one pool: eight bytes each, where a switch takes one.
MAX_STORED_INDICES = 1 << 18


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedMaxPool(SlidingSaved):
    """The switches, as offsets within their pooling windows, one byte each, and the pool's geometry."""

    switches: Tensor = per_image()  # (N, C, H', W')
    ceil_mode: bool = False
    cache: dict[Any, Any] = field(default_factory=dict)  # the pixel indices of switches

    def on_frame(self, size: torch.Size, cut: Any) -> SavedMaxPool:
        """Return the same for a small frame (1, C, h, w) without padding."""
        return replace(self, size=size, padding=(0, 0), switches=cut(self.switches), ceil_mode=False)

    @property
    def is_apart(self) -> bool:
        """True where the windows share no pixel."""
        kernel, stride = self.kernel, self.stride
        return self.dilation == (1, 1) and kernel[0] <= stride[0] and kernel[1] <= stride[1]


@dataclass(frozen=True)
class MaxPool2d(Rule[SavedMaxPool]):
    """(N, C, H, W) -> (N, C, H', W'); mirrored by putting each value back at its switch.

    Without `switches` each value goes to the middle of its window (Mahendran & Vedaldi 2016).
    """

    switches: bool = True
    overlap: Overlap = "sum"

    @property
    def status(self) -> Status:
        """The true adjoint, unless switches are ignored or collisions overwrite."""
        return "exact" if self.switches and self.overlap == "sum" else "generalised"

    def run(
        self,
        call: CallContext,
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> tuple[Any, SavedMaxPool]:
        """Pool once, with indices, and save them as offsets within the windows: one byte an entry."""
        check_only_first(call)
        kernel = pair(kernel_size)
        saved = SavedMaxPool(
            size=input.shape,
            kernel=kernel,
            stride=pair(stride) if stride else kernel,  # None and [] both mean "the kernel's size"
            padding=pair(padding),
            dilation=pair(dilation),
            ceil_mode=ceil_mode,
            cache=call.cache,
        )
        output, indices = call(F.max_pool2d_with_indices, return_indices=True)
        saved = replace(saved, switches=to_offsets(indices, saved))
        return ((output, indices) if return_indices else output), saved

    def mirror(self, saved: SavedMaxPool, signal: Signals) -> Tensor:
        """(K, C, H', W') -> (K, C, H, W)."""
        values = _first(signal)
        offsets = saved.switches if self.switches else middle_offsets(saved, values.shape, values.device)
        if self.overlap == "last":
            values = values * last_at_switch(to_indices(offsets, saved), saved.size)
        return unpool(values, offsets, saved)

    def window(self, saved: SavedMaxPool, window: Window) -> Windows:
        """Every output pixel sees its pooling window."""
        return sliding_window(window, saved.kernel, saved.stride, saved.padding, saved.dilation)

    def slides(self, saved: SavedMaxPool) -> bool:
        """Where what a window receives does not depend on where the frame ends, or on which window comes last."""
        return self.switches and self.overlap == "sum"

    def returns_new(self) -> bool:
        """The frame is new memory."""
        return True

    def keeps_channels(self) -> bool:
        """Each map is pooled by itself."""
        return True

    def passes_rectifying(self, saved: SavedMaxPool) -> bool:
        """Where each value moves to a place of its own."""
        return saved.is_apart


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedBins(Saved):
    """The output's shape; of a max pool also its switches, as pixel numbers."""

    bins: torch.Size
    switches: Tensor = per_image()


@dataclass(frozen=True)
class AdaptiveMaxPool2d(Rule[SavedBins]):
    """(N, C, H, W) -> (N, C, H', W') of a given size, by the maximum of each bin; mirrored as `MaxPool2d` is.

    Bins have no common size, so that switches are saved as pixel numbers, four bytes each.
    """

    switches: bool = True
    overlap: Overlap = "sum"

    @property
    def status(self) -> Status:
        """The true adjoint, unless switches are ignored or collisions overwrite."""
        return "exact" if self.switches and self.overlap == "sum" else "generalised"

    def run(self, call: CallContext, input: Tensor, output_size: Any, return_indices: bool = False) -> tuple[Any, SavedBins]:
        """Pool once, with indices."""
        check_only_first(call)
        output, indices = call(F.adaptive_max_pool2d_with_indices, return_indices=True)
        saved = SavedBins(size=input.shape, bins=output.shape, switches=indices.to(torch.int32))
        return ((output, indices) if return_indices else output), saved

    def mirror(self, saved: SavedBins, signal: Signals) -> Signals:
        """(K, C, H', W') -> (K, C, H, W)."""
        values = _first(signal)
        use_switches = self.switches and saved.switches is not None
        indices = (
            saved.switches.long() if use_switches and saved.switches is not None else _middle_indices(saved, values.device)
        )
        indices = indices.expand(values.shape)
        if self.overlap == "last":
            values = values * last_at_switch(indices, saved.size)
        frame = values.new_zeros((values.shape[0], saved.size[1], saved.size[2] * saved.size[3]))
        return frame.scatter_add_(2, indices.flatten(2), values.flatten(2)).view(-1, *saved.size[1:])

    def window(self, saved: SavedBins, window: Window) -> Windows:
        """The bins' union."""
        return binned_window(window, saved.size[-2:], saved.bins[-2:])


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedUnpool(Saved):
    """The switches that were given, as pixel numbers, and whether they descend from the image too."""

    switches: Tensor = per_image()
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    output: torch.Size
    both: bool


class MaxUnpool2d(Rule[SavedUnpool]):
    """F.max_unpool2d, the way up of SegNet and of Noh's DeconvNet: each value is taken back from its switch.

    It overwrites where switches coincide: what was overwritten takes no signal.
    """

    def run(
        self,
        call: CallContext,
        input: Tensor,
        indices: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        output_size: Any = None,
    ) -> tuple[Any, SavedUnpool]:
        """Save the switches; they descend from the image too, but take no signal."""
        if not call.descends(input):
            raise UnsupportedCall("only its switches descend from the image")
        kernel, both = pair(kernel_size), call.descends(indices)
        output = call()
        saved = SavedUnpool(
            size=input.shape,
            switches=indices.to(torch.int32),
            kernel=kernel,
            stride=pair(stride) if stride else kernel,
            padding=pair(padding),
            output=output.shape,
            both=both,
        )
        return output, saved

    def mirror(self, saved: SavedUnpool, signal: Tensor) -> Signals:
        """(K, C, H, W) -> (K, C, H', W')."""
        indices = saved.switches.long().expand(signal.shape[0], *saved.size[1:])
        result = signal.flatten(2).gather(2, indices.flatten(2)).view(indices.shape)
        result = result * last_at_switch(indices, saved.output)
        return (result, None) if saved.both else result

    def window(self, saved: SavedUnpool, window: Window) -> Windows:
        """The pooled places whose windows reach the place."""
        below = spreading_window(window, saved.kernel, saved.stride, saved.padding)
        return (below, NOTHING) if saved.both else below


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedAdaptiveAverage(SavedAdjoint):
    """The output's shape."""

    bins: torch.Size


class AdaptiveAvgPool2d(VectorJacobian[SavedAdaptiveAverage]):
    """(N, C, H, W) -> (N, C, H', W') of a given size, by the mean of each bin."""

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, SavedAdaptiveAverage]:
        """Save the sizes."""
        output, saved = self.make(call, input, *args, **kwargs)
        return output, SavedAdaptiveAverage(**saved, bins=output.shape)

    def window(self, saved: SavedAdaptiveAverage, window: Window) -> Windows:
        """The bins' union."""
        return binned_window(window, saved.size[-2:], saved.bins[-2:])


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedAverage(SavedAdjoint, SlidingSaved):
    """The call and the window's geometry."""

    ceil_mode: bool = False


class AvgPool2d(VectorJacobian[SavedAverage]):
    """(N, C, H, W) -> (N, C, H', W'), the mean of a sliding window."""

    def run(
        self,
        call: CallContext,
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> tuple[Any, SavedAverage]:
        """Save the window's geometry too."""
        arguments = (kernel_size, stride or kernel_size, padding, ceil_mode, count_include_pad, divisor_override)
        output, saved = self.make(call, input, *arguments)
        kernel = pair(kernel_size)
        step = pair(stride) if stride else kernel
        return output, SavedAverage(**saved, kernel=kernel, stride=step, padding=pair(padding), ceil_mode=ceil_mode)

    def window(self, saved: SavedAverage, window: Window) -> Windows:
        """Every output pixel sees its pooling window."""
        return sliding_window(window, saved.kernel, saved.stride, saved.padding)

    def slides(self, saved: SavedAverage) -> bool:
        """Where no window reaches beyond the frame, which would change what it divides by."""
        return saved.padding == (0, 0) and not saved.ceil_mode

    def returns_new(self) -> bool:
        """The product is new memory."""
        return True

    def keeps_channels(self) -> bool:
        """Each map is pooled by itself."""
        return True


def _first(signal: Signals) -> Tensor:
    """Return the pooled values' signal; the indices, which a pool may have returned too, carry none."""
    return next(part for part in signal if part is not None) if isinstance(signal, tuple) else signal


def _middle_indices(saved: SavedBins, device: torch.device) -> Tensor:
    """Return the flat index of the middle of each bin, (1, C, H', W')."""
    middles = []
    for size, bins in zip(saved.size[2:], saved.bins[2:], strict=True):
        number = torch.arange(bins, device=device)
        middles.append((number * size // bins + ((number + 1) * size + bins - 1) // bins) // 2)
    return (middles[0][:, None] * saved.size[3] + middles[1]).expand(1, saved.size[1], -1, -1)


def _corners(saved: SavedMaxPool, axis: int, count: int, device: torch.device) -> Tensor:
    """Return the first row (axis 0) or column (axis 1) of each pooling window; may be negative. (count,)"""
    return torch.arange(count, device=device) * saved.stride[axis] - saved.padding[axis]


def to_offsets(indices: Tensor, saved: SavedMaxPool) -> Tensor:
    """Turn flat pixel indices (N, C, H', W') int64 into offsets within the pooling windows, one byte where that is enough."""
    places = saved.kernel[0] * saved.kernel[1]
    offsets = torch.empty_like(indices, dtype=torch.uint8 if places <= 256 else torch.int32)
    planes, results = (indices.flatten(0, 1), offsets.flatten(0, 1)) if indices.is_contiguous() else (indices, offsets)
    # indices are large: a block at a time stays in a CPU's cache
    block = max(1, OFFSETS_BLOCK // planes[0].numel()) if indices.device.type == "cpu" else len(planes)
    for part, result in zip(torch.split(planes, block), torch.split(results, block), strict=True):
        result.copy_(_offsets(part, saved))
    return offsets


def _offsets(indices: Tensor, saved: SavedMaxPool) -> Tensor:
    width, (tall, wide) = saved.size[3], saved.kernel
    rows, cols = (_corners(saved, axis, indices.shape[axis - 2], indices.device) for axis in (0, 1))
    if saved.dilation != (1, 1) or tall > 8 or wide > width:
        down, right = indices // width - rows[:, None], indices % width - cols
        return (down // saved.dilation[0]) * wide + right // saved.dilation[1]
    away = (indices - (rows[:, None] * width + cols)).to(torch.int32)  # = row * width + col
    offsets = away.clone()
    for row in range(1, tall):  # comparing is several times faster than dividing
        offsets -= (away >= row * width) * (width - wide)
    return offsets


def to_indices(offsets: Tensor, saved: SavedMaxPool) -> Tensor:
    """Turn offsets within the pooling windows back into flat pixel indices, int64."""
    width, wide, (down, right) = saved.size[3], saved.kernel[1], saved.dilation
    tops, lefts = (_corners(saved, axis, offsets.shape[2 + axis], offsets.device) for axis in (0, 1))
    # row = offset // wide, col = offset - row * wide; dividing bytes is several times faster than looking up int64
    indices = offsets.long() * right if right > 1 else offsets.to(torch.int64, copy=True)
    return indices.add_(offsets // wide, alpha=down * width - right * wide).add_(tops[:, None] * width + lefts)


@dataclass
class PixelIndices:
    """The pixel indices of switches that are used again and again: of one picture, at their second use, where they are few."""

    switches: Tensor | None = None  # those asked for last
    indices: Tensor | None = None  # theirs, in the order that CPU signals have

    def look_up(self, offsets: Tensor, saved: SavedMaxPool) -> Tensor:
        """Return the flat pixel indices, int64, of offsets (1 or K, C, H', W')."""
        if offsets is not self.switches:
            self.switches, self.indices = offsets, None
            return to_indices(offsets, saved)
        if self.indices is None:
            indices = to_indices(offsets, saved)
            if indices.numel() > MAX_STORED_INDICES or indices.device.type != "cpu":
                return indices
            self.indices = indices.contiguous(memory_format=torch.channels_last)
        return self.indices


def middle_offsets(saved: SavedMaxPool, shape: torch.Size, device: torch.device) -> Tensor:
    """Return the offset of each window's middle, or of the place nearest to it that lies inside the frame."""
    middles = []
    for axis in (0, 1):
        corners = _corners(saved, axis, shape[2 + axis], device)
        step, size = saved.dilation[axis], saved.size[2 + axis]
        first, last = (-corners + step - 1) // step, (size - 1 - corners) // step
        middles.append(torch.full_like(corners, saved.kernel[axis] // 2).clamp(first.clamp(min=0), last))
    return (middles[0][:, None] * saved.kernel[1] + middles[1]).expand(1, shape[1], -1, -1)


def last_at_switch(indices: Tensor, size: torch.Size) -> Tensor:
    """Say of each pooled entry whether it is the last, in row-major order, of those with its switch. Bool, as `indices`."""
    flat = indices.flatten(2)
    order = torch.arange(flat.shape[2], device=flat.device).expand_as(flat)
    last = flat.new_zeros((*flat.shape[:2], size[2] * size[3])).scatter_reduce_(2, flat, order, "amax")
    return (last.gather(2, flat) == order).view_as(indices)


def unpool(signal: Tensor, offsets: Tensor, saved: SavedMaxPool) -> Tensor:
    """Put each value back at its switch, adding where switches coincide: (K, C, H', W') -> (K, C, H, W)."""
    if _aten_serves(signal.device):
        stored: PixelIndices = saved.cache.setdefault("indices", PixelIndices())
        indices = stored.look_up(offsets, saved)
        return _unpool_aten(signal, indices.expand(signal.shape), saved)
    return unpool_by_offsets(signal, offsets, saved)


def _aten_serves(device: torch.device) -> bool:
    """Say whether ATen's own kernel gives the same bytes each time.

    On CUDA it does: each pixel looks for the windows that chose it, and nothing is added atomically. But torch counts it among
    its nondeterministic operations, so that it would raise where those are forbidden; and on ROCm it is another kernel.
    """
    if device.type == "cuda":
        return torch.version.hip is None and not torch.are_deterministic_algorithms_enabled()
    return device.type == "cpu"


def _unpool_aten(signal: Tensor, indices: Tensor, saved: SavedMaxPool) -> Tensor:
    # ATen's max-pool backward is this very operation, and the fastest; of the input it reads only the shape
    order = torch.channels_last if signal.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    frame = torch.empty((signal.shape[0], *saved.size[1:]), dtype=signal.dtype, device=signal.device, memory_format=order)
    geometry = (saved.kernel, saved.stride, saved.padding, saved.dilation, saved.ceil_mode)
    unpooled: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        signal, frame, *geometry, indices.contiguous(memory_format=order)
    )
    return unpooled


def unpool_by_offsets(signal: Tensor, offsets: Tensor, saved: SavedMaxPool) -> Tensor:
    """The same, one offset after the other, in an order that does not change: for any device."""
    out_height, out_width = signal.shape[2:]
    reach = [  # the canvas that all windows cover together, from the padding's first row and column
        (count - 1) * stride + dilation * (kernel - 1) + 1
        for count, stride, dilation, kernel in zip(signal.shape[2:], saved.stride, saved.dilation, saved.kernel, strict=True)
    ]
    height, width = saved.size[2:]
    top, left = saved.padding
    canvas = signal.new_zeros((*signal.shape[:2], max(reach[0], top + height), max(reach[1], left + width)))
    for row in range(saved.kernel[0]):
        for col in range(saved.kernel[1]):
            first, across = row * saved.dilation[0], col * saved.dilation[1]
            place = canvas[
                :,
                :,
                first : first + (out_height - 1) * saved.stride[0] + 1 : saved.stride[0],
                across : across + (out_width - 1) * saved.stride[1] + 1 : saved.stride[1],
            ]
            place += signal * (offsets == row * saved.kernel[1] + col)
    return canvas[:, :, top : top + height, left : left + width]
