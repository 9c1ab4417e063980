"""A bounded series: of whatever comes, so many items are held, evenly from the first to the newest."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Rows(Generic[T]):
    """Holds the items whose number a power of two divides, and the newest; the power doubles when there are too many.

    Args:
        most: how many items are held at most, 2 or more.
    """

    def __init__(self, most: int) -> None:
        self._most, self._stride = most, 1
        self._held: list[tuple[int, int, T]] = []  # number among all, step, item

    def add(self, step: int, item: T) -> None:
        """Add the newest item; one of the same step as the newest before takes its place."""
        before = [held for held in self._held if held[1] != step]
        newest = (before[-1][0] + 1 if before else 0, step, item)
        held = [*(held for held in before if held[0] % self._stride == 0), newest]
        if len(held) > self._most:
            self._stride *= 2
            held = [held for held in held if held[0] % self._stride == 0 or held is newest]
        self._held = held

    @property
    def items(self) -> list[T]:
        """The items that are held, in order."""
        return [item for _, _, item in self._held]
