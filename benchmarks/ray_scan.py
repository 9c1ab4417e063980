"""What a scan on Ray costs compared with a local one: overhead, block sizes, memory, and the merge of 100,000 channels.

    python benchmarks/ray_scan.py PICTURES --weights squeezenet1_0.safetensors

Prints the tables of docs/cluster.md. PICTURES: a folder of photographs. Starts a Ray of its own, with two cores.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import deconvnet
from deconvnet.scanning import ray_pool
from deconvnet.scanning.best import BestEntries
from deconvnet.scanning.engine import ShardResult
from deconvnet.scanning.maxima import scanned_layers
from deconvnet.scanning.ray_worker import Worker
from deconvnet.scanning.run import scan_settings
from deconvnet.scanning.source import LocalFiles, open_source
from deconvnet.scanning.store import Store
from deconvnet.scanning.topk import TopK, merge
from deconvnet.scanning.wire import pack, size_of, unpack

IMAGENET = 1_281_167  # pictures of its training set
BLOCKS: list[dict] = []  # of every block that arrived: seconds in the worker, bytes, memory


class TimedWorker(Worker):
    """Sends with each block when it began, how long it took, and how much memory its process holds."""

    def run(self, shard, floor):
        """Run one shard, and note the time."""
        begun = time.time()
        packed = super().run(shard, floor)
        return {**packed, "begun": begun, "seconds": time.time() - begun, "process": os.getpid(), "works": held()}


def held() -> int:
    """Return the bytes of memory that this process holds."""
    with open("/proc/self/statm") as handle:
        return int(handle.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def unpacking(packed):
    """Note what a block brought, and what the driver holds."""
    noted = {name: packed[name] for name in ("begun", "seconds", "process", "works")}
    BLOCKS.append({**noted, "bytes": size_of(packed), "driver": held()})
    return unpack(packed)


def head(*columns: str) -> None:
    """Print the head of a table."""
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")


def timed(net, pictures, **options) -> float:
    """Scan into a file that is thrown away; return seconds."""
    BLOCKS.clear()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.time()
        deconvnet.scan(net, pictures, Path(folder) / "a.scan", **options).close()
        return time.time() - begun


def many(pictures, copies: int, folder: str) -> LocalFiles:
    """Return the same photographs under many names."""
    names = sorted(Path(pictures).iterdir())
    for copy in range(copies):
        for path in names:
            os.symlink(path.resolve(), Path(folder) / f"{copy:03d}-{path.name}")
    return LocalFiles(folder, tuple(sorted(os.listdir(folder))))


def overhead(net, pictures, copies: int, rounds: int = 3) -> None:
    """Scan the same pictures locally and on Ray, with as many workers, in turns; print the medians of the rounds.

    Start: until a worker begins its first block, which takes as long for any scan.
    """
    kinds = {(engine, workers): {"engine": engine, "workers": workers} for workers in (1, 2) for engine in ("local", "ray")}
    rounds_of: dict[tuple[str, int], list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        files = many(pictures, copies, folder)
        for _, (kind, options) in itertools.product(range(rounds), kinds.items()):
            torch.set_num_threads(options["workers"] if kind[0] == "local" else 1)
            begun = time.time()
            took = timed(net, files, shard=64, **options)
            start = min(block["begun"] for block in BLOCKS) - begun if BLOCKS else 0.0
            busy = sum(block["seconds"] for block in BLOCKS) / options["workers"]
            rounds_of[kind].append((took, start, busy))
    torch.set_num_threads(1)
    count = len(files.names)
    head(f"{count:,} pictures", "pictures/s", "slowest and fastest round", "start, s", "pictures/s after it", "workers busy")
    for (engine, workers), times in rounds_of.items():
        took, start, busy = np.median(times, 0)
        slowest, *_, fastest = sorted(count / seconds for seconds, _, _ in times)
        row = [f"{engine}, {workers}", f"{count / took:.1f}", f"{slowest:.1f}, {fastest:.1f}", f"{start:.1f}"]
        row += [f"{count / (took - start):.1f}", f"{busy / (took - start):.0%}" if busy else ""]
        print("| " + " | ".join(row) + " |", flush=True)


def blocks(net, pictures) -> None:
    """Scan in blocks of several sizes with one worker; time outside of the worker is Ray's, or the start of its process."""
    count = len(list(Path(pictures).iterdir()))
    head("pictures per block", "pictures/s", "between blocks, ms per block", "share of the time", "KB per block")
    for shard in (2, 8, 32, 128):
        moments: list[float] = []
        ray_pool.unpack = lambda packed, moments=moments: (moments.append(time.perf_counter()), unpacking(packed))[1]
        timed(net, pictures, shard=shard, engine="ray", workers=1)
        wall = moments[-1] - moments[0]  # from the arrival of the first block on: without the start
        busy = sum(block["seconds"] for block in BLOCKS[1:])
        size = np.mean([block["bytes"] for block in BLOCKS]) / 1000
        idle = wall - busy
        row = f"{shard} | {(count - shard) / wall:.1f} | {1000 * idle / (len(BLOCKS) - 1):.1f} | {idle / wall:.1%} | {size:.0f}"
        print(f"| {row} |", flush=True)
    ray_pool.unpack = unpacking


def memory(net, pictures, copies: int) -> None:
    """Scan the same photographs under many names; print what the driver and each worker hold as the scan proceeds."""
    with tempfile.TemporaryDirectory() as folder:
        timed(net, many(pictures, copies, folder), shard=100, engine="ray", workers=2, layers=["features.1"])
    numbers = {process: number for number, process in enumerate(dict.fromkeys(block["process"] for block in BLOCKS))}
    head("pictures done", "driver, MB", *(f"worker {number + 1}, MB" for number in numbers.values()))
    for at in np.geomspace(4, len(BLOCKS), 7).round().astype(int):
        last = {block["process"]: block["works"] for block in BLOCKS[:at]}
        row = [BLOCKS[at - 1]["driver"], *(last.get(process, 0) for process in numbers)]
        print(f"| {100 * at:,} | " + " | ".join(f"{value / 1e6:.0f}" for value in row) + " |")


def made_up(channels: int, count: int, top: int, first: int, chance: np.random.Generator) -> ShardResult:
    """Draw the `top` best of `count` random scores for each channel: the k-th best is the (k-1)-th times U^(1/(n-k+1))."""
    powers = chance.random((channels, top)) ** (1 / (count - np.arange(top)))
    scores = np.cumprod(powers, 1).astype(np.float32)
    numbers = first + np.argsort(chance.random((channels, 32)), axis=1)[:, :top]
    best = TopK(scores, numbers.astype(np.int64), chance.integers(0, 64, (channels, top), np.int32))
    fired = np.full(channels, count, np.int64)
    files = [(first + number, 110_000, "0" * 64, None) for number in range(count)]
    return ShardResult(first // count + 1, best, fired, fired, count, files)


def merging(channels: int, blocks: int = 256, top: int = 9, count: int = 512) -> None:
    """Merge made-up blocks; print what the driver does with each as the table fills, and for all of ImageNet's training set.

    A share of 1/n of the entries of block n enters the table, which gives the time of blocks after the last that was run.
    """
    chance, times = np.random.default_rng(0), []
    net = deconvnet.DeconvNet(torch.nn.Sequential(torch.nn.Conv2d(3, channels, 3), torch.nn.ReLU()))
    recording = net.record_zeros((3, 10, 10))
    layers = scanned_layers(recording, ["1"])
    head(f"block ({channels:,} channels)", "sent, MB", "entries sent", "rows written", "unpack, ms", "merge, ms", "commit, ms")
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "a.scan", create=True) as store:
        settings = scan_settings(net, layers, open_source(torch.zeros(1, 3, 10, 10)), size=(3, 10, 10), top=top, shard=count)
        store.begin(settings, [(layer.name, channels, layer.height, layer.width) for layer in layers])
        store.extend([f"{number}.jpg" for number in range(blocks * count)], count)
        best = BestEntries(store, recording, layers, top)
        for number in range(blocks):
            packed = pack(made_up(channels, count, top, number * count, chance), best.floor)
            begun = time.perf_counter()
            result = unpack(packed)
            unpacked = time.perf_counter()
            after = merge(best.top, result.top)
            merged = time.perf_counter()
            rows = np.count_nonzero(after.pictures != best.top.pictures)
            counted = time.perf_counter()
            best.commit(result)  # merges once more
            commit = time.perf_counter() - counted - (merged - unpacked)
            steps = (unpacked - begun, merged - unpacked, commit)
            times.append((rows, sum(steps)))
            if (number + 1).bit_count() == 1 and (number + 1).bit_length() % 2:  # 1, 4, 16, ...
                sent = f"{size_of(packed) / 1e6:.1f} | {packed['entries'].num_rows:,} | {rows:,}"
                print(f"| {number + 1} | {sent} | {' | '.join(f'{1000 * seconds:.0f}' for seconds in steps)} |", flush=True)
    written, seconds = np.array(times).T
    per_row, per_block = np.polyfit(written, seconds, 1)
    later = np.arange(blocks + 1, -(-IMAGENET // count) + 1)
    total = seconds.sum() + (per_block + per_row * written[-1] * blocks / later).sum()
    print(f"\n{1e3 * per_block:.0f} ms per block and {1e6 * per_row:.1f} us per row; {blocks} blocks: {seconds.sum():.0f} s")
    print(f"the {later[-1]:,} of {IMAGENET:,} pictures would take {total / 60:.1f} min")


def pieces(net, pictures) -> None:
    """Print what reading and preparing a picture takes on one core."""
    names = tuple(sorted(os.listdir(pictures))[:200])
    files = LocalFiles(str(pictures), names)
    begun = time.perf_counter()
    for number, name in enumerate(names):
        files.load(number, name, net.preprocess)
    print(f"\nread, decode, resize and hash: {len(names) / (time.perf_counter() - begun):.0f} pictures/s on one core")
    print(f"bytes per picture: {np.mean([files.size(name) for name in names]):,.0f}")


def main() -> None:
    """Run all parts, or a single one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--only", choices=["overhead", "blocks", "memory", "merging", "pieces"])
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--channels", type=int, default=100_000, help="of the made-up tables")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    net = deconvnet.DeconvNet(deconvnet.load_model("torchvision:squeezenet1_0", weights=arguments.weights))
    ray_pool.Worker, ray_pool.unpack = TimedWorker, unpacking
    parts = {
        "pieces": lambda: pieces(net, arguments.pictures),
        "merging": lambda: merging(arguments.channels),
        "overhead": lambda: overhead(net, arguments.pictures, max(1, arguments.copies // 4)),
        "blocks": lambda: blocks(net, arguments.pictures),
        "memory": lambda: memory(net, arguments.pictures, arguments.copies),
    }
    if arguments.only not in ("pieces", "merging"):
        import ray

        options = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_dashboard": False}
        ray.init(address="local", log_to_driver=False, logging_level=logging.ERROR, **options)
        ray.cloudpickle.register_pickle_by_value(__import__(__name__))
    for name, part in parts.items():
        if arguments.only in (None, name):
            part()


if __name__ == "__main__":
    main()
