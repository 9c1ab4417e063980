"""The strongest pictures of many channels, kept as arrays, and their merge: pure, in any order the same.

Each channel has at most one entry a picture, that picture's strongest place. Entries are ordered by score, strongest
first, and among equals by picture number; so the `count` best of any parts, merged in any order, are those of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: The picture number of an empty entry; larger than any picture's.
EMPTY = np.iinfo(np.int64).max

Rows = npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice


@dataclass
class TopK:
    """The best entries of C channels, strongest first: scores (C, k) float32, pictures int64, places int32 (row * W' + col).

    Empty entries come last: score -inf, picture `EMPTY`, place -1.
    """

    scores: npt.NDArray[np.float32]
    pictures: npt.NDArray[np.int64]
    places: npt.NDArray[np.int32]

    @classmethod
    def empty(cls, channels: int, count: int) -> TopK:
        """Return a table without entries."""
        shape = (channels, count)
        return cls(np.full(shape, -np.inf, np.float32), np.full(shape, EMPTY), np.full(shape, -1, np.int32))

    @property
    def floor(self) -> npt.NDArray[np.float32]:
        """(C,): the weakest score of each channel that is still in; -inf while places are free."""
        return self.scores[:, -1]

    def add(self, scores: npt.NDArray[np.float32], pictures: npt.NDArray[np.int64], places: npt.NDArray[np.int32]) -> None:
        """Merge entries of B more pictures: scores and places (C, B), pictures (B,); -inf is no entry, and a NaN is none."""
        rows = np.flatnonzero((scores >= self.floor[:, None]).any(1) & (scores > -np.inf).any(1))
        some = scores[rows]
        entries = some > -np.inf
        new = TopK(
            np.where(entries, some, -np.inf).astype(np.float32),
            np.where(entries, pictures, EMPTY),
            np.where(entries, places[rows], -1).astype(np.int32),
        )
        self.put(rows, merge(self.rows(rows), new))

    def rows(self, rows: Rows) -> TopK:
        """Return some channels' entries."""
        return TopK(self.scores[rows], self.pictures[rows], self.places[rows])

    def put(self, rows: Rows, other: TopK) -> None:
        """Replace some channels' entries."""
        self.scores[rows], self.pictures[rows], self.places[rows] = other.scores, other.pictures, other.places


def merge(one: TopK, other: TopK) -> TopK:
    """Return the best of both, as many a channel as `one` has: (C, k) and (C, B) -> (C, k)."""
    scores = np.concatenate([one.scores, other.scores], 1)
    pictures = np.concatenate([one.pictures, other.pictures], 1)
    order = np.lexsort((pictures, -scores), axis=1)[:, : one.scores.shape[1]]
    places = np.concatenate([one.places, other.places], 1)
    return TopK(*(np.take_along_axis(values, order, 1) for values in (scores, pictures, places)))
