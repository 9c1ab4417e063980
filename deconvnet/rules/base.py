"""What a rule is: how one kind of call is made on the way up, and mirrored on the way down."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..receptive_field import Layout, default_layout
from ..tape import CallContext, Saved, UnsupportedCall, tensors_in
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
    moves = False  # True for a call that only moves values about

    def run(self, asked: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Saved]:
        """Make the call (`asked()`) and return its output and what to keep.

        The arguments are those of the torch function. Raise `UnsupportedCall` *before* making the call where these
        arguments cannot be mirrored.
        """
        check_only_first(asked)
        return asked(), Saved(size=input.shape)

    def mirror(self, kept: Saved, signal: Tensor) -> Any:
        """Carry a signal of the output's shape, (K, ...), back to the input's shape.

        With several inputs that descend from the image: a tuple, one signal for each, in the order of the arguments.
        A call that makes several values gets a tuple of signals, None where nothing arrives.
        """
        raise TypeError(f"{type(self).__name__} says how its call is made, but not how it is mirrored.")

    def window(self, kept: Saved, window: Window) -> Window | tuple[Window | None, ...] | None:
        """Return the part of the input that `window` of the output depends on; None: all of it.

        For several inputs: a tuple, with `NOTHING` for one that no signal goes to.
        """
        return None

    def layout(self, kept: Saved, layouts: Sequence[Layout], shape: Sequence[int]) -> Layout:
        """Return which axes of an output of `shape` are channels, rows, columns; `layouts` are those of the inputs."""
        return default_layout(shape)

    def with_options(self, **options: Any) -> Rule:
        """Return this rule with those of the options that it has."""
        own = {field.name for field in dataclasses.fields(self)}
        return dataclasses.replace(self, **{name: value for name, value in options.items() if name in own})


class Placewise(Rule):
    """A call whose output has the input's axes, each place of which depends on the same place of the input."""

    def window(self, kept: Saved, window: Window) -> Window | tuple[Window | None, ...] | None:
        """The same place."""
        return window

    def layout(self, kept: Saved, layouts: Sequence[Layout], shape: Sequence[int]) -> Layout:
        """The same axes."""
        return layouts[0] if layouts else default_layout(shape)


class Same(Placewise):
    """A call that returns what it got: dropout in eval mode, contiguous, clone."""

    moves = True

    def mirror(self, kept: Saved, signal: Tensor) -> Tensor:
        """(K, ...) -> (K, ...), unchanged."""
        return signal


class Adjoint(Rule):
    """Any call that is linear in its first argument: mirrored by its vector-Jacobian product, which needs sizes only."""

    def run(self, asked: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Saved]:
        """Keep the call's other arguments and the input's size."""
        check_only_first(asked)
        output = asked()
        for tensor in tensors_in(output):
            check_batch(asked, input.shape, tensor.shape)
        return output, Saved(size=input.shape, func=asked.func, args=args, kwargs=kwargs)

    def mirror(self, kept: Saved, signal: Any) -> Tensor:
        """(K, *output) -> (K, *input): the product with the transposed Jacobian at zero."""
        signals = signal if isinstance(signal, tuple) else (signal,)
        arrived = next(part for part in signals if part is not None)
        with torch.enable_grad():
            below = arrived.new_zeros((arrived.shape[0], *kept.size[1:])).requires_grad_()
            above = tuple(tensors_in(kept.func(below, *kept.args, **kept.kwargs)))
            pairs = [(value, part) for value, part in zip(above, signals, strict=True) if part is not None]
            (result,) = torch.autograd.grad([value for value, _ in pairs], below, [part for _, part in pairs])
        return result


def check_batch(asked: CallContext, *shapes: torch.Size) -> None:
    """Refuse a call that does not leave the images of the batch apart, on the first axis."""
    if any(not shape or shape[0] != asked.batch for shape in shapes):
        raise UnsupportedCall("it mixes the images of the batch")


def check_only_first(asked: CallContext) -> None:
    """Refuse a call whose later arguments descend from the image, such as a convolution with computed weights."""
    first = asked.args[0] if asked.args else next(iter(asked.kwargs.values()), None)
    if asked.inputs > 1 or not asked.descends(first):
        raise UnsupportedCall("more than its first argument descends from the image")
