"""Recurrent layers and cells: the signal goes back through time, the gates of this picture held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..axes import Axes, default_axes
from ..batch_axis import MIXES, BatchAxis
from .base import Rule, Signals, Status
from .call import CallContext, Saved, UnsupportedCall, per_image
from .recurrent_step import Direction, State, Step

R = TypeVar("R", bound=Saved)

#: The matrices of each layer, of each of its directions.
Layers: TypeAlias = "tuple[tuple[Direction, ...], ...]"


@dataclass(frozen=True)
class Recurring(Rule[R]):
    """A recurrent layer or cell, by its step."""

    step: Step
    mask: bool = False
    rectify: bool = True

    @property
    def status(self) -> Status:
        """Gates are held."""
        return self.step.status

    @property
    def needs_values(self) -> bool:
        """Derivatives are saved only when asked for."""
        return self.mask

    def back(self, signal: State, gates: Tensor | None, slopes: Tensor | None) -> tuple[Tensor, Tensor, State]:
        """Carry signals of a state back through one step, to before the weights of its candidate and to the state before."""
        held = () if gates is None else gates.to(signal[0].dtype).chunk(self.step.gates, -1)
        derivatives: Any = (None,) * self.step.activations
        if slopes is not None and self.mask:
            derivatives = slopes.to(signal[0].dtype).chunk(self.step.activations, -1)
        return self.step.down(signal, held, derivatives, self._through)

    def _through(self, signal: Tensor, slope: Tensor | None) -> Tensor:
        """Pass an activation, as the two bits say."""
        if self.rectify:
            signal = signal.clamp(min=0)
        return signal if slope is None else signal * slope


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedRecurrent(Saved):
    """The gates of all layers and times, with time and images on the input's axes: (..., layers x directions x gates x H)."""

    gates: Tensor | None = per_image()
    slopes: Tensor | None = per_image()  # the derivatives of the other activations, if the mask bit asks for them
    layers: Layers = ()
    time: int = 0  # the axis of time; the other one of the first two has the images
    output: torch.Size
    reads: tuple[bool, ...] = ()  # which of the input, h0 and c0 descend from the image
    above: BatchAxis  # where the images are in the output
    states_above: BatchAxis  # and in the last states


@dataclass(frozen=True)
class Recurrent(Recurring[SavedRecurrent]):
    """nn.LSTM, nn.GRU, nn.RNN: any number of layers, in both directions, an LSTM's states projected or not."""

    def run(
        self,
        call: CallContext,
        input: Tensor,
        hx: Any,
        params: Any,
        has_biases: Any,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool | None = None,
    ) -> tuple[Any, SavedRecurrent]:
        """Save the gates, worked out as torch's documentation says."""
        if batch_first is None or not isinstance(has_biases, bool):
            raise UnsupportedCall("its input is a packed sequence: give one of a fixed length")
        if input.dim() != 3 or not call.descends(input):
            raise UnsupportedCall(MIXES)
        initial, images, time = _states(hx), 0 if batch_first else 1, 1 if batch_first else 0
        batch = call.batch_axis(input)
        states_above = BatchAxis(1, batch.outer, batch.inner)
        if batch.axis != images or any(call.descends(state) and call.batch_axis(state) != states_above for state in initial):
            raise UnsupportedCall(MIXES)
        if train and dropout:
            raise UnsupportedCall("it drops values at random even in eval mode")
        output = call()
        if images == 0 and output[0].shape == initial[0].shape:
            raise UnsupportedCall("of one step, its output and its last state cannot be told apart: they have the same size")
        layers = _matrices(call, params, has_biases, num_layers, 2 if bidirectional else 1)
        gates, slopes = _sweep_up(self.step, input.movedim(time, 0), initial, layers)
        return output, SavedRecurrent(
            size=input.shape,
            gates=None if gates is None else gates.movedim(0, time),
            slopes=slopes.movedim(0, time) if self.mask else None,
            layers=layers,
            time=time,
            output=output[0].shape,
            reads=tuple(call.descends(tensor) for tensor in (input, *initial)),
            above=batch,
            states_above=states_above,
        )

    def axes(self, saved: SavedRecurrent, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """The input's, of the output; the last states have no places."""
        return axes[0] if tuple(shape) == saved.output else default_axes(shape)

    def batch(self, saved: SavedRecurrent, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The input's, of the output; the second axis of the last states."""
        return saved.above if tuple(shape) == saved.output else saved.states_above

    def mirror(self, saved: SavedRecurrent, signal: Any) -> Signals:
        """(output, last states) -> (input, first states), None for those that do not descend from the image."""
        output, *states = signal if isinstance(signal, tuple) else (signal,)
        above = (saved.above, *[saved.states_above] * len(states))
        like, axis = next((part, axis) for part, axis in zip((output, *states), above, strict=True) if part is not None)
        return _for_inputs(saved.reads, _sweep_down(self, saved, output, states, like, like.shape[axis.axis]))


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedCell(Saved):
    """The gates of one step, (N, gates x H), and its matrices."""

    gates: Tensor | None = per_image()
    slopes: Tensor | None = per_image()
    matrices: Direction
    reads: tuple[bool, ...] = ()  # which of the input, h and c descend from the image


@dataclass(frozen=True)
class RecurrentCell(Recurring[SavedCell]):
    """nn.LSTMCell, nn.GRUCell, nn.RNNCell: one step."""

    def run(
        self,
        call: CallContext,
        input: Tensor,
        hx: Any,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> tuple[Any, SavedCell]:
        """Save the step's gates."""
        states = _states(hx)
        from_image = [tensor for tensor in (input, *states) if call.descends(tensor)]
        if input.dim() != 2 or not from_image or any(call.batch_axis(tensor).axis for tensor in from_image):
            raise UnsupportedCall(MIXES)
        if len({call.batch_axis(tensor) for tensor in from_image}) != 1 or len({len(part) for part in (input, *states)}) != 1:
            raise UnsupportedCall(MIXES)
        biases = (None, None) if b_ih is None or b_hh is None else (call.as_used(b_ih), call.as_used(b_hh))
        matrices = Direction(call.as_used(w_ih), call.as_used(w_hh), biases, None)
        _, gates, slopes = self.step.up(F.linear(input, w_ih, b_ih), F.linear(states[0], w_hh, b_hh), states)
        return call(), SavedCell(
            size=from_image[0].shape,
            gates=torch.cat(gates, -1) if gates else None,
            slopes=torch.cat(slopes, -1) if self.mask else None,
            matrices=matrices,
            reads=tuple(call.descends(tensor) for tensor in (input, *states)),
        )

    def batch(self, saved: SavedCell, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The first axis, with what is folded into it."""
        return batches[0]

    def mirror(self, saved: SavedCell, signal: Any) -> Signals:
        """(h', c') -> (input, h, c), None for those that do not descend from the image."""
        parts = signal if isinstance(signal, tuple) else (signal,)
        arrived = next(part for part in parts if part is not None)
        state = tuple(torch.zeros_like(arrived) if part is None else part for part in parts)
        below, before, kept = self.back(state, saved.gates, saved.slopes)
        to_input, to_hidden = saved.matrices.candidate(self.step, arrived)
        return _for_inputs(saved.reads, (below @ to_input, kept[0] + before @ to_hidden, *kept[1:]))


def _states(hx: Any) -> State:
    """Return (h,), or of an LSTM (h, c)."""
    return (hx,) if isinstance(hx, Tensor) else tuple(hx)


def _for_inputs(reads: Sequence[bool], below: Sequence[Tensor]) -> Signals:
    """Return the signals of what descends from the image."""
    parts = [part for part, is_read in zip(below, reads, strict=True) if is_read]
    return parts[0] if len(parts) == 1 else tuple(parts)


def _matrices(call: CallContext, params: Sequence[Tensor], has_biases: bool, layers: int, ways: int) -> Layers:
    """Return the matrices of each direction of each layer, from torch's flat list of them."""
    each, directions = len(params) // (layers * ways), []
    for first in range(0, len(params), each):
        below, before, *rest = (call.as_used(tensor) for tensor in params[first : first + each])
        biases = (rest[0], rest[1]) if has_biases else (None, None)
        directions.append(Direction(below, before, biases, rest[-1] if len(rest) in (1, 3) else None))
    return tuple(tuple(directions[layer * ways : (layer + 1) * ways]) for layer in range(layers))


def _times(length: int, way: int) -> list[int]:
    """Return the places of a sequence in the order in which a direction reads them: the second one reads backwards."""
    return list(range(length))[:: -1 if way else 1]


def _sweep_up(step: Step, input: Tensor, initial: State, layers: Layers) -> tuple[Tensor | None, Tensor]:
    """Return the gates and the derivatives of a whole sequence (L, N, F): (L, N, layers x directions x number x H)."""
    gates, slopes = [], []
    for number, layer in enumerate(layers):
        outputs = []
        for way, matrices in enumerate(layer):
            place = number * len(layer) + way
            hidden, *kept = _one_way_up(step, input, tuple(state[place] for state in initial), matrices, way)
            outputs.append(hidden)
            gates += [kept[0]] if step.gates else []
            slopes.append(kept[1])
        input = torch.cat(outputs, -1)
    return torch.cat(gates, -1) if gates else None, torch.cat(slopes, -1)


def _one_way_up(step: Step, input: Tensor, state: State, matrices: Direction, way: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the hidden states, gates and derivatives of one layer in one direction, each (L, N, ...)."""
    below = F.linear(input, matrices.below, matrices.biases[0])
    made: list[tuple[Tensor, Tensor, Tensor]] = [(input, input, input)] * len(input)
    for time in _times(len(input), way):
        state, gates, slopes = step.up(below[time], F.linear(state[0], matrices.before, matrices.biases[1]), state)
        if matrices.projection is not None:
            state = (F.linear(state[0], matrices.projection), *state[1:])
        made[time] = state[0], torch.cat(gates, -1) if gates else state[0], torch.cat(slopes, -1)
    hidden, all_gates, all_slopes = (torch.stack(parts) for parts in zip(*made, strict=True))
    return hidden, all_gates, all_slopes


def _sweep_down(
    rule: Recurrent, saved: SavedRecurrent, output: Tensor | None, states: Sequence[Tensor | None], like: Tensor, rows: int
) -> list[Tensor]:
    """Carry signals of the output and of the last states down all layers: to the input, and to each of the first states."""
    ways, length = len(saved.layers[0]), saved.size[saved.time]
    shape = (length, rows, saved.output[-1])
    signal = like.new_zeros(shape) if output is None else output.movedim(saved.time, 0)
    first: list[list[Tensor]] = [[] for _ in states]
    for number in reversed(range(len(saved.layers))):
        below: Tensor | None = None
        by_way = signal.chunk(ways, -1)
        for way in reversed(range(ways)):
            place = number * ways + way
            matrices = saved.layers[number][way]
            arrived = [None if state is None else state[place] for state in states]
            part, carried = _one_way_down(rule, saved, by_way[way], arrived, matrices, place, way)
            below = part if below is None else below + part
            for parts, state in zip(first, carried, strict=True):
                parts.insert(0, state)
        assert below is not None  # for the types: there is at least one direction
        signal = below
    return [signal.movedim(0, saved.time), *(torch.stack(parts) for parts in first)]


def _one_way_down(
    rule: Recurrent,
    saved: SavedRecurrent,
    signal: Tensor,
    arrived: Sequence[Tensor | None],
    matrices: Direction,
    place: int,
    way: int,
) -> tuple[Tensor, State]:
    """Carry signals (L, K, H') of one layer in one direction back through time: to its input, and to its first states."""
    number = len(saved.layers) * len(saved.layers[0])
    gates, slopes = (
        None if kept is None else kept.movedim(saved.time, 0).chunk(number, -1)[place] for kept in (saved.gates, saved.slopes)
    )
    to_input, to_hidden = matrices.candidate(rule.step, signal)
    # the state's numbers before it is projected, for what nothing arrives at
    empty = (signal.new_zeros(signal.shape[1:]), *[signal.new_zeros(signal.shape[1], to_input.shape[0])] * (len(arrived) - 1))
    state: State = tuple(none if part is None else part for part, none in zip(arrived, empty, strict=True))
    below = [signal] * len(signal)
    for time in reversed(_times(len(signal), way)):
        hidden = state[0] + signal[time]
        if matrices.projection is not None:
            hidden = hidden @ matrices.projection.to(signal.dtype)
        below[time], before, kept = rule.back(
            (hidden, *state[1:]), None if gates is None else gates[time], None if slopes is None else slopes[time]
        )
        state = (kept[0] + before @ to_hidden, *kept[1:])
    return torch.stack(below) @ to_input, state
