"""A worker of a scan on many machines: it holds the net once, and runs one shard after another."""

from __future__ import annotations

import pickle
import platform
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..version import __version__
from .engine import Job
from .engine_local import PREFETCH_BATCHES, Shard, prefetch
from .maxima import MaximaReducer
from .wire import Packed, pack


class Worker:
    """Holds a pickled job. `threads` read pictures, and as many compute; the net goes to a GPU if the process has one."""

    def __init__(self, job: bytes, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        found: Job = pickle.loads(job)
        self.job, self.threads = found, threads
        if torch.cuda.is_available():
            watch = found.watch
            watch.net.model.to("cuda")
            self.job = Job(
                MaximaReducer(watch.net, watch.layers, watch.size), found.pictures, found.preprocess, found.batch, found.top
            )

    def ready(self, probe: str | None) -> dict[str, Any]:
        """Tell who and where this is, and whether it sees the picture `probe`."""
        sees = probe is None or self.job.pictures.exists(probe)
        return {"host": platform.node(), "version": __version__, "torch": torch.__version__, "sees": sees}

    def run(self, shard: Shard, floor: npt.NDArray[np.float32]) -> Packed:
        """Run one shard; entries below `floor` (C,) are left out."""
        job, todo = self.job, zip(shard.places, shard.names, strict=True)
        with ThreadPoolExecutor(self.threads, thread_name_prefix="decode") as pool:
            count = PREFETCH_BATCHES * job.batch + self.threads
            seen = prefetch(pool, lambda one: job.pictures.load(one[0], one[1], job.preprocess), todo, count)
            return pack(job.find(shard, seen, floor, lambda count: None), floor)


def memory_format(name: str) -> torch.memory_format:
    """Return torch's memory format of that name."""
    found: torch.memory_format = getattr(torch, name)
    return found
