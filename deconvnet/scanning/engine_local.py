"""The local engine: threads read and prepare pictures ahead, one process runs the net, shard after shard.

Threads, not processes: Pillow and hashlib release the interpreter's lock while they decode, resize and hash, so threads are as
fast as processes here, need no shared memory (too little of which is what stops data loaders in containers), and start at once.
Batches never cross from one shard to the next, and a picture that cannot be read leaves its slot in the batch empty; a shard's
result therefore depends neither on the number of threads nor on what was done before.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ..images import stop_readers
from .engine import CPU_BATCH, GPU_BATCH, Floor, Job, OnProgress, Shard, ShardResult
from .maxima import MaximaReducer
from .pictures import LoadedPicture, check_size, collate

PREFETCH_BATCHES = 3  # batches of pictures that are read ahead of the net

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class LocalEngine:
    """This process, with threads that read pictures.

    Args:
        workers: how many threads; None for `default_workers()`.
    """

    workers: int | None = None

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: threads live no longer than `run`."""

    def batch_size(self, reducer: MaximaReducer) -> int:
        """Return how many pictures per forward pass are fastest."""
        return CPU_BATCH if reducer.device.type == "cpu" else GPU_BATCH

    def run(
        self, job: Job, shards: Sequence[Shard], *, floor: Floor, on_progress: OnProgress
    ) -> Generator[ShardResult, None, None]:
        """Yield the result of each shard, in order."""
        workers = self.workers or default_workers()
        with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
            pictures = load_ahead(pool, job, shards, workers)
            try:
                for shard in shards:
                    yield run_shard(job, shard, pictures, floor(), on_progress)
            except BaseException:  # such as Ctrl-C: nobody waits for what is being decoded
                stop_readers()
                raise
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def run_shard(
    job: Job,
    shard: Shard,
    pictures: Iterator[LoadedPicture],
    floor: npt.NDArray[np.float32],
    on_progress: OnProgress = lambda pictures: None,
) -> ShardResult:
    """Run a shard's pictures through the net.

    Args:
        job: what to run.
        shard: the pictures' names and numbers.
        pictures: yields them, in order.
        floor: (C,) the score that a channel's entry must reach to matter; -inf: any.
        on_progress: called with the number of pictures after each batch.
    """
    reducer = job.reducer
    result = ShardResult.empty(shard.number, reducer.channels, job.top)
    for start in range(0, len(shard.names), job.batch):
        wanted = min(job.batch, len(shard.names) - start)
        batch = [check_size(picture, reducer.size) for picture in islice(pictures, wanted)]
        numbers = range(shard.first + start, shard.first + start + len(batch))
        result.files += [(number, item.size, item.sha256, item.problem) for number, item in zip(numbers, batch, strict=True)]
        result.notes += [item.note for item in batch if item.note]
        readable = {number: item.pixels for number, item in zip(numbers, batch, strict=True) if item.pixels is not None}
        if readable:
            images = collate(list(readable.values()), job.preprocess)
            result.add(reducer(images, np.maximum(floor, result.top.floor)), list(readable))
        on_progress(len(batch))
    return result


def load_ahead(pool: ThreadPoolExecutor, job: Job, shards: Sequence[Shard], workers: int) -> Iterator[LoadedPicture]:
    """Load the pictures of all shards in order, a few batches ahead of the consumer."""

    def load(item: tuple[int, str]) -> LoadedPicture:
        return job.pictures.load(*item, job.preprocess)

    items = (item for shard in shards for item in zip(shard.indices, shard.names, strict=True))
    return prefetch(pool, load, items, PREFETCH_BATCHES * job.batch + workers)


def prefetch(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """Map in order in a pool of threads, at most `count` items ahead: memory does not grow with the number of items."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def default_workers() -> int:
    """Return how many threads read pictures by default: one per core, but 2 to 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, min(16, cores))
