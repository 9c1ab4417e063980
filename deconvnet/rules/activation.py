"""Activations: what the deconvnet, guided backpropagation and the gradient differ in.

Zeiler & Fergus 2014, 2.1 rectify the *signal*; the gradient multiplies it by the activation's own derivative (for ReLU
the forward mask); guided backpropagation does both. The two bits, `mask` and `rectify`, follow Mahendran & Vedaldi 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..units import Window
from .base import Placewise, Same, Signals, Status, Windows, check_only_first
from .call import CallContext, Function, Saved, per_image, plain_name, tensors_in


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedActivation(Saved):
    """The call, and its input where the derivative is taken."""

    func: Function
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    input: Tensor | None = per_image()
    channel_axis: int | None = None


@dataclass(frozen=True)
class Activation(Placewise[SavedActivation]):
    """An activation that the paper does not know - ReLU6, SiLU, GELU, sigmoid ... - mirrored as ReLU is: rectified."""

    mask: bool = False
    rectify: bool = True

    @property
    def status(self) -> Status:
        """Not in the paper."""
        return "generalised"

    @property
    def needs_values(self) -> bool:
        """The derivative is taken at the input, which is saved only when asked for."""
        return self.mask

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, SavedActivation]:
        """Save nothing, or the input, from before a call in place changes it."""
        check_only_first(call)
        values = input.clone() if self.mask else None
        saved = SavedActivation(
            size=input.shape, func=call.func, args=args, kwargs=kwargs, input=values, channel_axis=call.axes(input)[0]
        )
        return call(), saved

    def keeps_positions(self, saved: SavedActivation, window: Window) -> bool:
        """Where no bound or exponent that is a tensor differs along rows or columns; PReLU's are the channels'."""
        tensors = [] if plain_name(saved.func) == "prelu" or not self.mask else tensors_in((saved.args, saved.kwargs))
        differs = any(length != 1 for tensor in tensors for length in tensor.shape[-2:])
        return not differs and super().keeps_positions(saved, window)

    def mirror(self, saved: SavedActivation, signal: Tensor) -> Signals:
        """(K, ...) -> (K, ...)."""
        if self.rectify:
            signal = signal.clamp(min=0)
        if saved.input is None or not self.mask:
            return signal
        return derivative(lambda x: saved.func(x, *saved.args, **saved.kwargs), saved.input, signal)


class Softmax(Activation):
    """softmax and log_softmax: the derivative mixes the values along an axis, so that a position may depend on all."""

    def window(self, saved: SavedActivation, window: Window) -> Windows:
        """The same position for the axis of channels, else all."""
        dim = saved.args[0] if saved.args else saved.kwargs.get("dim")
        among_channels = dim is not None and dim % len(saved.size) == saved.channel_axis
        return window if among_channels or not self.mask else None


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedReLU(Saved):
    """Where the output is above 0, if the forward mask is asked for."""

    positive: Tensor | None = per_image()


@dataclass(frozen=True)
class ReLU(Placewise[SavedReLU]):
    """max(x, 0); mirrored by rectifying the signal (`rectify`) and/or by the forward mask (`mask`)."""

    mask: bool = False
    rectify: bool = True

    @property
    def status(self) -> Status:
        """The paper's own rule (Zeiler & Fergus 2014, 2.1, "Rectification")."""
        return "paper"

    @property
    def needs_values(self) -> bool:
        """The mask is saved only when asked for."""
        return self.mask

    def run(self, call: CallContext, input: Tensor, inplace: bool = False) -> tuple[Any, SavedReLU]:
        """Save nothing, or the mask. The output tells it, also where the call was in place."""
        check_only_first(call)
        output = call()
        return output, SavedReLU(size=output.shape, positive=output > 0 if self.mask else None)

    def mirror(self, saved: SavedReLU, signal: Tensor) -> Signals:
        """(K, ...) -> (K, ...)."""
        if self.rectify:
            signal = signal.clamp(min=0)
        return signal * saved.positive if self.mask and saved.positive is not None else signal

    def mirror_inplace(self, saved: SavedReLU, signal: Tensor) -> Signals:
        """The same in the signal's own memory."""
        if self.rectify:
            signal = torch.clamp_(signal, min=0)
        return signal.mul_(saved.positive) if self.mask and saved.positive is not None else signal

    def rectifies(self) -> bool:
        """True under the deconvnet's bits."""
        return self.rectify and not self.mask

    def returns_new(self) -> bool:
        """True where anything is done."""
        return self.rectify or self.mask

    def keeps_channels(self) -> bool:
        """Zero stays zero."""
        return True


def derivative(function: Callable[[Tensor], Tensor], at: Tensor, signal: Tensor) -> Tensor:
    """Return the vector-Jacobian product of a function at (1 or K, ...) with K signals."""
    with torch.enable_grad():
        below = at.to(signal.dtype).expand(signal.shape).detach().clone().requires_grad_()
        (result,) = torch.autograd.grad(function(below * 1), below, signal)  # times 1: a call in place needs no leaf
    return result


class FakeQuantize(Same):
    """Rounding to what an integer could hold, in training for quantisation: the signal passes straight through it.

    That is the straight-through estimator (Bengio et al. 2013), by which such nets are trained.
    """

    moves = False

    @property
    def status(self) -> Status:
        """Rounding has no useful derivative."""
        return "generalised"
