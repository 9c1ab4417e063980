"""The local engine: threads read and prepare pictures ahead, one process runs the net, shard after shard.

Threads and not processes: Pillow and hashlib let go of the interpreter's lock while they decode, resize and hash, so that
threads keep up with processes here, need no shared memory (whose lack is what stops data loaders in containers), and start
at once. Batches never cross a shard, and a picture that cannot be read leaves its place in the batch empty, so that what a
shard finds does not depend on how many threads there are, nor on what was done before.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from .maxima import MaximaReducer
from .source import LoadedPicture, Pictures, check_size, collate
from .store import FIXED_POINT
from .topk import TopK

#: Batches that are read ahead of the net.
PREFETCH_BATCHES = 3


@dataclass(frozen=True)
class Shard:
    """Some pictures that follow each other: their numbers begin at `first`; `places` are where the source has them."""

    number: int
    first: int
    names: Sequence[str]
    places: Sequence[int]


@dataclass(frozen=True)
class ShardResult:
    """What one shard gives: its best entries, and what is counted of each of C channels."""

    shard: int
    first: int
    top: TopK
    seen: int  # pictures that could be read
    fired: npt.NDArray[np.int64]  # (C,) pictures whose maximum is above 0
    total: npt.NDArray[np.int64]  # (C,) sum of the maxima, in 2^-24
    files: list[tuple[int, int | None, str | None, str | None]]  # (number, bytes, sha256, problem)


def find_in_shard(
    watch: MaximaReducer,
    shard: Shard,
    seen: Iterable[LoadedPicture],
    preprocess: Any,
    *,
    batch: int,
    floor: npt.NDArray[np.float32],
    top: int,
    tell: Callable[[int], None] = lambda count: None,
) -> ShardResult:
    """Run a shard's pictures through the net. `floor` (C,) is what an entry must reach to matter, -inf for all."""
    best, pictures = TopK.empty(watch.count, top), 0
    fired, total = np.zeros(watch.count, np.int64), np.zeros(watch.count, np.int64)
    files: list[tuple[int, int | None, str | None, str | None]] = []
    ahead = iter(seen)
    for start in range(0, len(shard.names), batch):
        some = [check_size(one, watch.size) for one in islice(ahead, min(batch, len(shard.names) - start))]
        numbers = range(shard.first + start, shard.first + start + len(some))
        files += [(number, one.size, one.sha256, one.problem) for number, one in zip(numbers, some, strict=True)]
        good = [(number, one.pixels) for number, one in zip(numbers, some, strict=True) if one.pixels is not None]
        if good:
            maxima = watch(collate([pixels for _, pixels in good], preprocess), np.maximum(floor, best.floor))
            entries = np.where(maxima.places >= 0, maxima.scores, -np.inf).astype(np.float32)
            best.add(entries.T, np.array([number for number, _ in good]), maxima.places.T)
            fired += (maxima.scores > 0).sum(0)
            finite = np.where(np.isfinite(maxima.scores), maxima.scores, 0).astype(np.float64)
            total += np.rint(finite * FIXED_POINT).astype(np.int64).sum(0)  # whole numbers: in any order the same
            pictures += len(good)
        tell(len(some))
    return ShardResult(shard.number, shard.first, best, pictures, fired, total, files)


def run_here(
    watch: MaximaReducer,
    shards: Sequence[Shard],
    pictures: Pictures,
    preprocess: Any,
    *,
    batch: int,
    workers: int,
    floor: Callable[[], npt.NDArray[np.float32]],
    top: int,
    tell: Callable[[int], None],
) -> Generator[ShardResult, None, None]:
    """Yield what each shard gives, in order; `floor` is asked before each."""
    todo = ((place, name) for shard in shards for place, name in zip(shard.places, shard.names, strict=True))
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        seen = prefetch(
            pool, lambda pair: pictures.load(pair[0], pair[1], preprocess), todo, PREFETCH_BATCHES * batch + workers
        )
        try:
            for shard in shards:
                yield find_in_shard(watch, shard, seen, preprocess, batch=batch, floor=floor(), top=top, tell=tell)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def prefetch(pool: ThreadPoolExecutor, function: Callable[[Any], Any], items: Iterable[Any], count: int) -> Iterator[Any]:
    """Map in order in a pool of threads, at most `count` items ahead: memory does not grow with the number of pictures."""
    waiting: deque[Future[Any]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def default_workers() -> int:
    """Return how many threads read pictures: one for each core, 2 to 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, min(16, cores))
