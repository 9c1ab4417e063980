"""Where the images of a batch are in a value: usually its first axis, but a net may move it, or fold it into another axis.

Attention moves it - `permute(2, 0, 3, 1, 4)` of queries, keys and values - and folds it: heads and windows become images of
their own, `reshape(N * heads, ...)`. A signal has K in place of N there; everything else stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

#: A length that no axis of a net has: it shows where an axis goes.
MARK = 1_000_003


@dataclass(frozen=True)
class BatchAxis:
    """The axis that counts images, and what is folded into it: its length is outer x N x inner."""

    axis: int = 0
    outer: int = 1
    inner: int = 1

    @property
    def is_first(self) -> bool:
        """True for torch's convention: the first axis, and nothing else in it."""
        return self.axis == 0 and self.outer == 1 and self.inner == 1

    @property
    def is_folded(self) -> bool:
        """True where something else is in it."""
        return self.outer > 1 or self.inner > 1

    def count(self, size: Sequence[int]) -> int:
        """Return how many images, or signals, a value of `size` has."""
        return size[self.axis] // (self.outer * self.inner)

    def resized(self, size: Sequence[int], count: int) -> tuple[int, ...]:
        """Return `size` with another number of images, or signals."""
        return (*size[: self.axis], self.outer * count * self.inner, *size[self.axis + 1 :])

    def select(self, tensor: Tensor, rows: Tensor) -> Tensor:
        """Return a tensor's parts of some images, in their order."""
        unfolded = tensor.reshape(*tensor.shape[: self.axis], self.outer, -1, self.inner, *tensor.shape[self.axis + 1 :])
        index = rows.to(tensor.device, non_blocking=True)
        if unfolded.shape[self.axis + 1] == 1:
            index = torch.zeros_like(index)  # one that all images share
        return unfolded.index_select(self.axis + 1, index).flatten(self.axis, self.axis + 2)

    def reshaped(self, size: Sequence[int], output: Sequence[int]) -> BatchAxis | None:
        """Return where the images are after a reshape from `size` to `output`; None where they are torn apart."""
        count = self.count(size)
        before = math.prod(size[: self.axis]) * self.outer
        after = self.inner * math.prod(size[self.axis + 1 :])
        places = []
        for axis, length in enumerate(output):
            lead, trail = math.prod(output[:axis]), math.prod(output[axis + 1 :])
            if not lead or not trail or before % lead or after % trail:
                continue
            outer, inner = before // lead, after // trail
            if outer * count * inner == length:
                places.append(BatchAxis(axis, outer, inner))
        # of one image there may be several places: the one with nothing else in it, and nearest to where it was
        return min(places, key=lambda place: (place.outer * place.inner, abs(place.axis - self.axis)), default=None)

    def moved(self, func: Callable[..., Any], size: Sequence[int], args: Any, kwargs: Any) -> BatchAxis | None:
        """Return where the images are in what a call makes that only moves axes or takes parts; None where it touches them."""
        if _tears(func, args, kwargs, len(size)) == self.axis:
            return None  # else a million parts would be made
        marked = torch.empty((*size[: self.axis], MARK, *size[self.axis + 1 :]), device="meta")
        try:
            output = func(marked, *args, **kwargs)
        except (RuntimeError, IndexError, TypeError):
            return None
        shapes = {tuple(tensor.shape) for tensor in (output if isinstance(output, (tuple, list)) else (output,))}
        axes = {shape.index(MARK) if shape.count(MARK) == 1 else -1 for shape in shapes}
        return BatchAxis(axes.pop(), self.outer, self.inner) if len(axes) == 1 and -1 not in axes else None


def _tears(func: Callable[..., Any], args: Any, kwargs: Any, dims: int) -> int | None:
    """Return the axis along which a call takes a value apart, into parts of which there are more where it is longer."""
    place = {"unbind": 0, "split": 1}.get(getattr(func, "__name__", ""))
    if place is None:
        return None
    axis: int = kwargs.get("dim", args[place] if len(args) > place else 0)
    return axis % dims


#: Torch's convention.
FIRST = BatchAxis()
MIXES = "it mixes the images of the batch"
