"""Maxima and minima over axes, or of two values: the one that wins takes the signal, as a max pool's switches have it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from ..axes import Axes, default_axes
from ..batch_axis import MIXES, BatchAxis
from ..units import Window
from .arithmetic import Pairwise, SavedOperands, image_operands, sum_to
from .base import Rule, Signals, Status, Windows, check_only_first
from .call import CallContext, Saved, UnsupportedCall, per_image

#: What an operand is to a call that chooses between two values.
Role: TypeAlias = Literal["first", "second", "condition"]


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedReduction(Saved):
    """The axes that went, whether they were left with a length of 1, and where along them the winner stood."""

    axes: tuple[int, ...]
    keepdim: bool
    indices: Tensor = per_image()  # (N, ..., 1): in the axes that went, flattened at the end


@dataclass(frozen=True)
class Reduction(Rule[SavedReduction]):
    """amax and amin over some axes, max and min over one: global max pooling. The first of equal values wins."""

    largest: bool = True
    saves_like_input: ClassVar[bool] = False

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, SavedReduction]:
        """Save where the winners stand."""
        check_only_first(call)
        axes, keepdim = _reduced_axes(input, *args, **kwargs)
        below = call.batch_axis(input)
        rest = [axis for axis in range(input.dim()) if axis not in axes]
        if below.axis in axes or not axes:
            raise UnsupportedCall(MIXES)
        output = call()
        flat = _flattened(input, axes)
        indices = (flat.argmax(-1, keepdim=True) if self.largest else flat.argmin(-1, keepdim=True)).to(torch.int32)
        batch = dataclasses.replace(below, axis=rest.index(below.axis))
        return output, SavedReduction(size=input.shape, batch=batch, axes=axes, keepdim=keepdim, indices=indices)

    def axes(self, saved: SavedReduction, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """The same axes where none has gone."""
        return axes[0] if saved.keepdim else default_axes(shape)

    def batch(self, saved: SavedReduction, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The same axis, among those that are left."""
        return batches[0] if saved.keepdim else saved.batch

    def mirror(self, saved: SavedReduction, signal: Any) -> Signals:
        """(K, ...) -> (K, *input): each value at its winner, zero elsewhere."""
        values = signal[0] if isinstance(signal, tuple) else signal  # of (values, indices), values take a signal
        values = (values.squeeze(saved.axes) if saved.keepdim else values).unsqueeze(-1)
        rest = [axis for axis in range(len(saved.size)) if axis not in saved.axes]
        lengths = [saved.size[axis] for axis in saved.axes]
        below = values.new_zeros((*values.shape[:-1], torch.Size(lengths).numel()))
        below.scatter_(-1, saved.indices.long().expand_as(values), values)
        below = below.unflatten(-1, lengths)
        result: Tensor = below.permute([([*rest, *saved.axes]).index(axis) for axis in range(len(saved.size))])
        return result


def _reduced_axes(
    input: Tensor, dim: Any = (), keepdim: bool = False, *, axis: Any = None, out: Any = None
) -> tuple[tuple[int, ...], bool]:
    """Return the axes that a call of amax or max reduces, and whether it keeps them."""
    if out is not None:
        raise UnsupportedCall("it writes into out=")
    dim = dim if axis is None else axis
    axes = tuple(dim) if isinstance(dim, (tuple, list, torch.Size)) else (dim,)
    return tuple(sorted({number % input.dim() for number in axes})), keepdim


def _flattened(input: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return a tensor with some axes flattened into a last one."""
    rest = [axis for axis in range(input.dim()) if axis not in axes]
    return input.permute([*rest, *axes]).flatten(len(rest))


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedChoice(SavedOperands):
    """Where the first value won, in the output's shape; and for each operand that descends from the image what it is."""

    roles: tuple[Role, ...]
    first_wins: Tensor = per_image()


class Choice(Pairwise[SavedChoice]):
    """A call that takes each number from one of two values: the signal goes where the number came from."""

    saves_like_input: ClassVar[bool] = False  # the first input may be the condition

    def choose(self, call: CallContext, operands: dict[Role, Any], first_wins: Tensor) -> tuple[Any, SavedChoice]:
        """Make the call; save which value won. `operands` are in the order of the call's arguments."""
        values = image_operands(call, operands["first"], operands["second"])
        descending: dict[Role, Tensor] = {role: operand for role, operand in operands.items() if call.descends(operand)}
        sizes = tuple(operand.shape for operand in descending.values())
        output = call()
        saved = SavedChoice(
            size=sizes[0],
            batch=call.batch_axis(values[0]),
            output=output.shape,
            sizes=sizes,
            roles=tuple(descending),
            held=tuple(role == "condition" for role in descending),
            first_wins=torch.broadcast_to(first_wins, output.shape).clone(),
        )
        return output, saved

    def axes(self, saved: SavedChoice, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """Those of the values; the condition has them, or is broadcast."""
        return next(part for part, role in zip(axes, saved.roles, strict=True) if role != "condition")

    def batch(self, saved: SavedChoice, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """Where the values have them."""
        return saved.batch

    def mirror(self, saved: SavedChoice, signal: Tensor) -> Signals:
        """(K, ...) -> one (K, ...) for each operand that descends from the image, None for a condition."""
        parts: list[Tensor | None] = []
        for role, size in zip(saved.roles, saved.sizes, strict=True):
            wins = saved.first_wins if role == "first" else ~saved.first_wins
            parts.append(None if role == "condition" else sum_to(signal * wins, size, saved.batch.axis))
        return tuple(parts)

    def keeps_positions(self, saved: SavedChoice, window: Window) -> bool:
        """Where nothing was broadcast along rows or columns."""
        return True


@dataclass(frozen=True)
class Extreme(Choice):
    """maximum and minimum of two values, as in maxout and in max-feature-maps. Of equal numbers the first wins.

    With a constant, such as zero, it is a rectifier, and mirrored as one.
    """

    largest: bool = True
    mask: bool = False
    rectify: bool = True

    def run(self, call: CallContext, input: Any, other: Any, *, out: Tensor | None = None) -> tuple[Any, SavedChoice]:
        """Save which of the two is larger."""
        if out is not None:
            raise UnsupportedCall("it writes into out=")
        output, saved = self.choose(call, {"first": input, "second": other}, input >= other if self.largest else input <= other)
        return output, saved if len(saved.roles) == 2 else dataclasses.replace(saved, status="generalised")

    def mirror(self, saved: SavedChoice, signal: Tensor) -> Signals:
        """(K, ...) -> one (K, ...) for each operand that descends from the image."""
        if len(saved.roles) == 2:
            return super().mirror(saved, signal)
        signal = signal.clamp(min=0) if self.rectify else signal
        return super().mirror(saved, signal) if self.mask else (sum_to(signal, saved.sizes[0], saved.batch.axis),)


class Conditional(Choice):
    """A choice by a condition, which is held."""

    @property
    def status(self) -> Status:
        """What the condition was is taken as a constant."""
        return "held"


class Where(Conditional):
    """where(condition, a, b)."""

    def run(  # type: ignore[override]
        self, call: CallContext, condition: Tensor, input: Any = None, other: Any = None
    ) -> tuple[Any, SavedChoice]:
        """Save the condition."""
        if input is None or other is None:
            raise UnsupportedCall("it returns places, which carry no signal")
        return self.choose(call, {"condition": condition, "first": input, "second": other}, condition)


class MaskedFill(Conditional):
    """masked_fill: what was filled takes no signal."""

    def run(self, call: CallContext, input: Tensor, mask: Tensor, value: Any) -> tuple[Any, SavedChoice]:
        """Save the mask."""
        return self.choose(call, {"first": input, "condition": mask, "second": value}, ~mask)


@dataclass(frozen=True)
class ExtremeOrReduction(Rule[Any]):
    """torch.max and torch.min, which take a second value or an axis."""

    largest: bool = True
    mask: bool = False
    rectify: bool = True
    saves_like_input: ClassVar[bool] = False

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Saved]:
        """Ask the rule of the one or of the other."""
        has_two = isinstance(kwargs.get("other", args[0] if args else None), Tensor)
        rule: Rule[Any] = self._extreme() if has_two else Reduction(self.largest)
        return rule.run(call, input, *args, **kwargs)

    def mirror(self, saved: Saved, signal: Any) -> Signals:
        """As the rule that ran."""
        return self._rule(saved).mirror(saved, signal)

    def window(self, saved: Saved, window: Window) -> Windows:
        """As the rule that ran."""
        return self._rule(saved).window(saved, window)

    def axes(self, saved: Saved, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """As the rule that ran."""
        return self._rule(saved).axes(saved, axes, shape)

    def keeps_positions(self, saved: Saved, window: Window) -> bool:
        """As the rule that ran."""
        return self._rule(saved).keeps_positions(saved, window)

    def batch(self, saved: Saved, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """As the rule that ran."""
        return self._rule(saved).batch(saved, batches, shape)

    def _rule(self, saved: Saved) -> Rule[Any]:
        return self._extreme() if isinstance(saved, SavedChoice) else Reduction(self.largest)

    def _extreme(self) -> Extreme:
        return Extreme(self.largest, self.mask, self.rectify)
