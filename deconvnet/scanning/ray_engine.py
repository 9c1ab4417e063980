"""The engine on Ray: workers on any number of machines hold the net, shards flow to them, and partial tables flow back.

Each worker is a Ray actor; Ray places it, starts its process, notices its death, and moves what is sent to it and back.
`WorkerPool` hands out the shards.

Ray Data runs the same map, and was tried. After a node was killed it kept the tasks of that node's actor until the actor could
start again, which on full nodes is at the very end; and its tasks are planned ahead, so none of them could know the floor,
which keeps a shard's table small (`wire.py`).
"""

from __future__ import annotations

import copy
import dataclasses
import io
import sys
from collections import ChainMap, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import EngineError
from .device_jpegs import wants_device
from .engine import CPU_BATCH, GPU_BATCH, Floor, Job, OnProgress, Shard, ShardResult
from .maxima import MaximaReducer
from .ray_connect import connect, last_line, require_ray
from .ray_pool import WorkerPool, find_probe
from .ray_worker import memory_format


@dataclass
class RayEngine:
    """Workers on the machines of a Ray cluster.

    Args:
        address: "auto" or "HOST:PORT" of a running Ray; None: $RAY_ADDRESS, or a Ray that is started for the scan.
        workers: how many; None: one per GPU, or one per core.
        gpus: per worker; None: 1 if Ray has any, else 0.
        cpus: cores per worker; None: 1, or beside GPUs a fair share.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float | None = None
    cpus: float | None = None
    ray: Any = field(default=None, repr=False)  # the imported module, which has no types
    is_ours: bool = field(default=False, repr=False)

    def __enter__(self) -> RayEngine:
        self.ray = require_ray()
        if not self.ray.is_initialized():
            connect(self.ray, self.address)
            self.is_ours = True
        try:
            self._share_out()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Leave Ray if it was entered here."""
        if self.is_ours:
            self.ray.shutdown()

    def _share_out(self) -> None:
        """Decide what was left open: how many workers there are, and what each of them has."""
        resources = self.ray.cluster_resources()
        cores, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
        self.gpus = min(gpus, 1) if self.gpus is None else self.gpus
        if self.gpus > gpus and self.workers is None:
            raise EngineError(f"cannot give each worker {self.gpus:g} GPUs: Ray has {gpus:g}. Ask for fewer, or for 0.")
        if self.workers is None:
            self.workers = max(1, int(gpus / self.gpus if self.gpus else cores // (self.cpus or 1)))
        if self.cpus is None:
            self.cpus = max(1, cores // self.workers) if self.gpus else 1

    def batch_size(self, reducer: MaximaReducer) -> int:
        """Return how many pictures per forward pass are fastest on the workers."""
        return GPU_BATCH if self.gpus else CPU_BATCH

    def run(
        self, job: Job, shards: Sequence[Shard], *, floor: Floor, on_progress: OnProgress
    ) -> Generator[ShardResult, None, None]:
        """Yield the result of each shard, as it arrives."""
        if not shards:
            return
        if wants_device(job.preprocess) and not self.gpus:
            raise EngineError("decode 'gpu' needs a GPU in each worker, these have none. Choose exact, or ask for GPUs.")
        packed, probe = self.ray.put(pack_job(job, self.ray)), find_probe(job, shards)
        count = min(self.workers or 1, len(shards))
        pool = WorkerPool(self.ray, packed, probe, count=count, cpus=self.cpus or 1, gpus=self.gpus or 0)
        try:
            for result in pool.work(deque(shards), floor):
                on_progress(len(result.files))
                yield result
        finally:
            pool.close()


def pack_job(job: Job, ray: Any) -> bytes:
    """Pickle a job with its net on the CPU; a net's own file (`file:net.py:make`) travels along, as workers may not have it.

    Raises:
        EngineError: the net or the pictures cannot be pickled.
    """
    net = copy.copy(job.reducer.net)
    if job.reducer.device.type != "cpu":
        net.loaded = dataclasses.replace(net.loaded, model=copy.deepcopy(net.model).to("cpu"))
        net.model = net.loaded.model
    modules = [module for name, module in sys.modules.items() if name.startswith("deconvnet_file_")]
    for module in modules:
        ray.cloudpickle.register_pickle_by_value(module)
    try:
        job = dataclasses.replace(job, reducer=job.reducer.for_net(net))
        return _dump(job, ray)
    except Exception as error:  # a net or a Dataset may raise anything
        raise EngineError(f"cannot send {net.name} or its pictures to workers: {last_line(error)}.") from error
    finally:
        for module in modules:
            ray.cloudpickle.unregister_pickle_by_value(module)


def _dump(job: Job, ray: Any) -> bytes:
    """Pickle a job. Memory formats are named by torch: pickle would name them by whichever module happens to import torch."""
    pickler, buffer = ray.cloudpickle.CloudPickler, io.BytesIO()
    by_name = {torch.memory_format: lambda value: (memory_format, (str(value).removeprefix("torch."),))}
    table = ChainMap(by_name, pickler.dispatch_table)
    type("Pickler", (pickler,), {"dispatch_table": table})(buffer).dump(job)
    return buffer.getvalue()
