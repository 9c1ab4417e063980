"""What is scanned, apart from who runs it: an engine takes a job and its shards, and yields what each shard gives.

An engine may run shards in any order and anywhere, since their merge is pure; it must yield each at least once, with batches
that do not cross a shard. What a shard gives is committed as it arrives, and `floor` is then asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .engine_local import Shard, ShardResult, default_workers, find_in_shard, run_here
from .maxima import MaximaReducer
from .source import LoadedPicture, Pictures

BATCH = 4  # pictures; larger batches leave a CPU's caches, and are slower
GPU_BATCH = 64

Floor = Callable[[], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Job:
    """What is done to every shard: `watch` runs the net, `pictures` has them, `batch` of them go through at once."""

    watch: MaximaReducer
    pictures: Pictures
    preprocess: Any
    batch: int
    top: int

    def find(
        self, shard: Shard, seen: Iterable[LoadedPicture], floor: npt.NDArray[np.float32], tell: Callable[[int], None]
    ) -> ShardResult:
        """Run one shard, whose pictures `seen` yields in order."""
        return find_in_shard(self.watch, shard, seen, self.preprocess, batch=self.batch, floor=floor, top=self.top, tell=tell)


class Engine(Protocol):
    """Runs jobs, between entering and leaving."""

    def __enter__(self) -> Engine: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def batch(self, watch: MaximaReducer) -> int:
        """Return how many pictures a forward pass takes best where the job will run."""

    def run(
        self, job: Job, shards: Sequence[Shard], *, floor: Floor, tell: Callable[[int], None]
    ) -> Generator[ShardResult, None, None]:
        """Yield what each shard gives; tell of the pictures done, as they are."""


@dataclass
class LocalEngine:
    """This process, with threads that read pictures."""

    workers: int | None = None

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held."""

    def batch(self, watch: MaximaReducer) -> int:
        """Return how many pictures a forward pass takes best."""
        return BATCH if watch.device.type == "cpu" else GPU_BATCH

    def run(
        self, job: Job, shards: Sequence[Shard], *, floor: Floor, tell: Callable[[int], None]
    ) -> Generator[ShardResult, None, None]:
        """Yield what each shard gives, in order."""
        return run_here(
            job.watch,
            shards,
            job.pictures,
            job.preprocess,
            batch=job.batch,
            workers=self.workers or default_workers(),
            floor=floor,
            top=job.top,
            tell=tell,
        )
