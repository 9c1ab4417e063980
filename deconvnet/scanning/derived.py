"""Layers whose maxima follow from those of layers below, so that their maps need not be read again.

ReLU keeps a maximum above 0 where it is; maps that are joined keep theirs; a max pool that reaches every position keeps the
maximum, in the first row of windows that has it. In a net of fire modules or inception blocks, joined maps are half of all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ..recording import Recording
from ..rules.switches import SavedMaxPool

Rows: TypeAlias = "npt.NDArray[np.integer]"

#: Calls that equal ReLU to the bit, whichever rule they are mirrored by.
RELU_CALLS = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
JOINING_CALLS = (torch.cat, torch.concat, torch.concatenate)


@dataclass(frozen=True)
class Derived:
    """How a layer's maxima follow from those of others.

    Attributes:
        how: "same": they have the same values; "rectified": by ReLU; "joined": channel after channel; "pooled": by a max pool.
        layers: the others, one but where they are joined.
        pool: kernel, stride and padding along the rows, of a max pool.
    """

    how: Literal["same", "rectified", "joined", "pooled"]
    layers: tuple[str, ...]
    pool: tuple[int, int, int] = (1, 1, 0)

    def first_rows(self, rows: Rows) -> Rows:
        """Return the first row of pooling windows that reaches each of these rows."""
        kernel, stride, padding = self.pool
        return np.maximum(-((kernel - 1 - padding - rows) // stride), 0)


def first_layers(recording: Recording, names: Collection[str]) -> dict[int, str]:
    """Return, for each value of the tape that layers have, the one of them that finishes first."""
    by_value: dict[int, str] = {}
    for name in filter(set(names).__contains__, recording.records()):
        by_value.setdefault(recording.value(name), name)
    return by_value


def find_derived(recording: Recording, name: str, by_value: Mapping[int, str], *, whole: bool = True) -> Derived | None:
    """Say how a layer's maxima follow from those of layers that are scanned as well; None where they do not.

    Args:
        recording: of the whole net.
        name: the layer.
        by_value: the first scanned layer that has each value of the tape.
        whole: whether whole maps are scanned: of parts, only equal ones follow from each other.
    """
    tape, value = recording.tape, recording.value(name)
    if by_value.get(value, name) != name:
        return Derived("same", (by_value[value],))
    call = tape.calls[tape.makers[value]] if value in tape.makers else None
    if call is None or not call.inputs or not all(number in by_value for number in call.inputs):
        return None
    below = tuple(by_value[number] for number in call.inputs)
    if call.func in RELU_CALLS:
        return Derived("rectified", below[:1])
    if not whole or any(recording.axes(other) != recording.axes(name) for other in below):
        return None
    if call.func in JOINING_CALLS and _joins_channels(recording, name, below):
        return Derived("joined", below)
    if isinstance(call.saved, SavedMaxPool) and _reaches_all(call.saved, tape.shapes[value]):
        return Derived("pooled", below[:1], (call.saved.kernel[0], call.saved.stride[0], call.saved.padding[0]))
    return None


def _joins_channels(recording: Recording, name: str, below: Sequence[str]) -> bool:
    """Say whether a layer's maps are all those of others, one after the other."""
    axis = recording.axes(name)[0]
    shape, *parts = (list(recording.tape.shapes[recording.value(layer)]) for layer in (name, *below))
    if axis is None or sum(part[axis] for part in parts) != shape[axis]:
        return False
    return all([*part[:axis], *part[axis + 1 :]] == [*shape[:axis], *shape[axis + 1 :]] for part in parts)


def _reaches_all(saved: SavedMaxPool, shape: torch.Size) -> bool:
    """Say whether every position lies in a pooling window."""
    geometry = zip(saved.size[2:], shape[2:], saved.kernel, saved.stride, saved.padding, strict=True)
    reached = all(kernel >= stride and (out - 1) * stride - pad + kernel >= size for size, out, kernel, stride, pad in geometry)
    return reached and saved.dilation == (1, 1)
