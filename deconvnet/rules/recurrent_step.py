"""The steps of recurrent layers: what one makes of the input and of the state before, and how a signal goes back through it.

A gate - a sigmoid - is held here as everywhere: it scales the signal, and takes none. What remains of a step is linear but for
its tanh (or ReLU), which is mirrored as any activation is: rectified, and multiplied by its derivative where the mask bit asks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor

from .base import Status

#: A state: (h,), of an LSTM (h, c); or the signals that go to it. Each is (N, H).
State: TypeAlias = "tuple[Tensor, ...]"

#: How a signal passes an activation whose derivative here is given, where it was saved.
Pass: TypeAlias = "Callable[[Tensor, Tensor | None], Tensor]"


class Step(ABC):
    """One kind of step: from what the weights make of the input and of the hidden state to the next state, and back.

    Attributes:
        blocks: how many blocks of rows, of H each, the weight matrices have.
        candidate: which of the blocks of rows of the weight matrices makes what is no gate: the signal goes through it alone.
        gates: how many gates there are.
        activations: how many activations are not gates.
    """

    blocks: int
    candidate: int
    gates: int
    activations: int
    status: Status = "held"

    @abstractmethod
    def up(self, below: Tensor, before: Tensor, state: State) -> tuple[State, State, State]:
        """Return the next state, the gates, and the derivatives of the other activations, each (N, H)."""

    @abstractmethod
    def down(self, signal: State, gates: State, slopes: State, through: Pass) -> tuple[Tensor, Tensor, State]:
        """Return signals before the candidate's weights, of the input and of the hidden state, and what goes to the state."""


class LSTMStep(Step):
    """c' = f c + i tanh(...), h' = o tanh(c')."""

    blocks, candidate, gates, activations = 4, 2, 3, 2

    def up(self, below: Tensor, before: Tensor, state: State) -> tuple[State, State, State]:
        """Blocks of rows are i, f, the candidate, o."""
        i, f, candidate, o = (below + before).chunk(4, -1)
        i, f, o, candidate = i.sigmoid(), f.sigmoid(), o.sigmoid(), candidate.tanh()
        cell = f * state[1] + i * candidate
        squashed = cell.tanh()
        return (o * squashed, cell), (i, f, o), (1 - candidate**2, 1 - squashed**2)

    def down(self, signal: State, gates: State, slopes: State, through: Pass) -> tuple[Tensor, Tensor, State]:
        """The cell takes what the output gate lets through, and passes it on by the input and the forget gate."""
        i, f, o = gates
        cell = signal[1] + through(signal[0] * o, slopes[1])
        candidate = through(cell * i, slopes[0])
        return candidate, candidate, (cell.new_zeros(()), cell * f)


class GRUStep(Step):
    """h' = (1 - z) tanh(W x + r U h) + z h."""

    blocks, candidate, gates, activations = 3, 2, 2, 1

    def up(self, below: Tensor, before: Tensor, state: State) -> tuple[State, State, State]:
        """Blocks of rows are r, z, the candidate."""
        (r, z, n), (r_before, z_before, n_before) = below.chunk(3, -1), before.chunk(3, -1)
        r, z = (r + r_before).sigmoid(), (z + z_before).sigmoid()
        candidate = (n + r * n_before).tanh()
        return ((1 - z) * candidate + z * state[0],), (r, z), (1 - candidate**2,)

    def down(self, signal: State, gates: State, slopes: State, through: Pass) -> tuple[Tensor, Tensor, State]:
        """The update gate parts the signal between the candidate and the state before."""
        r, z = gates
        candidate = through(signal[0] * (1 - z), slopes[0])
        return candidate, candidate * r, (signal[0] * z,)


@dataclass(frozen=True)
class PlainStep(Step):
    """h' = tanh(W x + U h), or ReLU: without gates."""

    is_relu: bool = False

    blocks, candidate, gates, activations = 1, 0, 0, 1
    status: Status = "generalised"

    def up(self, below: Tensor, before: Tensor, state: State) -> tuple[State, State, State]:
        """There is one block of rows."""
        after = F.relu(below + before) if self.is_relu else (below + before).tanh()
        return (after,), (), ((after > 0).to(after.dtype) if self.is_relu else 1 - after**2,)

    def down(self, signal: State, gates: State, slopes: State, through: Pass) -> tuple[Tensor, Tensor, State]:
        """Through the activation."""
        candidate = through(signal[0], slopes[0])
        return candidate, candidate, (candidate.new_zeros(()),)


@dataclass(frozen=True)
class Direction:
    """The matrices of one layer in one direction of time.

    Attributes:
        below: of the input, (blocks x H, F).
        before: of the hidden state, (blocks x H, H'); H' is H, or less where the state is projected.
        biases: of both; None where there are none.
        projection: (H', H), of an LSTM's state; None where it is not projected.
    """

    below: Tensor
    before: Tensor
    biases: tuple[Tensor, Tensor] | tuple[None, None]
    projection: Tensor | None

    def candidate(self, step: Step, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of both matrices, (H, F) and (H, H'), that a signal goes through, in its type."""
        first, last = (step.candidate + place for place in (0, 1))
        width = self.below.shape[0] // step.blocks
        below, before = (matrix[first * width : last * width].to(like.dtype) for matrix in (self.below, self.before))
        return below, before
