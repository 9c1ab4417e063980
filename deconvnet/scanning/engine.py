"""What a scan runs on: an engine takes a job and its shards, and yields the result of each shard.

An engine may run shards anywhere and in any order, since merging their results is pure. It yields each shard's result at least
once, and no batch crosses from one shard to the next. A result is committed as it arrives; `floor` then returns the new floor.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ..models import Preprocessing
from .maxima import Maxima, MaximaReducer
from .pictures import Pictures
from .store import FIXED_POINT, MOST_FIXED, PictureRow
from .topk import TopK

CPU_BATCH = 4  # pictures per forward pass; larger batches leave a CPU's caches, and are slower
GPU_BATCH = 64

#: Returns the floor (C,): the score that a channel's entry must reach to enter the table.
Floor: TypeAlias = Callable[[], npt.NDArray[np.float32]]
#: Is called with the number of pictures that have been done since the last call.
OnProgress: TypeAlias = Callable[[int], object]


@dataclass(frozen=True)
class Shard:
    """Consecutive pictures of a scan, whose result is committed in one transaction.

    Attributes:
        number: the shard's own number.
        first: the number of its first picture.
        names: of its pictures.
        indices: where the source has them; -1 for a picture that it no longer has.
    """

    number: int
    first: int
    names: Sequence[str]
    indices: Sequence[int]


@dataclass(frozen=True, eq=False)
class Job:
    """What is done with every shard: pictures are loaded with a preprocessing, and reduced in batches."""

    reducer: MaximaReducer
    pictures: Pictures
    preprocess: Preprocessing | None
    batch: int
    top: int


@dataclass(eq=False)
class ShardResult:
    """The best entries of one shard, and counts for each of C channels.

    Attributes:
        shard: the shard's number.
        top: its best entries.
        fired: (C,) on how many pictures the channel's maximum was above 0.
        total: (C,) sum of the channel's maxima, in 2^-24.
        readable: how many of its pictures could be read.
        files: a row for each of its pictures.
        notes: what was left out of its pictures, a line for each.
    """

    shard: int
    top: TopK
    fired: npt.NDArray[np.int64]
    total: npt.NDArray[np.int64]
    readable: int = 0
    files: list[PictureRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def empty(cls, shard: int, channels: int, top: int) -> ShardResult:
        """Return the result of no pictures."""
        return cls(shard, TopK.empty(channels, top), np.zeros(channels, np.int64), np.zeros(channels, np.int64))

    def add(self, maxima: Maxima, numbers: Sequence[int]) -> None:
        """Add a batch of B pictures, whose numbers are `numbers`."""
        scores = np.where(maxima.positions >= 0, maxima.scores, -np.inf).astype(np.float32)
        self.top.add(scores.T, np.array(numbers), maxima.positions.T)
        self.fired += (maxima.scores > 0).sum(0)
        finite = np.where(np.isfinite(maxima.scores), maxima.scores, 0).astype(np.float64)
        fixed = np.rint(finite * FIXED_POINT).clip(-MOST_FIXED, MOST_FIXED)
        self.total += fixed.astype(np.int64).sum(0)  # of integers: the same in any order
        self.readable += len(numbers)


class Engine(Protocol):
    """Runs jobs while it is entered as a context.

    The engines of this package are `LocalEngine` and `RayEngine`; any other object with these methods serves, too.
    """

    def __enter__(self) -> Engine: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def batch_size(self, reducer: MaximaReducer) -> int:
        """Return how many pictures per forward pass are fastest where the job will run."""

    def run(
        self, job: Job, shards: Sequence[Shard], *, floor: Floor, on_progress: OnProgress
    ) -> Generator[ShardResult, None, None]:
        """Yield the result of each shard, in any order, and call `on_progress` as pictures are done."""
