"""Max pools whose switches are kept as numbers of places, four bytes each: adaptive ones, and those of signals and volumes.

Bins of an adaptive pool have no common size, and windows of three axes can have more places than a byte counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch_axis import BatchAxis
from ..choices import Overlap, Silent
from ..receptive_field import binned_window, sliding_window
from ..units import Window
from .base import Rule, Signals, Status, Windows, arrived, check_only_first, on_first_axis
from .call import CallContext, Function, Saved, per_image
from .conv import per_axis
from .switches import DROPPED, last_at_switch

#: The calls, and that which gives the same with the places of the maxima.
WITH_INDICES: dict[Function, Function] = {
    F.adaptive_max_pool1d: F.adaptive_max_pool1d_with_indices,
    F.adaptive_max_pool2d: F.adaptive_max_pool2d_with_indices,
    F.adaptive_max_pool3d: F.adaptive_max_pool3d_with_indices,
    F.max_pool1d: F.max_pool1d_with_indices,
    torch.max_pool1d: F.max_pool1d_with_indices,
    F.max_pool3d: F.max_pool3d_with_indices,
    torch.max_pool3d: F.max_pool3d_with_indices,
}


@dataclass(frozen=True)
class Geometry:
    """A sliding window's, along each axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedBins(Saved):
    """The output's shape, and the switches: numbers of places, of silent bins their complement, below 0."""

    bins: torch.Size
    switches: Tensor = per_image()
    geometry: Geometry | None = None  # of windows that slide; bins of an adaptive pool share the input out


@dataclass(frozen=True)
class AdaptiveMaxPool(Rule[SavedBins]):
    """(N, C, H, W) -> (N, C, H', W') of a given size, by the maximum of each bin; mirrored as `MaxPool2d` is.

    The same for one axis and for three.
    """

    switches: bool = True
    overlap: Overlap = "sum"
    silent: Silent = "drop"

    @property
    def status(self) -> Status:
        """The true adjoint where there is a maximum, unless switches are ignored or collisions overwrite."""
        return "exact" if self.switches and self.overlap == "sum" else "generalised"

    def run(self, call: CallContext, input: Tensor, output_size: Any, return_indices: bool = False) -> tuple[Any, SavedBins]:
        """Pool once, with indices."""
        return self._pool(call, input, return_indices, None)

    def _pool(self, call: CallContext, input: Tensor, return_indices: bool, geometry: Geometry | None) -> tuple[Any, SavedBins]:
        check_only_first(call)
        output, indices = call(WITH_INDICES.get(call.func, call.func), return_indices=True)
        switches = indices.to(torch.int32)
        if call.is_rectified(input):
            switches = torch.where(output == 0, ~switches, switches)
        saved = SavedBins(size=input.shape, bins=output.shape, switches=switches, geometry=geometry)
        return ((output, indices) if return_indices else output), saved

    def batch(self, saved: SavedBins, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The first axis, whatever else is in it."""
        return on_first_axis(batches)

    def mirror(self, saved: SavedBins, signal: Signals) -> Signals:
        """(K, C, H', W') -> (K, C, H, W)."""
        values = arrived(signal)
        indices = self._indices(saved, values.device).expand(values.shape)
        if self.overlap == "last":
            values = values * last_at_switch(indices, saved.size)
        elif self.silent == "drop":
            values = values * (indices >= 0)
        indices = indices.clamp(min=0)
        frame = values.new_zeros((values.shape[0], saved.size[1], math.prod(saved.size[2:])))
        return frame.scatter_add_(2, indices.flatten(2), values.flatten(2)).view(-1, *saved.size[1:])

    def _indices(self, saved: SavedBins, device: torch.device) -> Tensor:
        """Return the place that each value goes to, (1 or K, C, H', W') int64; -1 where it is dropped."""
        if not self.switches:
            return _middle_indices(saved, device)
        indices = saved.switches.long()
        return torch.where(indices < 0, DROPPED if self.silent == "drop" else ~indices, indices)

    def window(self, saved: SavedBins, window: Window) -> Windows:
        """The bins' or windows' union; of a volume, all."""
        axes = len(saved.size) - 2
        if axes > 2:
            return None
        one_row = (1,) * (2 - axes)
        geometry = saved.geometry
        if geometry is None:
            return binned_window(window, (*one_row, *saved.size[2:]), (*one_row, *saved.bins[2:]))
        lengths = ((*one_row, *geometry.kernel), (*one_row, *geometry.stride))
        return sliding_window(window, *lengths, (0,) * len(one_row) + geometry.padding, (*one_row, *geometry.dilation))


@dataclass(frozen=True)
class MaxPool(AdaptiveMaxPool):
    """(N, C, L) -> (N, C, L') and (N, C, D, H, W) -> (N, C, D', H', W'): the maximum of a sliding window."""

    def run(  # type: ignore[override]
        self,
        call: CallContext,
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> tuple[Any, SavedBins]:
        """Pool once, with indices."""
        axes = input.dim() - 2
        kernel = per_axis(kernel_size, axes)
        step = per_axis(stride, axes) if stride else kernel  # None and [] both mean "the kernel's size"
        return self._pool(
            call, input, return_indices, Geometry(kernel, step, per_axis(padding, axes), per_axis(dilation, axes))
        )


def places_of(saved: SavedBins) -> tuple[int, int]:
    """Return how far apart the first and the last place of a window are, down and across, where that is most."""
    sizes, bins = saved.size[2:], saved.bins[2:]
    if saved.geometry is None:
        spans = [
            max(-(-(at + 1) * size // count) - at * size // count for at in range(count)) - 1
            for size, count in zip(sizes, bins, strict=True)
        ]
    else:
        spans = [(kernel - 1) * step for kernel, step in zip(saved.geometry.kernel, saved.geometry.dilation, strict=True)]
    return (0, spans[0]) if len(spans) == 1 else (spans[-2], spans[-1])


def _middle_indices(saved: SavedBins, device: torch.device) -> Tensor:
    """Return the number of the middle place of each bin, (1, C, ...)."""
    numbers = torch.zeros((), dtype=torch.int64, device=device)
    for axis, size in enumerate(saved.size[2:]):
        numbers = numbers[..., None] * size + _middles(saved, axis, device)
    return numbers.expand(1, saved.size[1], *numbers.shape)


def _middles(saved: SavedBins, axis: int, device: torch.device) -> Tensor:
    """Return the middle of each bin along an axis, or the place nearest to it that lies inside the frame."""
    size, count, geometry = saved.size[2 + axis], saved.bins[2 + axis], saved.geometry
    number = torch.arange(count, device=device)
    if geometry is None:
        return (number * size // count + ((number + 1) * size + count - 1) // count) // 2
    step = geometry.dilation[axis]
    corners = number * geometry.stride[axis] - geometry.padding[axis]
    first, last = (-corners + step - 1) // step, (size - 1 - corners) // step
    return corners + step * torch.full_like(corners, geometry.kernel[axis] // 2).clamp(first.clamp(min=0), last)
