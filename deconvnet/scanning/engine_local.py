"""The local engine: pictures are read and prepared ahead, one process runs the net, shard after shard.

Batches never cross from one shard to the next, and a picture that cannot be read leaves its slot in the batch empty; a shard's
result therefore depends neither on what reads the pictures nor on what was done before.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from ..choices import ReaderKind
from ..images import Preprocess
from ..models import Preprocessing
from .device_jpegs import DeviceCrops, crop_ahead, wants_device
from .device_table import DeviceTable
from .engine import CPU_BATCH, GPU_BATCH, Floor, Job, OnProgress, Shard, ShardResult
from .jpegs import LeavesJpegs
from .maxima import MaximaReducer
from .pictures import LoadedPicture, check_size, collate
from .reading import batched, prefetch, reading
from .replicas import Batch, Replicas

PREFETCH_BATCHES = 3  # batches of pictures that are read ahead of the net

#: Pictures that a reader takes at a time: each hand-over to the thread that runs the net costs a tenth of a small picture.
READ_TOGETHER = 4


@dataclass
class LocalEngine:
    """This process, with others or with threads that read pictures.

    Args:
        workers: how many pictures are read at once; None: one per core, 2 to 32.
        readers: "threads" or "processes"; None: processes from five workers on, see `reading`.
    """

    workers: int | None = None
    readers: ReaderKind | None = None

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: what reads lives no longer than `run`."""

    def batch_size(self, reducer: MaximaReducer) -> int:
        """Return how many pictures per forward pass are fastest."""
        return CPU_BATCH if reducer.device.type == "cpu" else GPU_BATCH

    def run(
        self, job: Job, shards: Sequence[Shard], *, floor: Floor, on_progress: OnProgress
    ) -> Generator[ShardResult, None, None]:
        """Yield the result of each shard, in order."""
        if not shards:
            return
        with (
            reading(job.preprocess, self.workers, self.readers) as (pool, preprocess, workers),
            nullcontext() if job.reducer.is_on_device else Replicas(job.reducer, job.preprocess) as replicas,
            closing(load_ahead(pool, job, shards, workers, preprocess)) as pictures,
        ):
            for shard in shards:
                yield run_shard(job, shard, pictures, floor(), replicas, on_progress)


def run_shard(
    job: Job,
    shard: Shard,
    pictures: Iterator[LoadedPicture],
    floor: npt.NDArray[np.float32],
    replicas: Replicas | None,
    on_progress: OnProgress = lambda pictures: None,
) -> ShardResult:
    """Run a shard's pictures through the net.

    Args:
        job: what to run.
        shard: the pictures' names and numbers.
        pictures: yields them, in order.
        floor: (C,) the score that a channel's entry must reach to matter; -inf: any.
        replicas: of the job's net; None where its maxima stay on a device.
        on_progress: called with the number of pictures after each batch.
    """
    reducer = job.reducer
    result = ShardResult.empty(shard.number, reducer.channels, job.top)

    def batches() -> Iterator[Batch]:
        for start in range(0, len(shard.names), job.batch):
            wanted = min(job.batch, len(shard.names) - start)
            loaded = [check_size(picture, reducer.size) for picture in islice(pictures, wanted)]
            first = shard.first + start
            numbered = list(enumerate(loaded, first))
            result.files += [(number, item.size, item.sha256, item.problem) for number, item in numbered]
            result.notes += [item.note for item in loaded if item.note]
            readable = {number: item.pixels for number, item in numbered if item.pixels is not None}
            yield Batch(list(readable.values()), list(readable), np.maximum(floor, result.top.floor), len(loaded))

    if replicas is not None:
        for batch, maxima in replicas.run(batches()):
            if maxima is not None:
                result.add(maxima, batch.numbers)
            on_progress(batch.taken)
        return result
    table = DeviceTable(reducer, job.top)
    for batch in batches():
        if batch.pictures:
            table.add(collate(batch.pictures, job.preprocess, reducer.device), batch.numbers)
        on_progress(batch.taken)
    return replace(table.result(shard.number), files=result.files, notes=result.notes)


def load_ahead(
    pool: ThreadPoolExecutor, job: Job, shards: Sequence[Shard], workers: int, preprocess: Preprocessing | None
) -> Generator[LoadedPicture, None, None]:
    """Load the pictures of all shards in order, a few batches ahead of the consumer."""
    on_device = wants_device(job.preprocess) and job.reducer.is_on_device
    reader = LeavesJpegs.of(preprocess) if on_device and isinstance(preprocess, Preprocess) else preprocess

    def load(items: Sequence[tuple[int, str]]) -> list[LoadedPicture]:
        return [job.pictures.load(*item, reader) for item in items]

    parts = (part for shard in shards for part in batched(zip(shard.indices, shard.names, strict=True), READ_TOGETHER))
    ahead = PREFETCH_BATCHES * job.batch // READ_TOGETHER + workers
    pictures: Iterator[LoadedPicture] = chain.from_iterable(prefetch(pool, load, parts, ahead))
    if isinstance(reader, LeavesJpegs):
        crops = DeviceCrops(reader, job.reducer.device)
        pictures = crop_ahead(crops, _batches(pictures, shards, job.batch))
    yield from pictures


def _batches(pictures: Iterator[LoadedPicture], shards: Sequence[Shard], batch: int) -> Iterator[list[LoadedPicture]]:
    """Yield pictures as they go through the net together: no batch crosses from one shard to the next."""
    for shard in shards:
        for start in range(0, len(shard.names), batch):
            yield list(islice(pictures, min(batch, len(shard.names) - start)))
