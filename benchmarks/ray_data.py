"""The same scan by Ray Data and by this package's plain actors: time, bytes, and a node that is killed in the middle.

    python benchmarks/ray_data.py PICTURES --weights squeezenet1_0.safetensors

Prints the tables under "Why not Ray Data" in docs/cluster.md. Starts clusters of its own, of two nodes with a core each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import pickle
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import ray
import torch
from ray.cluster_utils import Cluster
from ray_scan import head, many

import deconvnet
from deconvnet.scanning import ray_engine as engine_ray
from deconvnet.scanning.engine import BATCH
from deconvnet.scanning.ray_engine import RayEngine, packed_job
from deconvnet.scanning.ray_worker import Worker
from deconvnet.scanning.wire import size_of, unpack

WORKERS = 2
NODE = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
SENT = [0]  # bytes of all blocks


def unpacking(packed):
    """Count what a block brought."""
    SENT[0] += size_of(packed)
    return unpack(packed)


class Mapped:
    """What Ray Data calls with each row: a worker of ours."""

    def __init__(self, job) -> None:
        self.worker = Worker(ray.get(job[0]))

    def __call__(self, row):
        """Run a shard; rows hold bytes."""
        return {"found": pickle.dumps(self.worker.run(*pickle.loads(row["shard"])))}


class OnRayData:
    """An engine: each shard a row of a data set that is mapped by actors."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Nothing is held."""

    def batch(self, watch):
        """Return the pictures of a forward pass."""
        return BATCH

    def run(self, job, shards, *, floor, tell):
        """Yield what each shard gives. The floor is that of the start, since the data set is planned ahead."""
        rows = [{"shard": pickle.dumps((shard, floor()))} for shard in shards]
        data = ray.data.from_items(rows, override_num_blocks=len(rows))
        data = data.map(Mapped, fn_constructor_args=([ray.put(packed_job(job, ray))],), concurrency=WORKERS, num_cpus=1)
        for row in data.iter_rows():
            found = unpacking(pickle.loads(row["found"]))
            tell(len(found.files))
            yield found


class Timed:
    """An engine that notes when each shard came; after `kill_after` of them it has a node killed."""

    def __init__(self, engine, kill=None, kill_after: int = 6) -> None:
        self.engine, self.kill, self.kill_after, self.times = engine, kill, kill_after, []

    def __enter__(self):
        self.engine.__enter__()
        return self

    def __exit__(self, *error):
        self.engine.__exit__(*error)

    def batch(self, watch):
        """Return the pictures of a forward pass."""
        return self.engine.batch(watch)

    def run(self, *given, **options):
        """Run the engine."""
        begun = time.perf_counter()
        for found in self.engine.run(*given, **options):
            self.times.append(time.perf_counter() - begun)
            yield found
            if self.kill and len(self.times) == self.kill_after:
                self.kill()


def scanned(kind: str, net, pictures, *, with_kill: bool = False, **options) -> tuple[float, Timed]:
    """Scan on a fresh cluster of two nodes; return seconds, and when the blocks came."""
    SENT[0] = 0
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    node = cluster.add_node(**NODE)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    for name in ("__main__", "ray_scan"):
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])
    engine = OnRayData() if kind == "Ray Data" else RayEngine(workers=WORKERS)
    timed = Timed(engine, (lambda: cluster.remove_node(node, allow_graceful=False)) if with_kill else None)
    try:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            deconvnet.scan(net, pictures, Path(folder) / "a.scan", engine=timed, **options).close()
            return time.perf_counter() - begun, timed
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> None:
    """Time both, undisturbed and with a node that dies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["RAY_memory_monitor_refresh_ms"] = "0"  # noqa: SIM112
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    engine_ray.unpack = unpacking
    net = deconvnet.DeconvNet(deconvnet.load_model("torchvision:squeezenet1_0", weights=given.weights))
    with tempfile.TemporaryDirectory() as folder:
        files = many(given.pictures, 2, folder)
        head(f"{len(files.names):,} pictures, {WORKERS} workers, blocks of 32", "seconds", "to the first block, s", "sent, MB")
        for kind in ("Ray Data", "plain actors") * given.rounds:
            took, timed = scanned(kind, net, files, shard=32)
            print(f"| {kind} | {took:.1f} | {timed.times[0]:.1f} | {SENT[0] / 1e6:.0f} |", flush=True)
    head("one of two nodes killed after 6 of 32 blocks", "seconds after it", "longest wait for a block, s")
    for kind in ("Ray Data", "plain actors") * given.rounds:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # what is said of lost nodes
            warnings.simplefilter("ignore")
            _, timed = scanned(kind, net, given.pictures, with_kill=True, shard=16, layers=["features.1"])
        after = np.array(timed.times[timed.kill_after - 1 :])
        print(f"| {kind} | {after[-1] - after[0]:.1f} | {np.diff(after).max():.1f} |", flush=True)


if __name__ == "__main__":
    main()
