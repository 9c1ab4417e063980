"""Compare Ray Data with this package's plain actors on one scan: time, bytes, and what happens when a node is killed.

    python benchmarks/ray_data.py PICTURES --weights squeezenet1_0.safetensors

Prints the tables of "Why not Ray Data" in docs/cluster.md. Starts its own clusters, of two nodes with one core each.
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
from deconvnet.scanning import ray_pool
from deconvnet.scanning.engine import CPU_BATCH
from deconvnet.scanning.ray_engine import RayEngine, pack_job
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
    """What Ray Data calls with each row: one of our workers."""

    def __init__(self, job) -> None:
        self.worker = Worker(ray.get(job[0]))

    def __call__(self, row):
        """Run a shard; rows hold bytes."""
        return {"result": pickle.dumps(self.worker.run(*pickle.loads(row["shard"])))}


class RayDataEngine:
    """An engine: each shard is a row of a dataset, which actors map."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Do nothing."""

    def batch_size(self, reducer):
        """Return the pictures of a forward pass."""
        return CPU_BATCH

    def run(self, job, shards, *, floor, on_progress):
        """Yield the result of each shard. The floor is that of the start, since tasks are planned ahead."""
        rows = [{"shard": pickle.dumps((shard, floor()))} for shard in shards]
        data = ray.data.from_items(rows, override_num_blocks=len(rows))
        data = data.map(Mapped, fn_constructor_args=([ray.put(pack_job(job, ray))],), concurrency=WORKERS, num_cpus=1)
        for row in data.iter_rows():
            result = unpacking(pickle.loads(row["result"]))
            on_progress(len(result.files))
            yield result


class Timed:
    """An engine that notes when each result came; after `kill_after` of them a node is killed."""

    def __init__(self, engine, kill=None, kill_after: int = 6) -> None:
        self.engine, self.kill, self.kill_after, self.times = engine, kill, kill_after, []

    def __enter__(self):
        self.engine.__enter__()
        return self

    def __exit__(self, *error):
        self.engine.__exit__(*error)

    def batch_size(self, reducer):
        """Return the pictures of a forward pass."""
        return self.engine.batch_size(reducer)

    def run(self, *arguments, **options):
        """Run the engine."""
        begun = time.perf_counter()
        for result in self.engine.run(*arguments, **options):
            self.times.append(time.perf_counter() - begun)
            yield result
            if self.kill and len(self.times) == self.kill_after:
                self.kill()


def scanned(kind: str, net, pictures, *, with_kill: bool = False, **options) -> tuple[float, Timed]:
    """Scan on a new cluster of two nodes; return seconds, and when the blocks came."""
    SENT[0] = 0
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    node = cluster.add_node(**NODE)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    for name in ("__main__", "ray_scan"):
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])
    engine = RayDataEngine() if kind == "Ray Data" else RayEngine(workers=WORKERS)
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
    """Time both, undisturbed, and with a node that dies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["RAY_memory_monitor_refresh_ms"] = "0"  # noqa: SIM112
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray_pool.unpack = unpacking
    net = deconvnet.DeconvNet(deconvnet.load_model("torchvision:squeezenet1_0", weights=arguments.weights))
    with tempfile.TemporaryDirectory() as folder:
        files = many(arguments.pictures, 2, folder)
        head(f"{len(files.names):,} pictures, {WORKERS} workers, blocks of 32", "seconds", "to the first block, s", "sent, MB")
        for kind in ("Ray Data", "plain actors") * arguments.rounds:
            took, timed = scanned(kind, net, files, shard=32)
            print(f"| {kind} | {took:.1f} | {timed.times[0]:.1f} | {SENT[0] / 1e6:.0f} |", flush=True)
    head("one of two nodes killed after 6 of 32 blocks", "seconds after it", "longest wait for a block, s")
    for kind in ("Ray Data", "plain actors") * arguments.rounds:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # Ray's messages on lost nodes
            warnings.simplefilter("ignore")
            _, timed = scanned(kind, net, arguments.pictures, with_kill=True, shard=16, layers=["features.1"])
        after = np.array(timed.times[timed.kill_after - 1 :])
        print(f"| {kind} | {after[-1] - after[0]:.1f} | {np.diff(after).max():.1f} |", flush=True)


if __name__ == "__main__":
    main()
