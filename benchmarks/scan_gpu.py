"""Measure a scan on a GPU against what bounds it, and against a good user's loop; write docs/scan-gpu.md.

    python benchmarks/scan_gpu.py [--pictures 6000]
    python benchmarks/scan_gpu.py --device cpu --pictures 64 --nets alexnet --out page.md   # whether it runs

Pictures are made: JPEGs of 375 x 500, drawings under noise, about as large as photographs. Weights are random. Reading:
pictures read ahead as a scan does, and nothing else. On a card `--decode gpu` is measured, too, alone and in scans in fp32
and TF32, where TorchCodec or torchvision decodes there. Forward: the net to its deepest scanned layer, images on the device.
Loop: a DataLoader with as many workers as cores, Pillow, hooks with `max`, a running `topk`. At most five minutes on a card.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

import deconvnet
from deconvnet.choices import PRECISIONS, Decode, Precision
from deconvnet.drawings import draw
from deconvnet.errors import MissingPackageError
from deconvnet.images import Preprocess
from deconvnet.layers import choose_layers
from deconvnet.scanning.device_jpegs import find_decoder
from deconvnet.scanning.engine import Job, Shard
from deconvnet.scanning.engine_local import READ_TOGETHER, load_ahead
from deconvnet.scanning.maxima import MaximaReducer, scanned_layers
from deconvnet.scanning.precision import computing
from deconvnet.scanning.reading import batched, prefetch, reading
from deconvnet.scanning.source import open_source

ROOT = Path(__file__).parents[1]
NETS = ("alexnet", "resnet50", "vgg16")
PLATES = {"alexnet": "features.11", "resnet50": "layer3", "vgg16": "features.29"}
PREPROCESS = Preprocess(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NEAR = 1e-4  # relative: entries whose activations differ by less may swap


def make_pictures(folder: Path, count: int) -> None:
    """Save JPEGs of twenty drawings, each with noise of its own, so that they compress as photographs do."""
    chance = np.random.default_rng(0)
    base = [np.asarray(draw(seed=seed).picture.resize((500, 375)), np.float32) for seed in range(20)]
    for number in range(count):
        pixels = base[number % 20] + chance.normal(0, 9, (375, 500, 1)).astype(np.float32)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:06}.jpg", quality=85)


def load(name: str, device: str, decode: Decode = "exact") -> deconvnet.DeconvNet:
    """Return a net with random weights, the same on every device."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    return deconvnet.DeconvNet(model.to(device), preprocess=replace(PREPROCESS, decode=decode))


def per_second(count: int, run: Callable[[], object], device: str) -> float:
    """Return how many pictures a second something does."""
    started = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return count / (time.perf_counter() - started)


def read_all(folder: Path) -> None:
    """Read all pictures as a scan does."""
    source = open_source(folder)
    with reading(PREPROCESS, None, None) as (pool, preprocess, workers):

        def read(part: Sequence[tuple[int, str]]) -> None:
            for item in part:
                source.load(*item, preprocess)

        for _ in prefetch(pool, read, batched(enumerate(source.names), READ_TOGETHER), workers + 48):
            pass


def decode_all(net: deconvnet.DeconvNet, folder: Path) -> None:
    """Read all pictures as a scan with `--decode gpu` does, to pixels on the device."""
    source, reader = open_source(folder), net.picture_reader
    job = Job(reducer_of(net), source, reader, 64, 9)
    shard = Shard(0, 0, source.names, range(len(source.names)))
    with reading(reader, None, None) as (pool, preprocess, workers):
        for _ in load_ahead(pool, job, [shard], workers, preprocess):
            pass


def reducer_of(net: deconvnet.DeconvNet) -> MaximaReducer:
    """Return what runs the net for a scan of its default layers."""
    recording = net.record_zeros((3, 224, 224))
    return MaximaReducer(net, scanned_layers(recording, choose_layers(recording, None)), (3, 224, 224))


def forward_all(net: deconvnet.DeconvNet, count: int, batch: int, precision: Precision) -> None:
    """Run the scan's part of a net over images that are on the device."""
    reducer = reducer_of(net)
    images = torch.zeros(batch, 3, 224, 224, device=net.device).contiguous(memory_format=torch.channels_last)
    with computing(precision, net.device):
        for _ in range(max(1, count // batch)):
            reducer.engine(images, lambda name, activations: None)


class JpegFolder(torch.utils.data.Dataset[Tensor]):
    """The pictures of a folder, by Pillow and torchvision's transforms."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.iterdir())
        self.transform = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Tensor:
        with Image.open(self.paths[number]) as picture:
            image: Tensor = self.transform(picture.convert("RGB"))
        return image


@torch.no_grad()
def loop(net: deconvnet.DeconvNet, folder: Path, layers: Sequence[str], batch: int) -> None:
    """Find each channel's nine strongest pictures and where, as a good user does."""
    loader = torch.utils.data.DataLoader(JpegFolder(folder), batch, num_workers=os.cpu_count() or 1, pin_memory=True)
    best: dict[str, tuple[Tensor, ...]] = {}
    maxima: dict[str, tuple[Tensor, Tensor]] = {}

    def hook(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def take(module: nn.Module, inputs: Any, output: Tensor) -> None:
            maxima[name] = output.flatten(2).max(2)

        return take

    modules = dict(net.model.named_modules())
    handles = [modules[name].register_forward_hook(hook(name)) for name in layers]
    first = 0
    for images in loader:
        net.model(images.to(net.device, non_blocking=True, memory_format=torch.channels_last))
        numbers = torch.arange(first, first + len(images), device=net.device)[:, None]
        for name, (values, positions) in maxima.items():
            new = (values, positions, numbers.expand_as(values))
            joined = [torch.cat(pair) for pair in zip(best[name], new, strict=True)] if name in best else new
            scores, order = joined[0].topk(min(9, len(joined[0])), dim=0)
            best[name] = (scores, joined[1].gather(0, order), joined[2].gather(0, order))
        first += len(images)
    for values in best.values():
        values[0].cpu()
    for handle in handles:
        handle.remove()


def scan_all(net: deconvnet.DeconvNet, pictures: Any, path: Path, **options: Any) -> None:
    """Scan into a new file."""
    path.unlink(missing_ok=True)
    deconvnet.scan(net, pictures, path, **options).close()


def entries(path: Path) -> dict[tuple[str, int, int], tuple[int, float]]:
    """Return a table: picture and activation of each layer, channel and rank."""
    with closing(sqlite3.connect(path)) as base:
        rows = base.execute("select layer, channel, hit_rank, picture, activation from hits").fetchall()
    return {(layer, channel, rank): (picture, activation) for layer, channel, rank, picture, activation in rows}


def agreement(name: str, folder: Path, work: Path, device: str) -> float:
    """Return the share of the CPU's entries that the device's table has at the same rank, or with an activation as good."""
    pictures = [str(path) for path in sorted(folder.iterdir())[:200]]
    tables = []
    for where in (device, "cpu"):
        scan_all(load(name, where), pictures, work / f"{where}.scan")
        tables.append(entries(work / f"{where}.scan"))
    on_device, on_cpu = tables
    same = [
        key in on_device
        and (on_device[key][0] == picture or abs(on_device[key][1] - activation) <= NEAR * max(1e-6, abs(activation)))
        for key, (picture, activation) in on_cpu.items()
    ]
    return sum(same) / len(same)


def plate_ms(net: deconvnet.DeconvNet, path: Path, layer: str, work: Path) -> float:
    """Return the milliseconds of a projection in a plate of 64 channels, drawing included."""
    with deconvnet.Scan.open(path, net=net) as scan:
        plate = scan.plate(layer, channels=range(64))
        started = time.perf_counter()
        plate.save(work / "plate.png")
        return 1000 * (time.perf_counter() - started) / (64 * 9)


def decoder_of(device: str) -> str | None:
    """Return what decodes JPEGs on the device, None if nothing does."""
    try:
        return find_decoder(torch.device(device))[0] if device == "cuda" else None
    except MissingPackageError as error:
        print(error, flush=True)
        return None


def scan_speed(net: deconvnet.DeconvNet, folder: Path, path: Path, device: str, precision: Precision) -> float:
    """Return how many pictures a second a scan does: the median of two."""
    return statistics.median(
        per_second(len(list(folder.iterdir())), lambda: scan_all(net, folder, path, precision=precision), device)
        for _ in range(2)
    )


def measure(name: str, folder: Path, work: Path, device: str, read: float) -> tuple[list[str], str]:
    """Measure one net; return its rows of the table of scans, and its row of the other."""
    net, count = load(name, device), len(list(folder.iterdir()))
    batch = 64 if device == "cuda" else 4
    recording = net.record_zeros((3, 224, 224))
    layers = choose_layers(recording, None)
    modules = [layer for layer in layers if layer in dict(net.model.named_modules())]
    with computing("fp32", net.device):
        looped = per_second(count, lambda: loop(net, folder, modules, batch), device)
    rows = []
    for precision in PRECISIONS if device == "cuda" else ("fp32", "bf16"):
        scanned = scan_speed(net, folder, work / f"{precision}.scan", device, precision)
        by_gpu = "-"
        if precision != "bf16" and decoder_of(device):
            decoding = load(name, device, "gpu")
            by_gpu = f"{scan_speed(decoding, folder, work / f'{precision}-gpu.scan', device, precision):,.0f}"
        forward_all(net, batch, batch, precision)
        forward = per_second(count, lambda p=precision: forward_all(net, count, batch, p), device)  # type: ignore[misc]
        bound = min(read, forward)
        rows.append(
            f"| {name} | {precision} | {scanned:,.0f} | {by_gpu} | {forward:,.0f} | {scanned / bound:.2f} | {looped:,.0f} |"
            f" {scanned / looped:.1f} |"
        )
        print(rows[-1], flush=True)
    plate = plate_ms(net, work / "fp32.scan", PLATES[name], work)
    other = f"| {name} | {agreement(name, folder, work, device):.2%} | {plate:.1f} (`{PLATES[name]}`) |"
    print(other, flush=True)
    return rows, other


def measure_decoding(folder: Path, work: Path, device: str) -> str:
    """Return a sentence on how fast the device decodes, and how far its pixels are from the exact ones."""
    if decoder_of(device) is None:
        return "Nothing that was installed decodes JPEGs there."
    net = load("alexnet", device, "gpu")
    decode_all(net, folder)
    speed = per_second(len(list(folder.iterdir())), lambda: decode_all(net, folder), device)
    first = [str(path) for path in sorted(folder.iterdir())[:64]]
    scan_all(net, first, work / "first.scan")
    with deconvnet.Scan.open(work / "first.scan") as scan:
        text = next(line for line in scan.summary().splitlines() if line.startswith("JPEGs"))
    print(f"decoding on the device: {speed:,.0f}\n{text}", flush=True)
    return f"Read and decoded so, without a net: {speed:,.0f} a second. Of AlexNet's scan:\n{text}"


def main() -> None:
    """Measure all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=6000, help="how many are made (default 6000)")
    parser.add_argument("--nets", default=",".join(NETS), help=f"default {','.join(NETS)}")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "scan-gpu.md", help="the page to write")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    scans, others = [], []
    with tempfile.TemporaryDirectory() as folder:
        pictures, work = Path(folder, "pictures"), Path(folder, "work")
        pictures.mkdir()
        work.mkdir()
        make_pictures(pictures, options.pictures)
        read = per_second(options.pictures, lambda: read_all(pictures), "cpu")
        print(f"reading: {read:,.0f}", flush=True)
        decoding = measure_decoding(pictures, work, options.device)
        for name in options.nets.split(","):
            rows, other = measure(name, pictures, work, options.device, read)
            scans += rows
            others.append(other)
    card = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    about = {"card": card, "torch": torch.__version__.split("+")[0], "cores": os.cpu_count(), "count": options.pictures}
    options.out.write_text(PAGE.format(read=read, decoding=decoding, scans="\n".join(scans), others="\n".join(others), **about))


PAGE = """# How fast a scan is on a GPU

Written by `benchmarks/scan_gpu.py`: {card}, {cores} cores, torch {torch}, {count:,} JPEGs of 375 x 500, random weights, the
layers that a scan takes by itself. Pictures a second. *Forward*: the net alone, on images that are on the device; *of bound*:
the scan against the slower of that and of reading, which is {read:,.0f} pictures a second here. *Decode gpu*: the scan with
JPEGs decoded, resized and cropped on the card. *Loop*: what a good user writes, in float32.

| net | precision | scan | decode gpu | forward | of bound | loop | scan against loop |
|---|---|---|---|---|---|---|---|
{scans}

{decoding}

*Table*: the share of the CPU's entries, over 200 pictures, that the GPU's table has, up to near ties (1e-4). *Plate*:
milliseconds for a projection of a plate of 64 channels, drawing included.

| net | table | plate |
|---|---|---|
{others}
"""


if __name__ == "__main__":
    main()
