"""Fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..axes import Axes, default_axes
from ..batch_axis import MIXES, BatchAxis
from ..units import Window
from .base import Placewise, Signals, Windows, check_only_first
from .call import CallContext, Saved, UnsupportedCall


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedLinear(Saved):
    """The matrix, (F', F), and whether its features are positions: a mixer's layers work along rows, columns or tokens."""

    weight: Tensor
    mixes_positions: bool = False


class Linear(Placewise[SavedLinear]):
    """(N, ..., F) -> (N, ..., F'); mirrored by the transposed matrix, the bias left out as in a convolution."""

    def run(self, call: CallContext, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, SavedLinear]:
        """Save the matrix."""
        check_only_first(call)
        mixes = input.dim() - 1 in call.axes(input)[1:]
        return call(), SavedLinear(size=input.shape, weight=call.as_used(weight), mixes_positions=mixes)

    def window(self, saved: SavedLinear, window: Window) -> Windows:
        """The same position; all of them where the features are positions."""
        return None if saved.mixes_positions else window

    def axes(self, saved: SavedLinear, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """The same axes; positions that become another number of features are positions no more."""
        is_other = saved.mixes_positions and shape[-1] != saved.size[-1]
        return default_axes(shape) if is_other or not axes else axes[0]

    def batch(self, saved: SavedLinear, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The same axis, unless that is the one of the features."""
        if batches[0].axis == len(shape) - 1:
            raise UnsupportedCall(MIXES)
        return batches[0]

    def mirror(self, saved: SavedLinear, signal: Tensor) -> Signals:
        """(K, ..., F') -> (K, ..., F)."""
        return signal @ saved.weight.to(signal.dtype)
