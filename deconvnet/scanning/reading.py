"""Pictures read ahead of the net: by threads of this process, or by processes of their own.

Pillow and hashlib release the interpreter's lock while they decode, resize and hash, so a few threads read as fast as processes
and start at once. But what lies between has the lock: with 8 threads on 16 cores about four cores are busy, with 16 no more. So
from `MANY_WORKERS` on, each thread hands the bytes of its pictures to a process that decodes and crops them
(`images.reading_process`).

Both give the same pixels, in order, and a bounded number of pictures ahead. Where no process can be started, threads read.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import cached_property
from io import BytesIO
from itertools import islice
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..choices import ReaderKind
from ..errors import DeconvnetWarning
from ..images import OnNote, Picture, Preprocess, reading_process
from ..models import Preprocessing

#: So many workers are processes by default; fewer are threads.
MANY_WORKERS = 5

Item = TypeVar("Item")
Result = TypeVar("Result")


class CropsInProcesses(Preprocess):
    """A preprocessing that has files cropped by other processes; the pixels are those of `Preprocess`."""

    @classmethod
    def of(cls, preprocess: Preprocess) -> CropsInProcesses:
        """Return one with the same fields."""
        return cls(**{field.name: getattr(preprocess, field.name) for field in fields(preprocess)})

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return asdict(self)

    def crop_pixels(
        self, picture: Picture, *, data: IO[bytes] | None = None, on_note: OnNote | None = None
    ) -> npt.NDArray[np.uint8]:
        """Return the pixels of a picture; what is no file's bytes is cropped here."""
        if not isinstance(data, BytesIO) or on_note is None or not isinstance(picture, (str, os.PathLike)):
            return super().crop_pixels(picture, data=data, on_note=on_note)
        try:
            pixels, notes = reading_process.crop(data.getvalue(), os.fspath(picture), self._fields)
        except reading_process.NoReaderError:
            _say_threads("no more processes can be started here")
            return super().crop_pixels(picture, data=data, on_note=on_note)
        for note in notes:
            on_note(note)
        return pixels


@contextmanager
def reading(
    preprocess: Preprocessing | None, workers: int | None, kind: ReaderKind | None
) -> Iterator[tuple[ThreadPoolExecutor, Preprocessing | None, int]]:
    """Yield threads that read, the preprocessing to read with, and how many pictures are read at once.

    Args:
        preprocess: of the net.
        workers: how many pictures are read at once; None: one per core.
        kind: "threads" or "processes"; None: by the number of workers.
    """
    wanted = kind or ("processes" if (workers or usable_cores()) >= MANY_WORKERS else "threads")
    in_processes = wanted == "processes" and _can_use_processes(preprocess, say=kind is not None)
    count = workers or default_workers(most=32 if in_processes else 16)
    if in_processes:
        assert isinstance(preprocess, Preprocess)
        preprocess = CropsInProcesses.of(preprocess)
    try:
        with ThreadPoolExecutor(count, thread_name_prefix="read") as pool:
            try:
                yield pool, preprocess, count
            except BaseException:  # such as Ctrl-C: nobody waits for what is being decoded
                reading_process.stop_readers()
                raise
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    finally:  # once no thread can take another process
        reading_process.release_readers()


def _can_use_processes(preprocess: Preprocessing | None, *, say: bool) -> bool:
    """Return whether processes can crop for this preprocessing; `say`: warn if they cannot although they were asked for."""
    if type(preprocess) is not Preprocess:  # code of a user's, or of another library
        if say:
            _say_threads("this net's preprocessing is code of its own")
        return False
    if not reading_process.can_read():
        _say_threads("processes cannot be started here")
        return False
    return True


def _say_threads(why: str) -> None:
    warnings.warn(f"{why}, so threads read the pictures.", DeconvnetWarning, stacklevel=2)


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


def batched(items: Iterable[Item], count: int) -> Iterator[list[Item]]:
    """Yield so many items at a time; at the end what is left."""
    left = iter(items)
    while batch := list(islice(left, count)):
        yield batch


def default_workers(most: int = 16) -> int:
    """Return how many pictures are read at once by default: one per core, but 2 to `most`."""
    return max(2, min(most, usable_cores()))


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
