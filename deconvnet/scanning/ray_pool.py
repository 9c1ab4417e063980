"""The workers of one scan on Ray: who has which shards, and what happens when one of them dies.

Shards go only to workers that have started, two each: one in progress and one waiting. No other back-pressure is needed:
however many pictures there are, at most that many partial tables exist at once. A worker that dies loses its two shards, which
go to the next free worker; another worker is requested, which Ray starts when it has room.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ..errors import EngineError
from ..version import __version__
from .engine import Floor, Job, Shard, ShardResult
from .ray_connect import last_line
from .ray_worker import Worker, WorkerInfo
from .wire import unpack

SHARDS_PER_WORKER = 2  # one in progress, one that follows without a pause
MAX_WORKER_DEATHS = 3  # over one shard, before the shard is taken to be the cause


class WorkerPool:
    """The workers of one scan, and the shards that each of them has.

    Args:
        ray: the imported module.
        job: Ray's reference to the packed job.
        probe: the name of a picture that every worker must see, None if there is none.
        count: how many workers.
        cpus: cores per worker.
        gpus: per worker.
    """

    def __init__(self, ray: Any, job: Any, probe: str | None, *, count: int, cpus: float = 1, gpus: float = 0) -> None:
        self.ray, self.job, self.probe = ray, job, probe
        self.actor = ray.remote(Worker).options(
            num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        self.threads = max(1, int(cpus))
        self.starting: dict[Any, int] = {}  # the answer that is awaited -> the worker's number
        self.running: dict[Any, tuple[int, Shard]] = {}
        self.workers: dict[int, Any] = {}
        self.hosts: dict[int, str] = {}  # of the workers that have started
        self.deaths: Counter[int] = Counter()  # by shard
        self.failed_starts = 0
        self.numbers = itertools.count()
        for _ in range(count):
            self.start()

    def start(self) -> None:
        """Request a worker; Ray starts it when it has room."""
        number = next(self.numbers)
        self.workers[number] = self.actor.remote(self.job, self.threads)
        self.starting[self.workers[number].ready.remote(self.probe)] = number

    def stop(self, number: int) -> None:
        """Release a worker, dead or alive."""
        self.hosts.pop(number, None)
        self.ray.kill(self.workers.pop(number))

    def close(self) -> None:
        """Release all workers."""
        for number in list(self.workers):
            self.stop(number)

    def work(self, shards: deque[Shard], floor: Floor) -> Iterator[ShardResult]:
        """Hand out all shards and yield their results; a shard that is lost with its worker is handed out again.

        Raises:
            EngineError: workers cannot start, are of another version, do not see the pictures, or die over one shard.
        """
        while shards or self.running:
            (answer,), _ = self.ray.wait([*self.running, *self.starting], num_returns=1)
            if answer in self.starting:
                self._welcome(self.starting.pop(answer), answer)
            else:
                number, shard = self.running.pop(answer)
                result = self._receive(number, shard, answer, shards)
                if result is not None:
                    yield result
            del answer  # the last reference to what was sent
            self._hand_out(shards, floor)

    def _hand_out(self, shards: deque[Shard], floor: Floor) -> None:
        """Give shards to all workers that can take one, idle ones first.

        Not only to the worker that has just answered: the shards of a dead worker may come back when all others have run out
        of work, and those hold the cores that a new worker would wait for.
        """
        load = Counter(number for number, _ in self.running.values())
        for level, number in itertools.product(range(SHARDS_PER_WORKER), self.hosts):
            if shards and load[number] == level:
                shard = shards.popleft()
                self.running[self.workers[number].run.remote(shard, floor())] = number, shard
                load[number] += 1

    def _welcome(self, number: int, answer: Any) -> None:
        """Add a worker that has started; request another one if it has not."""
        try:
            info = self.ray.get(answer)
        except self.ray.exceptions.RayError as error:
            self._check_start(error)
            self.stop(number)
            self.start()
        else:
            check_worker(info, self.probe)
            self.hosts[number] = info["host"]

    def _check_start(self, error: Exception) -> None:
        """Raise if a worker that did not start never will."""
        self.failed_starts += 1
        if "No module named" in str(error) or "failed to import" in str(error):
            raise EngineError(
                f"a worker cannot import what it needs: {_missing_module(error)}. Install deconvnet {__version__} and the net's"
                " packages on every machine of Ray."
            ) from error
        if isinstance(error, self.ray.exceptions.RayTaskError) or self.failed_starts > MAX_WORKER_DEATHS:
            raise EngineError(f"a worker cannot start: {last_line(error)}. See Ray's logs.") from error

    def _receive(self, number: int, shard: Shard, answer: Any, shards: deque[Shard]) -> ShardResult | None:
        """Return a shard's result; if its worker died, put back all the shards that it had, and request another worker."""
        try:
            return unpack(self.ray.get(answer))
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self.ray.exceptions.RayError as error:  # the worker died, or its machine with what it had sent
            self._check_deaths(shard, error)
            lost = [other for other, (owner, _) in self.running.items() if owner == number]
            shards.extendleft(reversed([shard, *(self.running.pop(other)[1] for other in lost)]))
            warnings.warn(
                f"a worker on {self.hosts[number]} died; its pictures go to the next free worker. {last_line(error)}.",
                stacklevel=2,
            )
            self.stop(number)
            self.start()
            return None

    def _check_deaths(self, shard: Shard, error: Exception) -> None:
        """Raise if a shard has cost several workers."""
        self.deaths[shard.number] += 1
        if self.deaths[shard.number] >= MAX_WORKER_DEATHS:
            raise EngineError(
                f"{MAX_WORKER_DEATHS} workers died over the pictures {shard.names[0]!r} to {shard.names[-1]!r}:"
                f" {last_line(error)}. See Ray's logs; a smaller --batch needs less memory."
            ) from error


def find_probe(job: Job, shards: Sequence[Shard]) -> str | None:
    """Return the name of a picture that exists, to ask workers whether they see it; None if no picture exists."""
    names = (name for shard in shards for name in shard.names)
    return next((name for name in names if job.pictures.exists(name)), None)


def check_worker(info: WorkerInfo, probe: str | None) -> None:
    """Refuse a worker of another version, or one that does not see the pictures; warn of another torch.

    Raises:
        EngineError: the worker cannot be used.
    """
    worker = f"a worker on {info['host']}"
    if info["version"] != __version__:
        raise EngineError(
            f"{worker} has deconvnet {info['version']}, this is {__version__}. Install the same on every machine."
        )
    if info["torch"].partition("+")[0] != torch.__version__.partition("+")[0]:
        warnings.warn(f"{worker} has torch {info['torch']}, this is {torch.__version__}: last digits may differ.", stacklevel=2)
    if not info["sees_probe"]:
        raise EngineError(f"{worker} cannot see the picture {probe!r}. Use a folder that all machines share, or s3://, gs://.")


def _missing_module(error: Exception) -> str:
    """Return which module a worker lacks, from the trace that Ray sends."""
    match = re.search(r"No module named '[^']*'", str(error))
    return match[0] if match else last_line(error)
