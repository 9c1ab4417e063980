"""The strongest pictures of many channels, kept as arrays, and their merge: pure, the same in any order.

Each channel has at most one entry per picture, the position of that picture's maximum. Entries are ordered by score, strongest
first, and equal ones by picture number; so the k best of any parts, merged in any order, are the k best of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

#: The picture number of an empty entry; larger than any picture's.
EMPTY = np.iinfo(np.int64).max

Rows: TypeAlias = "npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice"


@dataclass(eq=False)
class TopK:
    """The best entries of C channels, strongest first.

    Attributes:
        scores: (C, k) float32; -inf for empty entries, which come last.
        pictures: (C, k) int64, picture numbers; `EMPTY` for empty entries.
        positions: (C, k) int32, row * W' + col in the map; -1 for empty entries.
    """

    scores: npt.NDArray[np.float32]
    pictures: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int32]

    @classmethod
    def empty(cls, channels: int, count: int) -> TopK:
        """Return a table of empty entries."""
        shape = (channels, count)
        return cls(np.full(shape, -np.inf, np.float32), np.full(shape, EMPTY), np.full(shape, -1, np.int32))

    @property
    def floor(self) -> npt.NDArray[np.float32]:
        """(C,): each channel's weakest score; -inf while the channel has empty entries."""
        return self.scores[:, -1]

    def add(self, scores: npt.NDArray[np.float32], pictures: npt.NDArray[np.int64], positions: npt.NDArray[np.int32]) -> None:
        """Merge the entries of B more pictures.

        Args:
            scores: (C, B); -inf and NaN are no entries.
            pictures: (B,) their numbers.
            positions: (C, B).
        """
        rows = np.flatnonzero((scores >= self.floor[:, None]).any(1) & (scores > -np.inf).any(1))
        changing = scores[rows]
        entries = changing > -np.inf
        new = TopK(
            np.where(entries, changing, -np.inf).astype(np.float32),
            np.where(entries, pictures, EMPTY),
            np.where(entries, positions[rows], -1).astype(np.int32),
        )
        self.put(rows, merge(self.rows(rows), new))

    def rows(self, rows: Rows) -> TopK:
        """Return the entries of some channels."""
        return TopK(self.scores[rows], self.pictures[rows], self.positions[rows])

    def put(self, rows: Rows, other: TopK) -> None:
        """Replace the entries of some channels."""
        self.scores[rows], self.pictures[rows], self.positions[rows] = other.scores, other.pictures, other.positions


def merge(first: TopK, second: TopK) -> TopK:
    """Return the best entries of both, as many per channel as `first` has: (C, k) and (C, B) -> (C, k)."""
    scores = np.concatenate([first.scores, second.scores], 1)
    pictures = np.concatenate([first.pictures, second.pictures], 1)
    order = np.lexsort((pictures, -scores), axis=1)[:, : first.scores.shape[1]]
    positions = np.concatenate([first.positions, second.positions], 1)
    return TopK(*(np.take_along_axis(values, order, 1) for values in (scores, pictures, positions)))
