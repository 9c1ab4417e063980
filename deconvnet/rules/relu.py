"""Rectifiers: what the deconvnet, guided backpropagation and the gradient differ in.

Zeiler & Fergus 2014, 2.1 rectify the *signal*; the gradient multiplies it by the activation's own derivative (for ReLU
the forward mask); guided backpropagation does both. The two bits, `mask` and `rectify`, follow Mahendran & Vedaldi 2016.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from ..tape import Asked, Kept
from .rule import Same, check_only_first


@dataclasses.dataclass(frozen=True)
class ReLU(Same):
    """max(x, 0); mirrored by rectifying the signal (`rectify`) and/or by the forward mask (`mask`)."""

    mask: bool = False
    rectify: bool = True

    status = "paper"

    @property
    def needs_values(self) -> bool:  # type: ignore[override]
        """The mask is an activation: one byte a value, kept only when asked for."""
        return self.mask

    def run(self, asked: Asked, input: Tensor, inplace: bool = False) -> tuple[Any, Kept]:
        """Keep nothing, or the mask. The output tells it, also where the call was in place."""
        check_only_first(asked)
        output = asked()
        return output, Kept({"positive": output > 0} if self.mask else None, size=output.shape)

    def mirror(self, kept: Kept, signal: Tensor) -> Tensor:
        """(K, ...) -> (K, ...)."""
        if self.rectify:
            signal = signal.clamp(min=0)
        return signal * kept.positive if self.mask else signal
