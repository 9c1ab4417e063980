"""Calls that repeat values: the signal of all copies adds up. Images may be repeated too, as a query of all windows is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..axes import default_axes
from ..batch_axis import MIXES
from .arithmetic import sum_to
from .base import Adjoint, SavedAdjoint, Signals, check_only_first, numbers_in
from .call import CallContext, UnsupportedCall
from .shape import Reshape, SavedReshape


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedExpansion(SavedReshape):
    """How many axes come before the input's."""

    new_axes: int


class Expand(Reshape):
    """expand, expand_as, broadcast_to: the signal is summed where the value was repeated."""

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, SavedExpansion]:
        """Save the size; refuse to expand the axis of the images, which is no repetition of several."""
        output, below = call(), call.batch_axis(input)
        new_axes = output.dim() - input.dim()
        above = dataclasses.replace(below, axis=below.axis + new_axes)
        if output.shape[above.axis] != input.shape[below.axis]:
            raise UnsupportedCall(MIXES)
        keeps_rows = input.dim() >= 4 and input.shape[-2:] == output.shape[-2:] and above.is_first
        return output, SavedExpansion(
            size=input.shape,
            takes_signal=(True,) * call.descends(input) + (False,) * (call.input_count - call.descends(input)),
            keeps_rows=keeps_rows and call.axes(input)[1:] == default_axes(input.shape)[1:],
            above=above,
            new_axes=new_axes,
        )

    def mirror(self, saved: SavedReshape, signal: Tensor) -> Signals:
        """(K, *output) -> (K, *input)."""
        assert isinstance(saved, SavedExpansion)
        alone = signal.sum(tuple(range(saved.new_axes))) if saved.new_axes else signal
        signals: Signals = self.for_inputs(saved, sum_to(alone, saved.size, saved.batch.axis), None)
        return signals


class Repeat(Adjoint):
    """repeat, tile: copies of the whole, one after the other, along any axis."""

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, SavedAdjoint]:
        """Save where the images are: copies of all of them are counted before them."""
        check_only_first(call)
        repeats = numbers_in([*args, *kwargs.values()])
        repeats = [1] * (input.dim() - len(repeats)) + repeats  # tile may leave out the first ones
        below = call.batch_axis(input)
        axis = below.axis + len(repeats) - input.dim()
        above = dataclasses.replace(below, axis=axis, outer=below.outer * repeats[axis])
        return call(), SavedAdjoint(size=input.shape, func=call.func, args=args, kwargs=kwargs, above=above)


class RepeatInterleave(Adjoint):
    """repeat_interleave: copies of each part, side by side."""

    def run(
        self, call: CallContext, input: Tensor, repeats: Any, dim: int | None = None, *, output_size: int | None = None
    ) -> tuple[Any, SavedAdjoint]:
        """Save where the images are: copies of each are counted within them."""
        below = call.batch_axis(input)
        if dim is None or dim % input.dim() != below.axis or not isinstance(repeats, int):
            return super().run(call, input, repeats, dim, output_size=output_size)
        check_only_first(call)
        above = dataclasses.replace(below, inner=below.inner * repeats)
        return call(), SavedAdjoint(size=input.shape, func=call.func, args=(repeats, dim), above=above)
