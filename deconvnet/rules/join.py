"""Where branches meet: sums and concatenations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..tape import Asked, Kept, Unmirrorable
from ..units import Window
from .rule import Rule, whole


class Add(Rule):
    """a + alpha b: the signal goes to each summand that descends from the image, summed where it was broadcast."""

    def run(self, asked: Asked, input: Any, other: Any, *, alpha: float = 1, out: Tensor | None = None) -> tuple[Any, Kept]:
        """Keep the summands' sizes and factors."""
        if out is not None:
            raise Unmirrorable("it writes into out=")
        summands = [(part.shape, factor) for part, factor in ((input, 1), (other, alpha)) if asked.descends(part)]
        dims = max(part.dim() for part in (input, other) if isinstance(part, Tensor))
        if any(len(size) != dims or size[0] != asked.batch for size, _ in summands):
            raise Unmirrorable("it mixes the images of the batch")
        output = asked()
        return output, Kept(size=output.shape, summands=summands)

    def mirror(self, kept: Kept, signal: Tensor) -> tuple[Tensor, ...]:
        """(K, ...) -> one (K, ...) for each summand."""
        return tuple(sum_to(signal, size) * factor if factor != 1 else sum_to(signal, size) for size, factor in kept.summands)

    def window(self, kept: Kept, window: Window) -> tuple[Window, ...]:
        """The same place; all of an axis that was broadcast."""
        return tuple(_narrow(window, size, kept.size) for size, _ in kept.summands)


class Cat(Rule):
    """Maps side by side: each part gets its own slice of the signal."""

    def run(
        self, asked: Asked, tensors: Any, dim: int = 0, *, axis: int | None = None, out: Tensor | None = None
    ) -> tuple[Any, Kept]:
        """Keep where each part that descends from the image begins, and its length."""
        dim = (dim if axis is None else axis) % tensors[0].dim()
        if dim == 0 or out is not None:
            raise Unmirrorable("it mixes the images of the batch" if dim == 0 else "it writes into out=")
        slices, start = [], 0
        for part in tensors:
            if asked.descends(part):
                slices.append((start, part.shape[dim]))
            start += part.shape[dim]
        return asked(), Kept(dim=dim, slices=slices, dims=tensors[0].dim())

    def mirror(self, kept: Kept, signal: Tensor) -> tuple[Tensor, ...]:
        """(K, ...) -> one (K, ...) for each part."""
        return tuple(signal.narrow(kept.dim, start, length) for start, length in kept.slices)

    def window(self, kept: Kept, window: Window) -> tuple[Window | None, ...]:
        """The same place, moved by the part's offset where maps are joined along rows or columns."""
        if kept.dims != 4 or kept.dim == 1:
            return (window,) * len(kept.slices)
        return tuple(_part(window, kept.dim, start, length) for start, length in kept.slices)


def sum_to(signal: Tensor, size: torch.Size) -> Tensor:
    """Sum a signal over the axes along which a value of `size` was broadcast, never over the batch axis."""
    axes = [axis for axis in range(1, len(size)) if size[axis] == 1 and signal.shape[axis] != 1]
    return signal.sum(axes, keepdim=True) if axes else signal


def _narrow(window: Window, size: torch.Size, full: torch.Size) -> Window:
    if len(size) != 4:
        return whole(size)
    top, height = (0, 1) if size[2] == 1 != full[2] else (window.top, window.height)
    left, width = (0, 1) if size[3] == 1 != full[3] else (window.left, window.width)
    return Window(top, left, height, width)


def _part(window: Window, dim: int, start: int, length: int) -> Window | None:
    first, size = (window.top, window.height) if dim == 2 else (window.left, window.width)
    low, high = max(first - start, 0), min(first + size - start, length)
    if high <= low:
        return None
    if dim == 2:
        return Window(low, window.left, high - low, window.width)
    return Window(window.top, low, window.height, high - low)
