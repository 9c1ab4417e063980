"""Tensors that share memory: which part of one another is, and what a pass wrote to either.

`x[:, 1:] += y`, `F.relu(x[:, :8], inplace=True)`, `a, b = x.chunk(2); a.add_(b)`: such a call writes to one view, and changes
every tensor that looks at the same memory. What was written is noted; where a tensor is read that has been changed that way,
the tape is told how: a part of it was written over, or nothing of it was touched. What is neither, it cannot follow.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

#: Slices and numbers by which a part of a tensor is taken.
Index: TypeAlias = "tuple[slice | int, ...]"


@dataclass(frozen=True)
class Layout:
    """Where in a memory a tensor's elements are: its size, its strides and its first element."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    first: int

    @classmethod
    def of(cls, tensor: Tensor) -> Layout:
        """Return a tensor's layout."""
        return cls(tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))

    def index_of(self, part: Layout) -> Index | None:
        """Return by which index a part is taken of this tensor: `tensor[index]`; None where slices and numbers do not do it."""
        starts = self._place(part.first - self.first)
        return None if starts is None else _match(self, part, starts, 0, 0)

    def _place(self, distance: int) -> tuple[int, ...] | None:
        """Return the place of the element that lies so far behind the first; None where there is none, or elements overlap."""
        starts, reach = [0] * len(self.size), 1
        axes = sorted((axis for axis, length in enumerate(self.size) if length > 1), key=lambda axis: self.strides[axis])
        for axis in axes:
            if self.strides[axis] < reach:
                return None
            reach += (self.size[axis] - 1) * self.strides[axis]
        if distance < 0:
            return None
        for axis in reversed(axes):
            starts[axis], distance = divmod(distance, self.strides[axis])
        is_inside = all(start < length for start, length in zip(starts, self.size, strict=True))
        return tuple(starts) if is_inside and not distance else None


def _match(whole: Layout, part: Layout, starts: tuple[int, ...], axis: int, part_axis: int) -> Index | None:
    """Return the index from an axis on, where the part's axes from `part_axis` on are taken of the whole's in their order."""
    if axis == len(whole.size):
        return () if part_axis == len(part.size) else None
    taken = _slice(whole, part, starts, axis, part_axis) if part_axis < len(part.size) else None
    for item, following in ((taken, part_axis + 1), (starts[axis], part_axis)):
        rest = None if item is None else _match(whole, part, starts, axis + 1, following)
        if rest is not None and item is not None:
            return (item, *rest)
    return None


def _slice(whole: Layout, part: Layout, starts: tuple[int, ...], axis: int, part_axis: int) -> slice | None:
    """Return the slice of one axis of the whole that is one axis of the part."""
    start, count, length = starts[axis], part.size[part_axis], whole.size[axis]
    step = 1
    if count > 1:
        if length == 1 or part.strides[part_axis] < 1 or part.strides[part_axis] % whole.strides[axis]:
            return None
        step = part.strides[part_axis] // whole.strides[axis]
    end = start + (count - 1) * step + 1
    if not count or end > length:
        return None
    return slice(None) if (start, step, count) == (0, 1, length) else slice(start, end, step)


def _numbers(item: slice | int, length: int) -> range:
    return range(item, item + 1) if isinstance(item, int) else range(*item.indices(length))


@dataclass(frozen=True)
class Write:
    """One call that wrote to a tensor in place.

    Attributes:
        layout: of what it wrote to.
        memory: the layout of the tensor that this is a view of, or its own.
        value: the number of what it then was, on the tape.
        before, after: the memory's version before and after the call.
    """

    layout: Layout
    memory: Layout
    value: int
    before: int
    after: int

    def is_apart_from(self, tensor: Tensor) -> bool:
        """Say whether nothing of a tensor was written, as of one half where the other was."""
        written, other = self.memory.index_of(self.layout), self.memory.index_of(Layout.of(tensor))
        if written is None or other is None:
            return False
        return any(
            set(_numbers(first, length)).isdisjoint(_numbers(second, length))
            for first, second, length in zip(written, other, self.memory.size, strict=True)
        )


class Writes:
    """What a pass wrote in place, memory by memory."""

    def __init__(self) -> None:
        # by weak references, which keep a memory's identity from being given to another one
        self._writes: dict[StorageWeakRef, list[Write]] = defaultdict(list)

    def note(self, tensor: Tensor, value: int, before: int) -> None:
        """Note that a call wrote to a tensor, whose memory had the version `before`."""
        memory = Layout.of(tensor if tensor._base is None else tensor._base)
        write = Write(Layout.of(tensor), memory, value, before, tensor._version)
        self._writes[_memory_of(tensor)].append(write)

    def since(self, tensor: Tensor, version: int) -> list[Write] | None:
        """Return what was written to a tensor's memory since a version; None where something was that nobody noted."""
        found = []
        for write in self._writes.get(_memory_of(tensor), ()):
            if write.before == version:
                found.append(write)
                version = write.after
        return found if version == tensor._version else None


def _memory_of(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
