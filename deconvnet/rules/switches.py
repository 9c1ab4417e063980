"""Switches: where in its pooling window each maximum stood, one byte each, and unpooling by them.

Three requirements shape how they are kept:

- one byte a switch: an offset within the pooling window, not a pixel's number;
- a *silent* window, in which nothing fired, has no maximum: all of it is a rectifier's zero, and torch names the first of the
  tied places. One recording serves both choices (`silent="drop"`, `"first"`), and takes no byte more for it: the offset of a
  silent window is moved up by the number of places in a window, where no other offset is;
- `F.max_unpool2d` overwrites where two pooled maxima share a pixel, so that unpooling is done here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..choices import Silent
from .base import SlidingSaved
from .call import per_image

#: Switches that are turned into offsets at a time: as many as stay in a CPU's cache.
OFFSETS_BLOCK = 1 << 17

#: The pixel index of a window whose signal is dropped.
DROPPED = -1

#: int64 indices that a recording may hold on to for one pool: eight bytes each, where a switch takes one.
MAX_STORED_INDICES = 1 << 18


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedMaxPool(SlidingSaved):
    """The switches, as offsets within their pooling windows, one byte each, and the pool's geometry."""

    switches: Tensor = per_image()  # (N, C, H', W')
    ceil_mode: bool = False
    has_silent: bool = False  # the switches of silent windows are moved up by `places`
    cache: dict[Any, Any] = field(default_factory=dict)  # the pixel indices of switches

    def on_frame(self, size: torch.Size, cut: Any) -> SavedMaxPool:
        """Return the same for a small frame (1, C, h, w) without padding."""
        return replace(self, size=size, padding=(0, 0), switches=cut(self.switches), ceil_mode=False)

    @property
    def places(self) -> int:
        """How many places a pooling window has."""
        return self.kernel[0] * self.kernel[1]

    @property
    def is_apart(self) -> bool:
        """True where the windows share no pixel."""
        kernel, stride = self.kernel, self.stride
        return self.dilation == (1, 1) and kernel[0] <= stride[0] and kernel[1] <= stride[1]


def _corners(saved: SavedMaxPool, axis: int, count: int, device: torch.device) -> Tensor:
    """Return the first row (axis 0) or column (axis 1) of each pooling window; may be negative. (count,)"""
    return torch.arange(count, device=device) * saved.stride[axis] - saved.padding[axis]


def to_offsets(indices: Tensor, saved: SavedMaxPool, silent: Tensor | None = None) -> Tensor:
    """Turn flat pixel indices into offsets within the pooling windows, one byte where that is enough.

    Args:
        indices: (N, C, H', W') int64.
        saved: the pool's geometry.
        silent: (N, C, H', W') bool: the windows in which nothing fired, whose offsets are moved up by `saved.places`.
    """
    fits = saved.places <= 256 if silent is None else saved.places + _latest_first(saved) <= 255
    offsets = torch.empty_like(indices, dtype=torch.uint8 if fits else torch.int32)
    planes, results = (indices.flatten(0, 1), offsets.flatten(0, 1)) if indices.is_contiguous() else (indices, offsets)
    # indices are large: a block at a time stays in a CPU's cache
    block = max(1, OFFSETS_BLOCK // planes[0].numel()) if indices.device.type == "cpu" else len(planes)
    for part, result in zip(torch.split(planes, block), torch.split(results, block), strict=True):
        result.copy_(_offsets(part, saved))
    return offsets if silent is None else _with_silent(offsets, silent, saved)


def _with_silent(offsets: Tensor, silent: Tensor, saved: SavedMaxPool) -> Tensor:
    """Move the offsets of silent windows up by the number of places, in place."""
    if offsets.dtype == torch.uint8 and saved.places > 128:
        # a net that pads with minus infinity itself can have a first place that a byte has no room for: it is moved nearer
        offsets = torch.where(silent, offsets.clamp(max=255 - saved.places), offsets)
    return offsets.add_(silent, alpha=saved.places)


def _latest_first(saved: SavedMaxPool) -> int:
    """Return the largest offset that the first place of a window inside the frame can have: 0 without padding."""
    down, right = (-(-padding // step) for padding, step in zip(saved.padding, saved.dilation, strict=True))
    return down * saved.kernel[1] + right


def without_silent(offsets: Tensor, saved: SavedMaxPool) -> Tensor:
    """Return offsets with those of silent windows moved back: each at the first of its tied places, as torch has it."""
    return torch.where(offsets < saved.places, offsets, offsets - saved.places) if saved.has_silent else offsets


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


def to_indices(offsets: Tensor, saved: SavedMaxPool, silent: Silent = "first") -> Tensor:
    """Turn offsets within the pooling windows back into flat pixel indices, int64; -1 for a window that is dropped."""
    if saved.has_silent and silent == "drop":
        return _to_indices(offsets, saved).masked_fill_(offsets >= saved.places, DROPPED)
    return _to_indices(without_silent(offsets, saved), saved)


def _to_indices(offsets: Tensor, saved: SavedMaxPool) -> Tensor:
    width, wide, (down, right) = saved.size[3], saved.kernel[1], saved.dilation
    tops, lefts = (_corners(saved, axis, offsets.shape[2 + axis], offsets.device) for axis in (0, 1))
    # row = offset // wide, col = offset - row * wide; dividing bytes is several times faster than looking up int64
    indices = offsets.long() * right if right > 1 else offsets.to(torch.int64, copy=True)
    return indices.add_(offsets // wide, alpha=down * width - right * wide).add_(tops[:, None] * width + lefts)


@dataclass
class PixelIndices:
    """The pixel indices of switches that are used again and again: of one picture, at their second use, where they are few."""

    switches: Tensor | None = None  # those asked for last
    silent: Silent = "drop"  # for which choice
    indices: Tensor | None = None  # theirs, in the order that CPU signals have

    def look_up(self, offsets: Tensor, saved: SavedMaxPool, silent: Silent) -> Tensor:
        """Return the flat pixel indices, int64, of offsets (1 or K, C, H', W'); -1 for a window that is dropped."""
        if offsets is not self.switches or silent != self.silent:
            self.switches, self.silent, self.indices = offsets, silent, None
            return to_indices(offsets, saved, silent)
        if self.indices is None:
            indices = to_indices(offsets, saved, silent)
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
    """Say of each pooled entry whether it is the last, in row-major order, of those with its switch. Bool, as `indices`.

    One that is dropped (-1) is not, and leaves the place to others.
    """
    flat = indices.flatten(2)
    order = torch.arange(flat.shape[2], device=flat.device).expand_as(flat).masked_fill(flat < 0, DROPPED)
    flat = flat.clamp(min=0)
    last = flat.new_zeros((*flat.shape[:2], math.prod(size[2:]))).scatter_reduce_(2, flat, order, "amax")
    return (last.gather(2, flat) == order).view_as(indices)


def unpool(signal: Tensor, offsets: Tensor, saved: SavedMaxPool, silent: Silent = "first") -> Tensor:
    """Put each value back at its switch, adding where switches coincide: (K, C, H', W') -> (K, C, H, W).

    The values of silent windows go to their first place, or nowhere ("drop").
    """
    if _aten_serves(signal.device):
        stored: PixelIndices = saved.cache.setdefault("indices", PixelIndices())
        indices = stored.look_up(offsets, saved, silent)
        return _unpool_aten(signal, indices.expand(signal.shape), saved)
    return unpool_by_offsets(signal, offsets, saved, silent)


def _aten_serves(device: torch.device) -> bool:
    """Say whether ATen's own kernel gives the same bytes each time.

    On CUDA it does: each pixel looks for the windows that chose it, and nothing is added atomically. But torch counts it among
    its nondeterministic operations, so that it would raise where those are forbidden; and on ROCm it is another kernel.
    """
    if device.type == "cuda":
        return torch.version.hip is None and not torch.are_deterministic_algorithms_enabled()
    return device.type == "cpu"


def _unpool_aten(signal: Tensor, indices: Tensor, saved: SavedMaxPool) -> Tensor:
    # ATen's max-pool backward is this very operation, and the fastest; of the input it reads only the shape, and it passes over
    # an index of -1 (on a CPU by a test for it, on a GPU since no pixel has that number)
    order = torch.channels_last if signal.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    frame = torch.empty((signal.shape[0], *saved.size[1:]), dtype=signal.dtype, device=signal.device, memory_format=order)
    geometry = (saved.kernel, saved.stride, saved.padding, saved.dilation, saved.ceil_mode)
    unpooled: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        signal, frame, *geometry, indices.contiguous(memory_format=order)
    )
    return unpooled


def unpool_by_offsets(signal: Tensor, offsets: Tensor, saved: SavedMaxPool, silent: Silent = "first") -> Tensor:
    """The same, one offset after the other, in an order that does not change: for any device."""
    if silent == "first":
        offsets = without_silent(offsets, saved)  # else no place has the offset of a silent window, and it is dropped
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
