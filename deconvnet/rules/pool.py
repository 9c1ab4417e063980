"""Pooling: max pools put each value back at its switch, averages spread it evenly.

`F.max_unpool2d` overwrites where two pooled maxima share a pixel, which a third of AlexNet's and ZFNet's do (3x3 windows,
stride 2). Here they add up (`overlap="sum"`, as autograd does), or the last one in row-major order stays (`"last"`, as
`MaxUnpool2d` does, but deterministic).

A window in which nothing fired - all of it a rectifier's zero - has no maximum. `silent="drop"` passes none of its signal on;
`"first"` sends it to the first of the tied places, as torch's index and so autograd do. Where the forward mask is applied, the
mask takes that signal away in any case. Values that no rectifier cut have a maximum everywhere, zero or less though it be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch_axis import BatchAxis
from ..choices import Overlap, Silent
from ..receptive_field import NOTHING, binned_window, pair, sliding_window, spreading_window
from ..units import Window
from .base import (
    Rule,
    SavedAdjoint,
    Signals,
    SlidingSaved,
    Status,
    VectorJacobian,
    Windows,
    arrived,
    check_only_first,
    on_first_axis,
)
from .call import CallContext, Saved, UnsupportedCall, per_image
from .conv import per_axis
from .switches import SavedMaxPool, last_at_switch, middle_offsets, to_indices, to_offsets, unpool


@dataclass(frozen=True)
class MaxPool2d(Rule[SavedMaxPool]):
    """(N, C, H, W) -> (N, C, H', W'); mirrored by putting each value back at its switch.

    Without `switches` each value goes to the middle of its window (Mahendran & Vedaldi 2016), whatever fired there.
    """

    switches: bool = True
    overlap: Overlap = "sum"
    silent: Silent = "drop"

    @property
    def status(self) -> Status:
        """The true adjoint where there is a maximum, unless switches are ignored or collisions overwrite."""
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
        silent = output == 0 if call.is_rectified(input) else None
        saved = replace(saved, switches=to_offsets(indices, saved, silent), has_silent=silent is not None)
        return ((output, indices) if return_indices else output), saved

    def batch(self, saved: SavedMaxPool, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The first axis, whatever else is in it."""
        return on_first_axis(batches)

    def mirror(self, saved: SavedMaxPool, signal: Signals) -> Tensor:
        """(K, C, H', W') -> (K, C, H, W)."""
        values = arrived(signal)
        offsets = saved.switches if self.switches else middle_offsets(saved, values.shape, values.device)
        if self.overlap == "last":
            values = values * last_at_switch(to_indices(offsets, saved, self.silent), saved.size)
        return unpool(values, offsets, saved, self.silent)

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


@dataclass(frozen=True)
class AvgPool1d(AvgPool2d):
    """(N, C, L) -> (N, C, L'), the mean of a sliding window."""

    def run(  # type: ignore[override]
        self,
        call: CallContext,
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> tuple[Any, SavedAverage]:
        """Save the window's geometry, as that of a picture of one row."""
        output, saved = self.make(call, input, kernel_size, stride or kernel_size, padding, ceil_mode, count_include_pad)
        (kernel,), (step,), (margin,) = per_axis(kernel_size, 1), per_axis(stride or kernel_size, 1), per_axis(padding, 1)
        return output, SavedAverage(**saved, kernel=(1, kernel), stride=(1, step), padding=(0, margin), ceil_mode=ceil_mode)
