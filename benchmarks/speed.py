"""Measure projections against Captum, Zennit and plain autograd, in one process, interleaved; write docs/speed.md.

    pip install -e ".[bench]"
    python benchmarks/speed.py [--rounds 5] [--quick]

*Per unit*: `net.project` on a recording that stands, divided by its units, against one call of Captum's
`NeuronDeconvolution`, which runs its forward pass each time because its API must; *batched* gives it copies of the picture
and a unit for each, eight a call. Zennit runs its `DeconvNet` composite, forward and backward. Autograd is a loop over units
on one graph that stands. Each figure is the median over rounds; the ratio is taken round by round, so that a machine that
slows down slows all alike.
"""

from __future__ import annotations

import argparse
import copy
import functools
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torchvision
from matplotlib.figure import Figure
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import deconvnet
from deconvnet.projection import project_units
from deconvnet.rules import onednn
from deconvnet.windowed import _patch_sizes

ROOT = Path(__file__).parents[1]
SEVERAL = [  # model, layer, units, Captum's calls a round
    ("alexnet", "features.11", 64, 8),
    ("alexnet", "features.7", 64, 8),
    ("alexnet", "features.4", 64, 8),
    ("vgg16", "features.29", 16, 1),
    ("vgg16", "features.15", 16, 1),
    ("vgg16", "features.8", 16, 1),
    ("resnet50", "layer2", 64, 2),
    ("resnet50", "layer3", 64, 2),
    ("googlenet", "inception4e", 64, 2),
    ("densenet121", "features.denseblock2", 64, 2),
]
AIMS = dict(zip([case[:2] for case in SEVERAL], (20, 60, 350, 4.5, 250, 2000, 45, 6, 6, 6), strict=True))
MAPS = [("alexnet", "features.11"), ("vgg16", "features.29"), ("resnet50", "layer3")]


DEVICE = torch.device("cpu")  # benchmarks/speed_gpu.py measures on another


def wait() -> None:
    """Wait for what a GPU still has to do."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    wait()
    started = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - started


def steady(call: Callable[[], object]) -> float:
    """Time one call, the mean of as many as take a twentieth of a second: one alone would be that of cold caches."""
    spent, calls = 0.0, 0
    while spent < 0.05:
        spent, calls = spent + seconds(call), calls + 1
    return spent / calls


def load(name: str) -> nn.Module:
    """Return a net with random weights; speed does not depend on them."""
    options = {"init_weights": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None, **options).eval().to(DEVICE)


def picture() -> torch.Tensor:
    """Return one image, (1, 3, 224, 224)."""
    return torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(DEVICE)


def random_units(maps: torch.Tensor, count: int) -> list[tuple[int, int, int]]:
    """Return places all over a layer, (C, H', W')."""
    generator = torch.Generator().manual_seed(0)
    return [tuple(int(torch.randint(size, (), generator=generator)) for size in maps.shape) for _ in range(count)]  # type: ignore[misc]


def captum_calls(model: nn.Module, layer: str) -> Callable[[torch.Tensor, tuple[int, int, int]], torch.Tensor]:
    """Return Captum's call for one unit, on a copy without calls in place, which its hooks do not go with."""
    from captum.attr import NeuronDeconvolution

    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    method = NeuronDeconvolution(model, model.get_submodule(layer))
    return lambda images, unit: method.attribute(images.clone().requires_grad_(), neuron_selector=unit)


def captum_batched(
    model: nn.Module, layer: str, images: torch.Tensor, units: list[tuple[int, int, int]]
) -> Callable[[], object]:
    """Return Captum's call for several units at once: a copy of the picture for each, and a selector that tells them apart."""
    captum = captum_calls(model, layer)
    channels, rows, cols = (torch.tensor(column, device=DEVICE) for column in zip(*units, strict=True))
    copies, each = images.expand(len(units), -1, -1, -1), torch.arange(len(units), device=DEVICE)
    return lambda: captum(copies, lambda output: output[each, channels, rows, cols])  # type: ignore[arg-type]


def zennit_call(model: nn.Module, layer: str, images: torch.Tensor, unit: tuple[int, int, int]) -> Callable[[], object]:
    """Return Zennit's way to one unit: its composite's hooks on a copy, one forward and one backward pass."""
    from zennit.composites import DeconvNet

    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False

    def call() -> object:
        found: list[torch.Tensor] = []
        with DeconvNet().context(model) as hooked:
            handle = hooked.get_submodule(layer).register_forward_hook(lambda *io: found.append(io[2]))
            wanted = images.clone().requires_grad_()
            hooked(wanted)
            handle.remove()
            return torch.autograd.grad(found[0][(0, *unit)], wanted)

    return call


def autograd_call(model: nn.Module, layer: str, images: torch.Tensor, unit: tuple[int, int, int]) -> Callable[[], object]:
    """Return the backward pass of one unit on a graph that stands (the plain gradient: no hook could be cheaper)."""
    found: list[torch.Tensor] = []
    images = images.clone().requires_grad_()
    handle = model.get_submodule(layer).register_forward_hook(lambda *io: found.append(io[2].clone()))
    model(images)
    handle.remove()
    return lambda: torch.autograd.grad(found[0][(0, *unit)], images, retain_graph=True)


@functools.cache
def rates() -> tuple[float, float]:
    """Measure the machine at its best: operations a second in a convolution, bytes a second read and written in a copy."""
    signal = torch.randn(4, 512, 28, 28).to(memory_format=torch.channels_last)
    filters = torch.randn(512, 512, 3, 3).to(memory_format=torch.channels_last)
    source, target = torch.randn(2, 2**25).unbind()
    with torch.no_grad():
        sums = min(seconds(lambda: torch.conv2d(signal, filters, padding=1)) for _ in range(10))
        copying = min(seconds(lambda: target.copy_(source)) for _ in range(10))
    return 2 * 512 * 512 * 9 * 4 * 28 * 28 / sums, 2 * source.nbytes / copying


def floor(name: str, layer: str, count: int) -> float:
    """Return what one unit takes at least, in milliseconds: its operations, or its signals read and written once."""
    net = deconvnet.DeconvNet(load(name))
    recording = net.record(picture(), layers=[layer])
    units = random_units(recording.activations(layer)[0], count)
    with patch.object(onednn, "serves", lambda *_: False), FlopCounterMode(display=False) as counter:
        net.project(recording, layer, units=units, start="one")
    numbers = sum(_patch_sizes(recording.tape, recording.value(layer)).values())
    sums, copying = rates()
    return 1000 * max(counter.get_total_flops() / count / sums, 8 * numbers / copying)


def time_units(name: str, layer: str, count: int, calls: int, rounds: int) -> tuple[dict[str, list[float]], float]:
    """Time one unit by each way, in seconds, round by round; and return how far windowed is from full frame."""
    model = load(name)
    images = picture()
    net = deconvnet.DeconvNet(model)
    recording = net.record(images, layers=[layer])
    units = random_units(recording.activations(layer)[0], count)
    captum, autograd = captum_calls(model, layer), autograd_call(model, layer, images, units[0])
    batched, zennit = captum_batched(model, layer, images, units[:8]), zennit_call(model, layer, images, units[0])
    complete = net.project(recording, layer, units=units, start="one").units
    some = complete if DEVICE.type == "cuda" else complete[:8]

    def ours() -> None:
        net.project(recording, layer, units=units, start="one")

    def full() -> None:
        project_units(recording, layer, some, net.rules, "one", windowed=False)

    def theirs() -> None:
        for unit in units[:calls]:
            captum(images, unit)

    for warm in (ours, full, theirs, batched, zennit, autograd):
        warm()
    times: dict[str, list[float]] = {"ours": [], "full": [], "captum": [], "batched": [], "zennit": [], "autograd": []}
    for _ in range(rounds):
        times["ours"].append(steady(ours) / count)
        times["full"].append(steady(full) / len(some))
        times["captum"].append(steady(theirs) / calls)
        times["batched"].append(steady(batched) / 8)
        times["zennit"].append(steady(zennit))
        times["autograd"].append(steady(autograd))
    with torch.no_grad():
        parts = project_units(recording, layer, complete[:8], net.rules, "one")[1]
        wholes = project_units(recording, layer, complete[:8], net.rules, "one", windowed=False)[1]
    largest = max(float(part.abs().max()) for part in wholes)
    deviation = max(float((part - whole).abs().max()) for part, whole in zip(parts, wholes, strict=True)) / largest
    return times, deviation


def short(ratio: float) -> str:
    """Write a ratio with three digits: 4.04, 57.5, 1,330."""
    return f"{float(f'{ratio:.3g}'):,.0f}" if ratio >= 1000 else f"{ratio:.3g}"


def measure_units(name: str, layer: str, count: int, calls: int, rounds: int) -> tuple[str, dict[str, Any]]:
    """Measure one row: ours, Captum's and autograd's time for one unit, our full frame's, and the exactness."""
    times, deviation = time_units(name, layer, count, calls, rounds)
    ratios = [theirs / ours for theirs, ours in zip(times["captum"], times["ours"], strict=True)]
    ms = {key: 1000 * statistics.median(values) for key, values in times.items()}
    row = f"| {name} `{layer}` | {count} | {ms['ours']:.2f} | {ms['full']:.2f} | {ms['autograd']:.1f} | {ms['zennit']:.1f} | "
    row += f"{ms['batched']:.1f} | {ms['captum']:.1f} | **{short(statistics.median(ratios))}x** "
    row += f"({short(min(ratios))}-{short(max(ratios))}) | {AIMS[name, layer]:,}x | {deviation:.0e} | "
    row += f"{floor(name, layer, count):.2f} |"
    return row, {"case": f"{name} {layer}", **ms}


def forward_to(model: nn.Module, layer: str, images: torch.Tensor) -> Callable[[], None]:
    """Return the plain forward pass that stops at a layer."""

    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    model.get_submodule(layer).register_forward_hook(stop)

    def forward() -> None:
        with suppress(Stop), torch.no_grad():
            model(images)

    return forward


def time_map(name: str, layer: str, rounds: int) -> list[tuple[float, float]]:
    """Time one whole map's projection and the forward pass to that layer, in the device's fastest memory format; seconds."""
    model, images = load(name), picture()
    order = torch.channels_last if DEVICE.type == "cpu" else torch.contiguous_format
    forward = forward_to(copy.deepcopy(model).to(memory_format=order), layer, images.to(memory_format=order))
    net = deconvnet.DeconvNet(model)
    recording = net.record(images, layers=[layer])

    def project() -> None:
        net.project(recording, layer, channels=[5], unit="map")

    for _ in range(3):
        forward(), project()
    return [(seconds(project), seconds(forward)) for _ in range(3 * rounds)]


def measure_map(name: str, layer: str, rounds: int) -> str:
    """Measure one whole map's projection against the forward pass to that layer."""
    pairs = time_map(name, layer, rounds)
    ours, theirs = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return f"| {name} `{layer}` | {ours:.1f} | {theirs:.1f} | **{ratio:.2f}** |"


def measure_end_to_end(rounds: int) -> str:
    """Measure nine channels of one picture, our forward pass included, against Captum's nine calls."""
    model, images, layer = load("alexnet"), picture(), "features.11"
    captum, net = captum_calls(model, layer), deconvnet.DeconvNet(model)
    units = [(unit.channel, unit.row, unit.col) for unit in net.project(net.record(images, layers=[layer]), layer).units]

    def ours() -> None:
        net.project(net.record(images, layers=[layer]), layer)

    def theirs() -> None:
        for unit in units:
            captum(images, unit)  # type: ignore[arg-type]

    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    mine, other = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    return f"| alexnet `{layer}`, nine channels | {mine:.0f} | {other:.0f} | **{ratio:.1f}x** |"


def measure_recording(name: str, batch: int, rounds: int) -> str:
    """Measure recording against the plain forward pass, and what the tape keeps against the activations it does not."""
    model, images = load(name), picture().expand(batch, -1, -1, -1).contiguous()
    net = deconvnet.DeconvNet(model)

    def plain() -> None:
        with torch.no_grad():
            model(images)

    plain(), net.record(images)
    pairs = [(seconds(lambda: net.record(images)), seconds(plain)) for _ in range(rounds * (8 if batch == 1 else 2))]
    recording, forward = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    tape = net.record(images).tape
    kept = sum(getattr(call.kept, key).nbytes for call in tape.calls for key in call.kept.per_image) / 2**20
    activations = sum(4 * shape.numel() for shape in tape.shapes) / 2**20
    ratio = statistics.median(a / b for a, b in pairs)
    return f"| {name} | {batch} | {recording:.0f} | {forward:.0f} | **{ratio:.2f}** | {kept:.1f} | {activations:.0f} |"


def measure_start(rounds: int) -> list[str]:
    """Measure the command's start against what it cannot do without."""
    pairs = [
        ("`deconvnet --help`", ["-m", "deconvnet", "--help"], "`import click`", ["-c", "import click"], "2"),
        ("`deconvnet project` (tiny)", ["-m", "deconvnet", "project", "-o"], "`import torch`", ["-c", "import torch"], "1.5"),
    ]
    rows = []
    for name, command, floor_name, floor, aim in pairs:
        with tempfile.TemporaryDirectory() as folder:
            command = [*command, f"{folder}/sheet.png"] if command[-1] == "-o" else command

            def run(arguments: list[str]) -> float:
                return seconds(lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True))

            run(command), run(floor)
            times = [(run(command), run(floor)) for _ in range(2 * rounds + 1)]
        ours, least = (1000 * statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(one / other for one, other in times)
        rows.append(f"| {name} | {ours:.0f} | {floor_name} | {least:.0f} | **{ratio:.2f}** | {aim} |")
    return rows


def draw(bars: list[dict[str, Any]], path: Path) -> None:
    """Draw the milliseconds of one unit, a row of dots for each layer, on a logarithmic scale."""
    names = {"captum": "Captum", "batched": "Captum, batched", "zennit": "Zennit", "full": "ours, full frame", "ours": "ours"}
    marks = [("o", "#9a9a9a"), ("s", "#9a9a9a"), ("^", "#9a9a9a"), ("o", "#7fb2dd"), ("o", "#08519c")]
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    rows = range(len(bars))
    axes.hlines(rows, [bar["ours"] for bar in bars], [bar["captum"] for bar in bars], color="#dddddd", linewidth=3, zorder=1)
    for (key, name), (mark, colour) in zip(names.items(), marks, strict=True):
        axes.plot([bar[key] for bar in bars], rows, mark, label=name, color=colour, markersize=8, zorder=2)
    axes.set_yticks(rows, [bar["case"] for bar in bars])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("milliseconds for one unit (logarithmic; further left is faster)")
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def main() -> None:
    """Measure all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="AlexNet only, and write nothing")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    several = [case for case in SEVERAL if not options.quick or case[0] == "alexnet"]
    rows, maps, bars = [], [], []
    for case in several:
        row, times = measure_units(*case, options.rounds)
        rows.append(row)
        bars.append(times)
        print(rows[-1], flush=True)
    for case in MAPS[: 1 if options.quick else None]:
        maps.append(measure_map(*case, options.rounds))
        print(maps[-1], flush=True)
    end = measure_end_to_end(options.rounds)
    print(end)
    recordings = [measure_recording(name, batch, options.rounds) for name in ("resnet50", "vgg16") for batch in (8, 1)]
    print("\n".join(recordings))
    started = measure_start(options.rounds)
    print("\n".join(started))
    if not options.quick:
        draw(bars, ROOT / "docs" / "pictures" / "speed.png")
        text = PAGE.format(
            torch=torch.__version__.split("+")[0],
            sums=rates()[0] / 1e9,
            copying=rates()[1] / 1e9,
            threads=torch.get_num_threads(),
            rounds=options.rounds,
            units="\n".join(rows),
            maps="\n".join(maps),
            end=end,
            started="\n".join(started),
            recordings="\n".join(recordings),
        )
        (ROOT / "docs" / "speed.md").write_text(text)


PAGE = """# Speed

Written by `benchmarks/speed.py`: torch {torch}, CPU, {threads} threads, medians of {rounds} interleaved rounds, one picture
of 224x224, random weights. Machines differ and so do days: trust the ratios.

## Single units

Milliseconds for one unit; short calls are repeated for a twentieth of a second. *Ours*: `net.project` on a recording that
stands, all units in one call. *Full frame*: the same
without windows, eight at a time. *Autograd*: one backward pass on a graph that stands. *Captum*: one call of
`NeuronDeconvolution`, which runs its forward pass each time; *batched*: eight units a call, on copies of the picture.
*Zennit*: its `DeconvNet` composite, a forward and a backward pass. The ratio is Captum's time over ours, with its smallest and
largest round; the deviation is that of windowed from full-frame projections, relative to the largest pixel. The *floor* is what
a unit's sums take at the {sums:.0f} GFLOP/s of this machine's best convolution, or its signals, read and written once, at the
{copying:.0f} GB/s of a copy, whichever is more.

| layer | units | ours | full frame | autograd | Zennit | Captum, batched | Captum | ratio | aim | deviation | floor |
|---|---|---|---|---|---|---|---|---|---|---|---|
{units}

![milliseconds for one unit, by tool and layer](pictures/speed.png)

## One whole map

Milliseconds for a whole map's projection, and for the channels_last forward pass to that layer.

| layer | projection | forward | ratio |
|---|---|---|---|
{maps}

## End to end

Milliseconds to record a picture and project it, and for Captum's calls.

| case | ours | Captum | ratio |
|---|---|---|---|
{end}

## Recording

Milliseconds to record a batch, and for the plain forward pass in the same memory format; MiB that the tape keeps of the
images (switches), and that all their activations would take.

| model | batch | recording | forward | ratio | kept | activations |
|---|---|---|---|---|---|---|
{recordings}

## Starting

Milliseconds of the whole process, and of a Python process that does only what ours cannot do without.

| command | time | floor | time | ratio | aim |
|---|---|---|---|---|---|
{started}

## What falls short, and why

Deep layers see most of the frame, so that windows save little there, and what is left is the sums of the whole way down. A
convolution of a few places reaches half the rate of a large one, and computes places at its border that the count leaves
out: AlexNet's `features.11`, whose windows are 3 to 39 places wide, and the many small convolutions of GoogLeNet and DenseNet
pay for that. AlexNet's `features.4` and VGG16's `features.8` are small: most of their time goes to cutting switches, moving
patches at the border, and what a call of torch costs at all.
"""

if __name__ == "__main__":
    main()
