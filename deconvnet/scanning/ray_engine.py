"""The engine on Ray: workers on any number of machines hold the net, shards flow to them, partial tables flow back.

Each worker is a Ray actor; Ray places it, starts its process, tells when it died, and moves what it is sent and sends. Shards
go only to workers that have started, two each: one under way and one that waits. That is all the back-pressure there is to
it: whatever the number of pictures, at most so many partial tables exist at once. A worker that dies loses its two shards,
which go to whoever is free next, and a new worker is asked for, which Ray starts when it has room.

Ray Data runs the same map, and was tried. After a node was killed it kept the tasks of that node's actor until the actor could
start again - where the other nodes are full, at the very end - and its tasks are planned ahead, so that none could know the
floor, which is what makes a shard's table small (`arrow.py`).
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import itertools
import logging
import os
import re
import socket
import sys
import tempfile
import warnings
from collections import ChainMap, Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import EngineError
from ..optional import require
from ..version import __version__
from .engine import BATCH, GPU_BATCH, Floor, Job
from .engine_local import Shard, ShardResult
from .maxima import MaximaReducer
from .ray_worker import Worker, memory_format
from .wire import unpack

SHARDS_PER_WORKER = 2  # shards that a worker has at once: one under way, one that follows without a pause
MAX_WORKER_DEATHS = 3  # workers that may die over one shard before it is held to be its fault
ANSWER = 5.0  # seconds that an address has to answer


@dataclass
class RayEngine:
    """Ray, at `address` or started here; `workers` actors with `gpus` GPUs and `cpus` cores each."""

    address: str | None = None
    workers: int | None = None
    gpus: float | None = None
    cpus: float | None = None
    ray: Any = field(default=None, repr=False)
    is_ours: bool = False

    def __enter__(self) -> RayEngine:
        self.ray = require_ray()
        if not self.ray.is_initialized():
            connect(self.ray, self.address)
            self.is_ours = True
        try:
            self._share()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self.is_ours:
            self.ray.shutdown()

    def _share(self) -> None:
        """Say how many workers there are, and what each of them has, where that was not asked for."""
        there = self.ray.cluster_resources()
        cores, gpus = there.get("CPU", 0), there.get("GPU", 0)
        self.gpus = min(gpus, 1) if self.gpus is None else self.gpus
        if self.gpus > gpus and self.workers is None:
            raise EngineError(f"{self.gpus:g} GPUs a worker were asked for, Ray has {gpus:g}. Ask for fewer, or for 0.")
        if self.workers is None:
            self.workers = max(1, int(gpus / self.gpus if self.gpus else cores // (self.cpus or 1)))
        if self.cpus is None:
            self.cpus = max(1, cores // self.workers) if self.gpus else 1

    def batch(self, watch: MaximaReducer) -> int:
        """Return how many pictures a forward pass takes best on the workers."""
        return GPU_BATCH if self.gpus else BATCH

    def run(self, job: Job, shards: Sequence[Shard], *, floor: Floor, tell: Any) -> Generator[ShardResult, None, None]:
        """Yield what each shard gives, as it arrives."""
        if not shards:
            return
        crew = WorkerPool(
            self, self.ray.put(packed_job(job, self.ray)), probe(job, shards), min(self.workers or 1, len(shards))
        )
        try:
            for found in crew.work(deque(shards), floor):
                tell(len(found.files))
                yield found
        finally:
            crew.close()


class WorkerPool:
    """The workers of one scan, and what each of them has to do."""

    def __init__(self, engine: RayEngine, job: Any, probe: str | None, count: int) -> None:
        self.ray, self.job, self.probe = engine.ray, job, probe
        self.actor = engine.ray.remote(Worker).options(
            num_cpus=engine.cpus, num_gpus=engine.gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        self.threads = max(1, int(engine.cpus or 1))
        self.starting: dict[Any, int] = {}  # the answer that is waited for -> the worker's number
        self.doing: dict[Any, tuple[int, Shard]] = {}
        self.workers: dict[int, Any] = {}
        self.hosts: dict[int, str] = {}  # where they run, once they have started
        self.deaths: Counter[int] = Counter()
        self.failed_starts = 0
        self.numbers = itertools.count()
        for _ in range(count):
            self.start()

    def start(self) -> None:
        """Ask for a worker; it starts when Ray has room."""
        number = next(self.numbers)
        self.workers[number] = self.actor.remote(self.job, self.threads)
        self.starting[self.workers[number].ready.remote(self.probe)] = number

    def stop(self, number: int) -> None:
        """Let a worker go, dead or alive."""
        self.hosts.pop(number, None)
        self.ray.kill(self.workers.pop(number))

    def work(self, todo: deque[Shard], floor: Floor) -> Iterator[ShardResult]:
        """Hand out all shards; yield what each gives. A shard that is lost with its worker is handed out again."""
        while todo or self.doing:
            (answer,), _ = self.ray.wait([*self.doing, *self.starting], num_returns=1)
            if answer in self.starting:
                number = self.starting.pop(answer)
                self._start(number, answer)
            else:
                number, shard = self.doing.pop(answer)
                found = self._finish(number, shard, answer, todo)
                if found is not None:
                    yield found
            del answer  # the last hold on what was sent
            self._hand_out(todo, floor)

    def _hand_out(self, todo: deque[Shard], floor: Floor) -> None:
        """Give every worker that has started what it can take, those that have nothing first.

        Not only the one that has just answered: what a dead worker had may come back when all others have run out of work. They
        hold the cores that a new worker would wait for.
        """
        has = Counter(number for number, _ in self.doing.values())
        for already, number in itertools.product(range(SHARDS_PER_WORKER), self.hosts):
            if todo and has[number] == already:
                shard = todo.popleft()
                self.doing[self.workers[number].run.remote(shard, floor())] = number, shard
                has[number] += 1

    def _start(self, number: int, answer: Any) -> None:
        """Take up a worker that has started; ask for another one where it has not."""
        try:
            found = self.ray.get(answer)
            check_worker(found, self.probe)
            self.hosts[number] = found["host"]
        except self.ray.exceptions.RayError as error:
            self.failed_starts += 1
            if "No module named" in str(error) or "failed to import" in str(error):
                raise EngineError(
                    f"a worker cannot import what it needs: {missing(error)}. Install deconvnet {__version__} and the net's"
                    " packages on every machine of Ray."
                ) from error
            if isinstance(error, self.ray.exceptions.RayTaskError) or self.failed_starts > MAX_WORKER_DEATHS:
                raise EngineError(f"a worker cannot start: {last_line(error)}. See Ray's logs.") from error
            self.stop(number)
            self.start()

    def _finish(self, number: int, shard: Shard, answer: Any, todo: deque[Shard]) -> ShardResult | None:
        """Return what a shard gave; where its worker died, put back all that it had, and ask for another worker."""
        try:
            return unpack(self.ray.get(answer))
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self.ray.exceptions.RayError as error:  # the worker died, or its machine with what it had sent
            self.deaths[shard.number] += 1
            if self.deaths[shard.number] >= MAX_WORKER_DEATHS:
                raise EngineError(
                    f"{MAX_WORKER_DEATHS} workers died over the pictures {shard.names[0]!r} to {shard.names[-1]!r}:"
                    f" {last_line(error)}."
                    " See Ray's logs; a smaller --batch needs less memory."
                ) from error
            lost = [one for one, (whose, _) in self.doing.items() if whose == number]
            todo.extendleft(reversed([shard, *(self.doing.pop(one)[1] for one in lost)]))
            warnings.warn(
                f"a worker on {self.hosts[number]} died; its pictures go to the next that is free. {last_line(error)}.",
                stacklevel=2,
            )
            self.stop(number)
            self.start()
            return None

    def close(self) -> None:
        """Let all workers go."""
        for number in list(self.workers):
            self.stop(number)


def require_ray() -> Any:
    """Import Ray and Arrow, or say how to install them."""
    require("pyarrow", needed_by="--engine ray", extra="ray")
    return require("ray", needed_by="--engine ray", extra="ray")


def connect(ray: Any, address: str | None) -> None:
    """Connect to a Ray that runs, or start one on this machine; quietly."""
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address != "local":
        check_answers(address)
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody was asked
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr), capture_stderr() as notes:
        warnings.simplefilter("ignore")
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
            if "Unauthenticated" in notes() or "AuthenticationError" in f"{error!r}":
                raise EngineError(
                    f"Ray at {address!r} does not let this process in: it wants its token. Set RAY_AUTH_MODE=token, and have"
                    " the token of Ray's first machine in ~/.ray/auth_token or in RAY_AUTH_TOKEN."
                ) from error
            what = "start Ray on this machine" if address == "local" else f"use Ray at {address!r}"
            raise EngineError(f"cannot {what}: {last_line(error)}. Start it by itself to see why: ray start --head") from error


@contextlib.contextmanager
def capture_stderr() -> Iterator[Callable[[], str]]:
    """Keep from the terminal what Ray's own library writes there, past Python, and let it be read: only it says why."""
    with tempfile.TemporaryFile() as notes:

        def read() -> str:
            notes.seek(0)
            return notes.read().decode(errors="replace")

        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            yield read
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def check_answers(address: str) -> None:
    """Refuse an address at which nothing listens; Ray itself would try for minutes, and end the process."""
    if address == "auto":  # Ray's own note, which a cluster that was killed leaves behind
        note = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), "ray", "ray_current_cluster")
        address = note.read_text().strip() if note.is_file() else ""
        if not address:
            raise EngineError("no Ray runs on this machine. Start one (ray start --head), or give its --address HOST:PORT.")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise EngineError(f"{address!r} is no address of Ray. Give HOST:PORT, as in 10.0.0.1:6379, or auto.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except OSError as error:
        raise EngineError(f"Ray at {address!r} does not answer: {error}. Check the address; there, run: ray status") from error


def packed_job(job: Job, ray: Any) -> bytes:
    """Pickle a job with its net on the CPU; a net's own file (`file:net.py:make`) goes along, since workers may not have it."""
    net = copy.copy(job.watch.net)
    if job.watch.device.type != "cpu":
        net.loaded = dataclasses.replace(net.loaded, model=copy.deepcopy(net.model).to("cpu"))
        net.model = net.loaded.model
    own = [module for name, module in sys.modules.items() if name.startswith("deconvnet_file_")]
    for module in own:
        ray.cloudpickle.register_pickle_by_value(module)
    try:
        job = dataclasses.replace(job, watch=MaximaReducer(net, job.watch.layers, job.watch.size))
        return dumped(job, ray)
    except Exception as error:  # whatever a net or a data set raises that cannot be pickled
        raise EngineError(f"{net.name} or its pictures cannot be sent to workers: {last_line(error)}.") from error
    finally:
        for module in own:
            ray.cloudpickle.unregister_pickle_by_value(module)


def dumped(job: Job, ray: Any) -> bytes:
    """Pickle a job. Memory formats are named by torch: pickle would name them by whatever module happens to import torch."""
    pickler, buffer = ray.cloudpickle.CloudPickler, io.BytesIO()
    by_name = {torch.memory_format: lambda found: (memory_format, (str(found).removeprefix("torch."),))}
    table = ChainMap(by_name, pickler.dispatch_table)
    type("Pickler", (pickler,), {"dispatch_table": table})(buffer).dump(job)
    return buffer.getvalue()


def probe(job: Job, shards: Sequence[Shard]) -> str | None:
    """Return a picture that is there, by which a worker knows whether it sees them; None where there is none."""
    names = (name for shard in shards for name in shard.names)
    return next((name for name in names if job.pictures.exists(name)), None)


def check_worker(found: dict[str, Any], probe: str | None) -> None:
    """Refuse a worker of another version, or that does not see the pictures."""
    where = f"a worker on {found['host']}"
    if found["version"] != __version__:
        raise EngineError(
            f"{where} has deconvnet {found['version']}, this is {__version__}. Install the same on every machine."
        )
    if found["torch"].partition("+")[0] != torch.__version__.partition("+")[0]:
        warnings.warn(f"{where} has torch {found['torch']}, this is {torch.__version__}: last digits may differ.", stacklevel=2)
    if not found["sees"]:
        raise EngineError(f"{where} cannot see the picture {probe!r}. Use a folder that all machines share, or s3://, gs://.")


def missing(error: BaseException) -> str:
    """Return which module a worker lacks, from the trace that Ray sends."""
    found = re.search(r"No module named '[^']*'", str(error))
    return found[0] if found else last_line(error)


def last_line(error: BaseException) -> str:
    """Return the end of what Ray says, which is where it says what was wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).rstrip(".")
