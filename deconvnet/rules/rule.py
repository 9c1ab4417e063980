"""What a rule is: how one kind of call is made on the way up, and mirrored on the way down."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ..tape import Asked, Kept, Unmirrorable, tensors_in
from ..units import Window

#: What a rule can say of itself, from the strictest to the loosest.
STATUSES = ("exact", "paper", "generalised", "held")


@dataclasses.dataclass(frozen=True)
class Rule:
    """One kind of call: `run` makes it and says what to keep, `mirror` carries a signal back through it.

    Rules hold options, never state. A rule for a call with one input that descends from the image needs nothing more
    than `run` and `mirror`; `window` then means "all of the input".
    """

    status = "exact"
    needs_values = False  # True where `run` keeps activations, not only sizes and switches

    def run(self, asked: Asked, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Kept]:
        """Make the call (`asked()`) and return its output and what to keep.

        The arguments are those of the torch function. Raise `Unmirrorable` *before* making the call where these
        arguments cannot be mirrored.
        """
        check_only_first(asked)
        return asked(), Kept(size=input.shape)

    def mirror(self, kept: Kept, signal: Tensor) -> Any:
        """Carry a signal of the output's shape, (K, ...), back to the input's shape.

        With several inputs that descend from the image: a tuple, one signal for each, in the order of the arguments.
        A call that makes several values gets a tuple of signals, None where nothing arrives.
        """
        raise NoMirrorError(f"{type(self).__name__} says how its call is made, but not how it is mirrored.")

    def window(self, kept: Kept, window: Window) -> Window | tuple[Window | None, ...]:
        """Return the part of the input that `window` of the output depends on (for several inputs: a tuple)."""
        return whole(kept.size)

    def given(self, **options: Any) -> Rule:
        """Return this rule with those of the options that it has."""
        own = {field.name for field in dataclasses.fields(self)}
        return dataclasses.replace(self, **{name: value for name, value in options.items() if name in own})


class NoMirrorError(TypeError):
    """A rule class without a `mirror` method: a fault of the rule, not of its user."""


class Same(Rule):
    """A call that returns what it got, for the net in eval mode: dropout, contiguous, identity."""

    def mirror(self, kept: Kept, signal: Tensor) -> Tensor:
        """(K, ...) -> (K, ...), unchanged."""
        return signal

    def window(self, kept: Kept, window: Window) -> Window:
        """The same place."""
        return window


class Adjoint(Rule):
    """Any call that is linear in its first argument: mirrored by its vector-Jacobian product, which needs sizes only."""

    def run(self, asked: Asked, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Kept]:
        """Keep the call's other arguments and the input's size."""
        check_only_first(asked)
        return asked(), Kept(size=input.shape, func=asked.func, args=args, kwargs=kwargs)

    def mirror(self, kept: Kept, signal: Tensor) -> Tensor:
        """(K, *output) -> (K, *input): the product with the transposed Jacobian at zero."""
        with torch.enable_grad():
            below = signal.new_zeros((signal.shape[0], *kept.size[1:])).requires_grad_()
            above = kept.func(below, *kept.args, **kept.kwargs)
            (result,) = torch.autograd.grad(above, below, signal)
        return result


def whole(size: torch.Size | tuple[int, ...]) -> Window:
    """Return the window of a value's whole frame: (N, C, H, W) -> H x W; other shapes count as 1 x 1."""
    height, width = size[-2:] if len(size) == 4 else (1, 1)
    return Window(0, 0, height, width)


def check_only_first(asked: Asked) -> None:
    """Refuse a call whose later arguments descend from the image, such as a convolution with computed weights."""
    first = asked.args[0] if asked.args else next(iter(asked.kwargs.values()), None)
    if any(asked.descends(tensor) and tensor is not first for tensor in tensors_in((asked.args, asked.kwargs))):
        raise Unmirrorable("more than its first argument descends from the image")
