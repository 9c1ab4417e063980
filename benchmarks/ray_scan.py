"""What a scan on Ray costs beside the local one: overhead, block sizes, memory, and the merge of 100,000 channels.

    python benchmarks/ray_scan.py PICTURES --weights squeezenet1_0.safetensors

Prints the tables of docs/cluster.md. PICTURES: a folder of photographs. Starts a Ray of its own, with two cores.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import deconvnet
from deconvnet.scan import engine_ray
from deconvnet.scan.arrow import pack, size_of, unpack
from deconvnet.scan.engine import Found
from deconvnet.scan.pictures import Files
from deconvnet.scan.store import Store
from deconvnet.scan.topk import Top, merge
from deconvnet.scan.worker import Worker

SEEN: list[dict] = []  # of every block that arrived: pictures, seconds in the worker, bytes, memory


class TimedWorker(Worker):
    """Sends with each block how long it took and how much memory its process has taken at most."""

    def run(self, shard, floor):
        """Run one shard, and note the time."""
        begun = time.perf_counter()
        packed = super().run(shard, floor)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {**packed, "seconds": time.perf_counter() - begun, "peak": peak}


def unpacking(packed):
    """Note what a block brought, and what the driver holds."""
    with open("/proc/self/statm") as handle:
        held = int(handle.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    SEEN.append({"seconds": packed["seconds"], "bytes": size_of(packed), "peak": packed["peak"] * 1024, "held": held})
    return unpack(packed)


def head(*columns: str) -> None:
    """Print a table's head."""
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")


def timed(net, pictures, **options) -> float:
    """Scan into a file that is thrown away; return seconds."""
    SEEN.clear()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        deconvnet.scan(net, pictures, Path(folder) / "a.scan", **options).close()
        return time.perf_counter() - begun


def overhead(net, pictures) -> None:
    """The same pictures by the local engine and on Ray, in turns."""
    count = len(list(Path(pictures).iterdir()))
    kinds = {
        "local, 1 thread": (1, {"workers": 1}),
        "Ray, 1 worker": (1, {"workers": 1, "engine": "ray"}),
        "local, 2 threads": (2, {"workers": 2}),
        "Ray, 2 workers": (1, {"workers": 2, "engine": "ray"}),
    }
    head(f"{count} pictures", "pictures/s", "of the time in workers")
    for name, (threads, options) in kinds.items():
        torch.set_num_threads(threads)
        took = timed(net, pictures, shard=64, **options)
        busy = sum(block["seconds"] for block in SEEN) / options["workers"] / took if SEEN else None
        print(f"| {name} | {count / took:.1f} | {'' if busy is None else f'{busy:.0%}'} |", flush=True)
    torch.set_num_threads(1)


def blocks(net, pictures) -> None:
    """Blocks of many sizes with one worker; what is not in the worker is Ray's, or the start of the worker's process."""
    count = len(list(Path(pictures).iterdir()))
    head("pictures a block", "pictures/s", "between blocks, ms a block", "share of the time", "KB a block")
    for shard in (2, 8, 32, 128):
        moments: list[float] = []
        engine_ray.unpack = lambda packed, moments=moments: (moments.append(time.perf_counter()), unpacking(packed))[1]
        timed(net, pictures, shard=shard, engine="ray", workers=1)
        wall = moments[-1] - moments[0]  # from the first block's arrival on: without the start
        busy = sum(block["seconds"] for block in SEEN[1:])
        size = np.mean([block["bytes"] for block in SEEN]) / 1000
        idle = wall - busy
        row = f"{shard} | {(count - shard) / wall:.1f} | {1000 * idle / (len(SEEN) - 1):.1f} | {idle / wall:.1%} | {size:.0f}"
        print(f"| {row} |", flush=True)
    engine_ray.unpack = unpacking


def memory(net, pictures, copies: int) -> None:
    """The same photographs under many names: what the driver and the workers hold as the scan goes on."""
    with tempfile.TemporaryDirectory() as folder:
        names = sorted(Path(pictures).iterdir())
        for copy in range(copies):
            for path in names:
                os.symlink(path.resolve(), Path(folder) / f"{copy:03d}-{path.name}")
        timed(net, Files(folder, tuple(sorted(os.listdir(folder)))), shard=100, engine="ray", workers=2, layers=["features.1"])
    head("pictures done", "driver, MB", "a worker at most, MB")
    for at in np.linspace(1, len(SEEN), 5).round().astype(int):
        peak = max(block["peak"] for block in SEEN[:at])
        print(f"| {100 * at:,} | {SEEN[at - 1]['held'] / 1e6:.0f} | {peak / 1e6:.0f} |")


def made_up(channels: int, count: int, top: int, first: int, chance: np.random.Generator) -> Found:
    """The `top` best of `count` random scores a channel, drawn as such: the k-th best is the (k-1)-th times U^(1/(n-k+1))."""
    powers = chance.random((channels, top)) ** (1 / (count - np.arange(top)))
    scores = np.cumprod(powers, 1).astype(np.float32)
    numbers = first + np.argsort(chance.random((channels, 32)), axis=1)[:, :top]
    best = Top(scores, numbers.astype(np.int64), np.zeros((channels, top), np.int32))
    fired = np.full(channels, count, np.int64)
    files = [(first + number, 110_000, "0" * 64, None) for number in range(count)]
    return Found(first // count + 1, first, best, count, fired, fired, files)


def merging(channels: int, top: int = 9, count: int = 512) -> None:
    """Made-up blocks: what the driver does with each, as the table fills."""
    chance, best = np.random.default_rng(0), Top.empty(channels, top)
    head(f"block ({channels:,} channels)", "sent, MB", "entries that enter", "unpack, ms", "merge, ms", "commit, ms")
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "a.scan", create=True) as store:
        store.begin({"root": None, "shard": count}, [("layer", channels, 1, 1)])
        store.extend([f"{number}.jpg" for number in range(16 * count)], count)
        for number in range(16):
            packed = pack(made_up(channels, count, top, number * count, chance), best.floor)
            begun = time.perf_counter()
            found = unpack(packed)
            unpacked = time.perf_counter()
            after = merge(best, found.top)
            merged = time.perf_counter()
            changed = after.pictures != best.pictures
            at, ranks = np.nonzero(changed)
            zeros = np.zeros(len(at), np.int64)
            columns = (at, ranks + 1, after.pictures[changed], after.scores[changed].astype(np.float64), *[zeros] * 6)
            rows = (("layer", *row) for row in zip(*(column.tolist() for column in columns), strict=True))
            counts = zip(range(channels), found.fired.tolist(), found.total.tolist(), strict=True)
            store.commit(found.shard, found.files, rows, (("layer", channel, count, one, two) for channel, one, two in counts))
            done, best = time.perf_counter(), after
            if number + 1 in (1, 2, 4, 8, 16):
                times = " | ".join(f"{1000 * seconds:.0f}" for seconds in (unpacked - begun, merged - unpacked, done - merged))
                print(f"| {number + 1} | {size_of(packed) / 1e6:.1f} | {packed['entries'].num_rows:,} | {times} |", flush=True)


def pieces(net, pictures) -> None:
    """One core: reading and preparing a picture, and the net."""
    names = tuple(sorted(os.listdir(pictures))[:200])
    files = Files(str(pictures), names)
    begun = time.perf_counter()
    for number, name in enumerate(names):
        files.see(number, name, net.preprocess)
    print(f"\nread, decode, resize and hash: {len(names) / (time.perf_counter() - begun):.0f} pictures/s on one core")
    print(f"bytes a picture: {np.mean([files.size(name) for name in names]):,.0f}")


def main() -> None:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--only", choices=["overhead", "blocks", "memory", "merging", "pieces"])
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--channels", type=int, default=100_000, help="of the made-up tables")
    given = parser.parse_args()
    torch.set_num_threads(1)
    net = deconvnet.DeconvNet(deconvnet.load_model("torchvision:squeezenet1_0", weights=given.weights))
    engine_ray.Worker, engine_ray.unpack = TimedWorker, unpacking
    parts = {
        "pieces": lambda: pieces(net, given.pictures),
        "merging": lambda: merging(given.channels),
        "overhead": lambda: overhead(net, given.pictures),
        "blocks": lambda: blocks(net, given.pictures),
        "memory": lambda: memory(net, given.pictures, given.copies),
    }
    if given.only not in ("pieces", "merging"):
        import ray

        options = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_dashboard": False}
        ray.init(address="local", log_to_driver=False, logging_level=logging.ERROR, **options)
        ray.cloudpickle.register_pickle_by_value(__import__(__name__))
    for name, part in parts.items():
        if given.only in (None, name):
            part()


if __name__ == "__main__":
    main()
