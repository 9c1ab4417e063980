"""Measure a scan against the loop that a good PyTorch user writes, and plates against Captum; write docs/scan-speed.md.

    pip install -e ".[bench]"
    python benchmarks/scan.py PICTURES --weights squeezenet1_0.safetensors [--rounds 3]

The page is written once all parts are measured; with `--parts` and `--keep numbers.json` that can take several runs.

Everything runs in one process, interleaved round by round, except the memory, which is that of a separate process. *Own work*
is what a scan takes beyond reading the pictures and running the net: the processor's time without that of the net (the
reduction of its activations not counted), and without that of reading, decoding and stacking pictures. Each batch is computed
by one thread, so that a thread's time is the net's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torchvision
from matplotlib.figure import Figure
from outputs import WEIGHTS
from rivals import captum_calls
from torch import Tensor, nn

import deconvnet
from deconvnet.forward import ForwardEngine
from deconvnet.projection import project_units
from deconvnet.scanning import replicas, source
from deconvnet.scanning.best import BestEntries
from deconvnet.scanning.engine import ShardResult
from deconvnet.scanning.maxima import MaximaBuffer, MaximaReducer, scanned_layers
from deconvnet.scanning.run import SHARD, scan_settings
from deconvnet.scanning.source import open_source
from deconvnet.scanning.store import FIXED_POINT, Store
from deconvnet.scanning.topk import TopK

ROOT = Path(__file__).parents[1]
MODEL = "torchvision:squeezenet1_0"
THREE = ["features.5", "features.10", "features.12"]
BATCH = 32  # of the user's loop: what DataLoader examples take


def load(weights: str) -> deconvnet.DeconvNet:
    """Return the net that is scanned."""
    return deconvnet.DeconvNet(deconvnet.load_model(MODEL, weights=weights, device="cpu"))


def module_layers(net: deconvnet.DeconvNet) -> list[str]:
    """Return every module of the features, fire modules and what is in them: what a user would hook."""
    recorded = net.record_zeros().records()
    return [name for name, _ in net.model.named_modules() if name.startswith("features.") and name in recorded]


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def class_folder(pictures: str, folder: str, copies: int = 1) -> str:
    """Lay links to the pictures in one class folder, as ImageFolder wants them, each `copies` times under other names."""
    inside = Path(folder, "all")
    inside.mkdir()
    for number in range(copies):
        for path in sorted(Path(pictures).iterdir()):
            os.symlink(path.resolve(), inside / f"{number}-{path.name}")
    return folder


@torch.no_grad()
def user_loop(model: nn.Module, folder: str, layers: Sequence[str]) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Find each channel's nine strongest pictures and where, as a good user does: loader, hooks, running topk."""
    transform = torchvision.models.SqueezeNet1_0_Weights.IMAGENET1K_V1.transforms()
    dataset = torchvision.datasets.ImageFolder(folder, transform)
    loader = torch.utils.data.DataLoader(dataset, batch_size=BATCH, num_workers=2)
    best: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    maxima: dict[str, tuple[Tensor, Tensor]] = {}

    def hook(name: str) -> Any:
        def take(module: nn.Module, inputs: Any, output: Tensor) -> None:
            maxima[name] = output.flatten(2).max(2)  # faster than amax and argmax

        return take

    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(hook(name)) for name in layers]
    first = 0
    for images, _ in loader:
        model(images)
        numbers = torch.arange(first, first + len(images))[:, None]
        for name, (values, positions) in maxima.items():
            new = (values, positions, numbers.expand_as(values))
            joined = [torch.cat(pair) for pair in zip(best[name], new, strict=True)] if name in best else new
            scores, order = joined[0].topk(min(9, len(joined[0])), dim=0)
            best[name] = (scores, joined[1].gather(0, order), joined[2].gather(0, order))
        first += len(images)
    for handle in handles:
        handle.remove()
    return best


def scan_once(net: deconvnet.DeconvNet, pictures: str, layers: Sequence[str], **options: Any) -> None:
    """Scan into a new file."""
    with tempfile.TemporaryDirectory() as folder:
        deconvnet.scan(net, pictures, Path(folder, "net.scan"), layers=layers, **options).close()


class Clock:
    """Adds up the seconds of the processor that functions take, by name, in whichever threads they run."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.lock = threading.Lock()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, its time counted."""

        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                with self.lock:
                    self.spent[name] += time.thread_time() - started

        return call


def own_share(net: deconvnet.DeconvNet, pictures: str, layers: Sequence[str]) -> tuple[float, float]:
    """Scan once; return the seconds, and the share of the processor's time that is the scan's own work."""
    clock = Clock()
    with (
        patch.object(ForwardEngine, "_run", clock.timed("net", ForwardEngine._run)),
        patch.object(MaximaBuffer, "__call__", clock.timed("take", MaximaBuffer.__call__)),
        patch.object(replicas, "collate", clock.timed("stack", replicas.collate)),
        patch.object(source, "load_file", clock.timed("read", source.load_file)),
    ):
        started = time.process_time()
        total = seconds(lambda: scan_once(net, pictures, layers))
        everything = time.process_time() - started
    spent = clock.spent
    assert min(spent[name] for name in ("net", "take", "stack", "read")) > 0
    return total, 1 - (spent["net"] - spent["take"] + spent["read"] + spent["stack"]) / everything


def measure_rate(net: deconvnet.DeconvNet, pictures: str, layers: Sequence[str], rounds: int) -> dict[str, Any]:
    """Measure ours and the user's loop in turn: milliseconds per picture, ratios round by round, our own work's share."""
    count, model = len(open_source(pictures).names), load_plain(net)
    with tempfile.TemporaryDirectory() as folder:
        class_folder(pictures, folder)
        own_share(net, pictures, layers)
        pairs = [(own_share(net, pictures, layers), seconds(lambda: user_loop(model, folder, layers))) for _ in range(rounds)]
    ratios = [loop / ours for (ours, _), loop in pairs]
    return {
        "ours": 1000 * statistics.median(ours for (ours, _), _ in pairs) / count,
        "loop": 1000 * statistics.median(loop for _, loop in pairs) / count,
        "own": statistics.median(own for (_, own), _ in pairs),
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
    }


def load_plain(net: deconvnet.DeconvNet) -> nn.Module:
    """Return the user's own copy of the net, with torchvision's class and calls that are not in place, as hooks want them."""
    model = torchvision.models.squeezenet1_0(weights=None).eval()
    model.load_state_dict(net.model.state_dict())
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model


def peak_of_this_process() -> float:
    """Return the most memory that this process has held, MiB: by Linux's own count, which leaves out the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def peak_memory(pictures: str, weights: str, copies: int) -> float:
    """Return the peak of a process that scans the pictures, each several times under other names; MiB."""
    with tempfile.TemporaryDirectory() as folder:
        class_folder(pictures, folder, copies)
        command = [sys.executable, __file__, folder, "--weights", weights, "--only-scan"]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def measure_plates(net: deconvnet.DeconvNet, pictures: str, layer: str) -> dict[str, float]:
    """Measure a whole layer's projections, and with plates drawn, against Captum's calls on a sample of the units."""
    with tempfile.TemporaryDirectory() as folder:
        scan = deconvnet.scan(net, pictures, Path(folder, "net.scan"), layers=[layer])
        plate = scan.plate(layer)
        channels = plate.channels[layer]
        units, calls = 9 * len(channels), 40
        projecting = seconds(lambda: [None for _ in plate.examples()])
        drawing = seconds(lambda: plate.save(Path(folder, "layer.pdf")))
        rng = np.random.default_rng(0)
        sample = [scan.top(layer, int(channel))[0] for channel in rng.permutation(channels)[:calls]]
        captum, preprocess = captum_calls(load_plain(net), layer), net.preprocess
        assert preprocess is not None

        def theirs() -> None:
            for channel, hit in zip(rng.permutation(channels), sample, strict=False):
                image = preprocess(scan.pictures.path(hit.path))[None]
                captum(image, (int(channel), hit.row, hit.col))

        theirs()
        each = seconds(theirs) / calls
        recording = net.record([scan.pictures.path(hit.path) for hit in sample[:8]], layers=[layer])
        named = [(channel, 6, 6) for channel in range(64)]
        chosen = net.project(recording, layer, units=named).units
        alone = seconds(lambda: project_units(recording, layer, chosen, net.rules)) / len(named)
        scan.close()
    return {"units": units, "ours": projecting, "drawn": drawing, "captum": each * units, "each": each, "unit": alone}


def made_up(best: BestEntries, shards: int, shard: int) -> Iterator[float]:
    """Commit shards of made-up activations; yield the seconds of each transaction."""
    rng = np.random.default_rng(0)
    count, sizes = len(best.channels), np.array([layer.height * layer.width for layer, _ in best.channels])
    for number in range(shards):
        first = number * shard
        scores = np.sort(rng.gumbel(np.log(shard), 1, (count, 9)).astype(np.float32), 1)[:, ::-1].copy()
        pictures = first + rng.integers(0, shard, (count, 9))
        positions = (rng.random((count, 9)) * sizes[:, None]).astype(np.int32)
        fired = np.full(count, shard)
        files = [(first + at, 100_000, f"{first + at:064x}", None) for at in range(shard)]
        result = ShardResult(number + 1, TopK(scores, pictures, positions), fired, fired * FIXED_POINT, shard, files)
        yield seconds(lambda result=result: best.commit(result))  # type: ignore[misc]


def measure_store(net: deconvnet.DeconvNet, layers: Sequence[str], pictures: int = 100_000) -> dict[str, float]:
    """Measure the file, the transactions and the resuming of a scan of many pictures, with made-up activations."""
    recording = net.record_zeros()
    chosen = scanned_layers(recording, layers)
    shard = SHARD
    shards = pictures // shard
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.scan")
        with Store(path, create=True) as store:
            files = [f"class-{number % 1000:03}/picture-{number:06}.jpg" for number in range(shards * shard)]
            source = open_source([__file__])  # any file: the names come from the list
            settings = scan_settings(net, chosen, source, size=(3, 224, 224), top=9, shard=shard)
            store.begin(settings, [(layer.name, layer.channels, layer.height, layer.width) for layer in chosen])
            store.extend(files, shard)
            best = BestEntries(store, recording, chosen, 9)
            times = list(made_up(best, shards, shard))

            def resume() -> None:
                with Store(path) as again:
                    BestEntries(again, recording, chosen, 9)
                    list(again.waiting())

            resuming = seconds(resume)
        size = path.stat().st_size / 2**20
    return {
        "size": size,
        "first": times[0],
        "commit": statistics.median(times[1:]),
        "resume": resuming,
        "pictures": shards * shard,
    }


def main() -> None:
    """Measure all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", help="a folder of pictures")
    parser.add_argument("--weights", default="DEFAULT", help="of SqueezeNet 1.0: a file, or DEFAULT to download them")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--parts", default="rate,plates,store,memory", help="what to measure (default: all)")
    parser.add_argument("--keep", type=Path, help="a JSON file with what earlier runs measured, to be added to")
    parser.add_argument("--only-scan", action="store_true", help="scan and print the process's peak memory, MiB")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    net = load(options.weights)
    layers = module_layers(net)
    if options.only_scan:
        scan_once(net, options.pictures, layers)
        print(peak_of_this_process())
        return
    parts = options.parts.split(",")
    numbers = json.loads(options.keep.read_text()) if options.keep and options.keep.exists() else {}
    reducer = MaximaReducer(net, scanned_layers(net.record_zeros(), layers), (3, 224, 224))
    numbers["about"] = {
        "layers": len(layers),
        "channels": reducer.channels,
        "pictures": len(open_source(options.pictures).names),
    }
    if "rate" in parts:
        numbers["all"] = measure_rate(net, options.pictures, layers, options.rounds)
        print(numbers["all"], flush=True)
        numbers["three"] = measure_rate(net, options.pictures, THREE, options.rounds)
        print(numbers["three"], flush=True)
    if "plates" in parts:
        numbers["plates"] = measure_plates(net, options.pictures, "features.10")
        print(numbers["plates"], flush=True)
    if "store" in parts:
        numbers["store"] = measure_store(net, layers)
        print(numbers["store"], flush=True)
    if "memory" in parts:
        numbers["memory"] = {
            str(copies): peak_memory(options.pictures, os.path.abspath(options.weights), copies) for copies in (1, 10)
        }
        print(numbers["memory"], flush=True)
    print(json.dumps(numbers))
    if options.keep:
        options.keep.write_text(json.dumps(numbers, indent=1) + "\n")
    if {"all", "three", "plates", "store", "memory"} <= set(numbers):
        numbers["about"]["rounds"] = options.rounds
        numbers["about"]["release"] = release_of(options.weights)
        draw(numbers, ROOT / "docs" / "pictures" / "scan-speed.png")
        (ROOT / "docs" / "scan-speed.md").write_text(page(numbers))


def release_of(weights: str) -> str:
    """Return what is to be said of the weights that the pages are measured with."""
    is_compressed = os.path.isfile(weights) and hashlib.sha256(Path(weights).read_bytes()).hexdigest() == WEIGHTS
    return " (a pruned and quantised release)" if is_compressed else ""


def draw(numbers: dict[str, Any], path: Path) -> None:
    """Draw milliseconds per picture, ours and the loop's, and of ours the part that is the scan's own work."""
    rows = [("all layers", numbers["all"]), ("three layers", numbers["three"])]
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for at, (_, row) in enumerate(rows):
        own = row["ours"] * row["own"]
        first = at == 0
        axes.barh(at - 0.2, row["loop"], 0.36, color="#bbbbbb", label="a good user's loop" if first else None)
        axes.barh(at + 0.2, row["ours"] - own, 0.36, color="#1f77b4", label="ours: reading and the net" if first else None)
        axes.barh(at + 0.2, own, 0.36, row["ours"] - own, color="#ff7f0e", label="ours: the scan's own work" if first else None)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds per picture (shorter is faster)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def page(numbers: dict[str, Any]) -> str:
    """Return docs/scan-speed.md."""
    about, plates, store, memory = (numbers[name] for name in ("about", "plates", "store", "memory"))
    rate = [
        f"| {name} | {row['ours']:.1f} | {row['loop']:.1f} | {row['ratio']:.2f} ({row['least']:.2f} to {row['most']:.2f}) |"
        f" {aim} | {row['own']:.0%} | {own} |"
        for name, row, aim, own in (
            (f"all {about['layers']}, {about['channels']:,} channels", numbers["all"], "2.5", "20 %"),
            (", ".join(f"`{name}`" for name in THREE), numbers["three"], "", "8 %"),
        )
    ]
    return PAGE.format(
        torch=torch.__version__.split("+")[0],
        threads=torch.get_num_threads(),
        rate="\n".join(rate),
        batch=BATCH,
        **about,
        units=plates["units"],
        projecting=plates["ours"],
        drawn=plates["drawn"],
        each=1000 * plates["each"],
        captum=plates["captum"],
        ratio=plates["captum"] / plates["ours"],
        many=store["pictures"],
        size=store["size"],
        first=store["first"],
        commit=store["commit"],
        resume=store["resume"],
        once=memory["1"],
        ten=memory["10"],
        more=10 * about["pictures"],
    )


PAGE = """# How fast a scan is

Written by `benchmarks/scan.py`: SqueezeNet 1.0{release}, {pictures} photographs, torch
{torch}, CPU, {threads} threads, medians of {rounds} interleaved rounds. Machines differ and so do days: trust the ratios.

## Pictures

Milliseconds per picture, with start and store. *Loop*: what a good user writes: ImageFolder, a DataLoader with 2 workers and
batches of {batch}, the weights' transforms, a hook on every module, `max`, a running `topk` with positions. *Own work*: the
share of the processor's time that is neither the net's forward pass nor reading, decoding and stacking pictures.

| layers | ours | loop | ratio (rounds) | aim | own work | aim |
|---|---|---|---|---|---|---|
{rate}

![milliseconds per picture](pictures/scan-speed.png)

## Plates

All of `features.10`, {units} projections: {projecting:.1f} s, with the pages drawn {drawn:.1f} s. Captum's
`NeuronDeconvolution`: {each:.0f} ms each, measured on 40 of them, which makes {captum:.0f} s for all: {ratio:.1f} times
ours (aim 10).

## Many pictures

{many:,} pictures with made-up activations, all {channels:,} channels: a file of {size:.0f} MiB, {commit:.2f} s for a shard's
transaction ({first:.2f} s for the first), {resume:.2f} s to resume.

The peak memory of a process that scans {pictures} pictures is {once:.0f} MiB, of one that scans {more:,} (the same under other
names) {ten:.0f} MiB.
"""


if __name__ == "__main__":
    main()
