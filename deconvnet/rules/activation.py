"""Activations: what the deconvnet, guided backpropagation and the gradient differ in.

Zeiler & Fergus 2014, 2.1 rectify the *signal*; the gradient multiplies it by the activation's own derivative (for ReLU
the forward mask); guided backpropagation does both. The two bits, `mask` and `rectify`, follow Mahendran & Vedaldi 2016.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..receptive_field import Layout
from ..tape import CallContext, Saved
from ..units import Window
from .base import Placewise, check_only_first


@dataclasses.dataclass(frozen=True)
class Activation(Placewise):
    """An activation that the paper does not know - ReLU6, SiLU, GELU, sigmoid ... - mirrored as ReLU is: rectified."""

    mask: bool = False
    rectify: bool = True

    status = "generalised"

    @property
    def needs_values(self) -> bool:  # type: ignore[override]
        """The derivative is taken at the input, which is kept only when asked for."""
        return self.mask

    def run(self, asked: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Saved]:
        """Keep nothing, or the input, from before a call in place changes it."""
        check_only_first(asked)
        values = {"input": input.clone()} if self.mask else None
        return asked(), Saved(values, size=input.shape, func=asked.func, args=args, kwargs=kwargs)

    def mirror(self, kept: Saved, signal: Tensor) -> Tensor:
        """(K, ...) -> (K, ...)."""
        if self.rectify:
            signal = signal.clamp(min=0)
        return derivative(lambda x: kept.func(x, *kept.args, **kept.kwargs), kept.input, signal) if self.mask else signal


@dataclasses.dataclass(frozen=True)
class Softmax(Activation):
    """softmax and log_softmax: the derivative mixes the values along an axis, so that a place may depend on all."""

    def layout(self, kept: Saved, layouts: Sequence[Layout], shape: Sequence[int]) -> Layout:
        """The same axes; which of them are channels is kept for the window."""
        kept.channels = layouts[0][0]
        return layouts[0]

    def window(self, kept: Saved, window: Window) -> Window | None:
        """The same place for the axis of channels, else all."""
        dim = kept.args[0] if kept.args else kept.kwargs.get("dim")
        among_channels = dim is not None and dim % len(kept.size) == kept.channels
        return window if among_channels or not self.mask else None


@dataclasses.dataclass(frozen=True)
class ReLU(Activation):
    """max(x, 0); mirrored by rectifying the signal (`rectify`) and/or by the forward mask (`mask`)."""

    status = "paper"

    def run(self, asked: CallContext, input: Tensor, inplace: bool = False) -> tuple[Any, Saved]:
        """Keep nothing, or the mask. The output tells it, also where the call was in place."""
        check_only_first(asked)
        output = asked()
        return output, Saved({"positive": output > 0} if self.mask else None, size=output.shape)

    def mirror(self, kept: Saved, signal: Tensor) -> Tensor:
        """(K, ...) -> (K, ...)."""
        if self.rectify:
            signal = signal.clamp(min=0)
        return signal * kept.positive if self.mask else signal


def derivative(function: Any, at: Tensor, signal: Tensor) -> Tensor:
    """Return the vector-Jacobian product of a function at (1 or K, ...) with K signals."""
    with torch.enable_grad():
        below = at.to(signal.dtype).expand(signal.shape).detach().clone().requires_grad_()
        (result,) = torch.autograd.grad(function(below * 1), below, signal)  # times 1: a call in place needs no leaf
    return result
