"""Fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..batch_axis import MIXES, BatchAxis
from .base import Placewise, Signals, check_only_first
from .call import CallContext, Saved, UnsupportedCall


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedLinear(Saved):
    """The matrix, (F', F)."""

    weight: Tensor


class Linear(Placewise[SavedLinear]):
    """(N, ..., F) -> (N, ..., F'); mirrored by the transposed matrix, the bias left out as in a convolution."""

    def run(self, call: CallContext, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, SavedLinear]:
        """Save the matrix."""
        check_only_first(call)
        return call(), SavedLinear(size=input.shape, weight=call.as_used(weight))

    def batch(self, saved: SavedLinear, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The same axis, unless that is the one of the features."""
        if batches[0].axis == len(shape) - 1:
            raise UnsupportedCall(MIXES)
        return batches[0]

    def mirror(self, saved: SavedLinear, signal: Tensor) -> Signals:
        """(K, ..., F') -> (K, ..., F)."""
        return signal @ saved.weight.to(signal.dtype)
