"""Fully connected layers."""

from __future__ import annotations

from torch import Tensor

from ..tape import CallContext, Saved
from .base import Placewise, check_only_first


class Linear(Placewise):
    """(N, ..., F) -> (N, ..., F'); mirrored by the transposed matrix, the bias left out as in a convolution."""

    def run(self, asked: CallContext, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Saved]:
        """Keep the matrix."""
        check_only_first(asked)
        return asked(), Saved(size=input.shape, weight=weight)

    def mirror(self, kept: Saved, signal: Tensor) -> Tensor:
        """(K, ..., F') -> (K, ..., F)."""
        return signal @ kept.weight.to(signal.dtype)
