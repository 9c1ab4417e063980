"""Measure projections against Captum, Zennit and plain autograd, in one process, interleaved; write docs/speed.md.

    pip install -e ".[bench]"
    python benchmarks/speed.py [--rounds 5] [--quick]

*Per unit*: `net.project` on an existing recording, divided by its units, against one call of Captum's `NeuronDeconvolution`,
which runs the forward pass each time, as its API must; *batched* gives it copies of the picture with one unit each, eight per
call. Zennit runs its `DeconvNet` composite, forward and backward. Autograd loops over units on one existing graph. Each figure
is the median over rounds; the ratio is taken round by round, so that a machine that slows down slows all tools alike.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from matplotlib.figure import Figure
from speed_cases import (
    MAP_CASES,
    UNIT_CASES,
    load,
    measure_end_to_end,
    measure_recording,
    picture,
    random_units,
    seconds,
    time_map,
    time_units,
)
from torch.utils.flop_counter import FlopCounterMode

import deconvnet
from deconvnet.rules import onednn
from deconvnet.windowed import _patch_sizes

ROOT = Path(__file__).parents[1]
AIMS = dict(zip([case[:2] for case in UNIT_CASES], (20, 60, 350, 4.5, 250, 2000, 45, 6, 6, 6), strict=True))


@functools.cache
def rates() -> tuple[float, float]:
    """Measure the machine at its best: operations per second of a convolution, bytes per second read and written by a copy."""
    signal = torch.randn(4, 512, 28, 28).to(memory_format=torch.channels_last)
    filters = torch.randn(512, 512, 3, 3).to(memory_format=torch.channels_last)
    source, target = torch.randn(2, 2**25).unbind()
    with torch.no_grad():
        convolving = min(seconds(lambda: torch.conv2d(signal, filters, padding=1)) for _ in range(10))
        copying = min(seconds(lambda: target.copy_(source)) for _ in range(10))
    return 2 * 512 * 512 * 9 * 4 * 28 * 28 / convolving, 2 * source.nbytes / copying


def floor(name: str, layer: str, count: int) -> float:
    """Return the least time for one unit, in milliseconds: for its operations, or for reading and writing its signals once."""
    net = deconvnet.DeconvNet(load(name))
    recording = net.record(picture(), layers=[layer])
    units = random_units(recording.activations(layer)[0], count)
    with patch.object(onednn, "serves", lambda *_: False), FlopCounterMode(display=False) as counter:
        net.project(recording, layer, units=units, start="one")
    numbers = sum(_patch_sizes(recording.tape, recording.value(layer)).values())
    operations_rate, copy_rate = rates()
    return 1000 * max(counter.get_total_flops() / count / operations_rate, 8 * numbers / copy_rate)


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


def measure_map(name: str, layer: str, rounds: int) -> str:
    """Measure one whole map's projection against the forward pass to that layer."""
    pairs = time_map(name, layer, rounds)
    ours, theirs = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return f"| {name} `{layer}` | {ours:.1f} | {theirs:.1f} | **{ratio:.2f}** |"


def measure_start(rounds: int) -> list[str]:
    """Measure the command's start against the imports that it cannot do without."""
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
        ours_ms, least_ms = (1000 * statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(ours / least for ours, least in times)
        rows.append(f"| {name} | {ours_ms:.0f} | {floor_name} | {least_ms:.0f} | **{ratio:.2f}** | {aim} |")
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
    """Measure everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="AlexNet only, and write nothing")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    cases = [case for case in UNIT_CASES if not options.quick or case[0] == "alexnet"]
    rows, maps, bars = [], [], []
    for case in cases:
        row, times = measure_units(*case, options.rounds)
        rows.append(row)
        bars.append(times)
        print(rows[-1], flush=True)
    for case in MAP_CASES[: 1 if options.quick else None]:
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
of 224x224, random weights. Machines differ, and so do days: trust the ratios.

## Single units

Milliseconds for one unit; short calls are repeated for a twentieth of a second. *Ours*: `net.project` on an existing recording,
all units in one call. *Full frame*: the same without windows, eight at a time. *Autograd*: one backward pass on an existing
graph. *Captum*: one call of `NeuronDeconvolution`, which runs its forward pass each time; *batched*: eight units per call, on
copies of the picture. *Zennit*: its `DeconvNet` composite, a forward and a backward pass. The ratio is Captum's time divided by
ours, with its smallest and largest round; the deviation is that of windowed from full-frame projections, relative to the
largest pixel. The *floor* is the time for a unit's sums at the {sums:.0f} GFLOP/s of this machine's best convolution, or for
reading and writing its signals once at the {copying:.0f} GB/s of a copy, whichever is more.

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

Milliseconds to record a batch, and for the plain forward pass in the same memory format; MiB that the tape keeps of the images
(switches), and that all their activations would take.

| model | batch | recording | forward | ratio | kept | activations |
|---|---|---|---|---|---|---|
{recordings}

## Starting

Milliseconds of the whole process, and of a Python process with only the import that ours cannot do without.

| command | time | floor | time | ratio | aim |
|---|---|---|---|---|---|
{started}

## What falls short, and why

Deep layers see most of the frame, so windows save little there, and what is left is the sums of the whole way down. A
convolution over a few positions reaches half the rate of a large one, and computes positions at its border that the count
leaves out: this slows AlexNet's `features.11`, whose windows are 3 to 39 positions wide, and the many small convolutions of
GoogLeNet and DenseNet. AlexNet's `features.4` and VGG16's `features.8` are small: most of their time goes to cutting switches,
moving patches at the border, and the bare cost of calling torch.
"""

if __name__ == "__main__":
    main()
