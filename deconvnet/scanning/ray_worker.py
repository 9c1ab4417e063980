"""A worker of a scan on Ray: it holds the net, and runs one shard after another."""

from __future__ import annotations

import dataclasses
import pickle
import platform
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch

from ..version import __version__
from .engine import Job, Shard
from .engine_local import load_ahead, run_shard
from .reading import reading
from .replicas import Replicas
from .wire import Packed, pack


class WorkerInfo(TypedDict):
    """What a worker says of itself once it has started."""

    host: str
    version: str
    torch: str
    sees_probe: bool


class Worker:
    """Runs shards of a job.

    Args:
        job: the pickled job. Its net moves to a GPU if the process has one.
        threads: how many read pictures; torch computes with as many.
    """

    def __init__(self, job: bytes, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        self.job: Job = pickle.loads(job)
        self.threads = threads
        if torch.cuda.is_available():
            net = self.job.reducer.net
            net.model.to("cuda")
            self.job = dataclasses.replace(self.job, reducer=self.job.reducer.for_net(net))
        reducer = self.job.reducer
        self.replicas = None if reducer.is_on_device else Replicas(reducer, self.job.preprocess)

    def ready(self, probe: str | None) -> WorkerInfo:
        """Return where this is, its versions, and whether it sees the picture `probe`."""
        sees_probe = probe is None or self.job.pictures.exists(probe)
        return {"host": platform.node(), "version": __version__, "torch": torch.__version__, "sees_probe": sees_probe}

    def run(self, shard: Shard, floor: npt.NDArray[np.float32]) -> Packed:
        """Run one shard; entries below `floor` (C,) are left out of its result."""
        with reading(self.job.preprocess, self.threads, None) as (pool, preprocess, workers):
            pictures = load_ahead(pool, self.job, [shard], workers, preprocess)
            return pack(run_shard(self.job, shard, pictures, floor, self.replicas), floor)


def memory_format(name: str) -> torch.memory_format:
    """Return torch's memory format of that name."""
    value: torch.memory_format = getattr(torch, name)
    return value
