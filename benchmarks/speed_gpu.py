"""Measure projections on a GPU against Captum, Zennit and autograd, and against the CPU; write docs/speed-gpu.md.

    pip install -e ".[bench]"
    python benchmarks/speed_gpu.py [--rounds 7]

The cases, callers and rounds are those of `benchmarks/speed.py`. Each call is waited for. Full float32, without TF32, unless a
column says so.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from dataclasses import replace
from pathlib import Path

import speed_cases as cases
import torch

import deconvnet
from deconvnet.rules.switches import SavedMaxPool

ROOT = Path(__file__).parents[1]


def allow_tf32(allowed: bool) -> None:
    """Let convolutions and products round their factors to ten bits, or not."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def deviation(name: str, layer: str, *, tf32: bool) -> float:
    """Return how far the GPU's way down is from the CPU's, as a share of its length: eight units, the same switches."""
    units, recordings, pixels = [], [], []
    for device in ("cuda", "cpu"):
        net = deconvnet.DeconvNet(cases.load(name).to(device))
        recording = net.record(cases.picture().to(device), layers=[layer])
        units = units or cases.random_units(recording.activations(layer)[0], 8)
        if recordings:  # rounding in the forward pass can flip a switch, which is not the fault of the way down
            take_switches(recording, recordings[0])
        allow_tf32(tf32)
        recordings.append(recording)
        pixels.append(net.project(recording, layer, units=units, start="one").pixels)
        allow_tf32(False)
    on_gpu, on_cpu = pixels
    return float((on_gpu - on_cpu).norm() / on_cpu.norm())


def take_switches(recording: deconvnet.Recording, other: deconvnet.Recording) -> None:
    """Give a recording the switches of another of the same picture."""
    for call, other_call in zip(recording.tape.calls, other.tape.calls, strict=True):
        if isinstance(call.saved, SavedMaxPool):
            switches = other_call.saved.switches.to(call.saved.switches.device)
            call.saved = replace(call.saved, switches=switches)


def flipped(name: str, layer: str) -> str:
    """Count the switches that differ between GPU and CPU: "3 of 91,840"."""
    on_gpu, on_cpu = (
        deconvnet.DeconvNet(cases.load(name).to(device)).record(cases.picture().to(device), layers=[layer]).tape.calls
        for device in ("cuda", "cpu")
    )
    pools = [(a.saved, b.saved) for a, b in zip(on_gpu, on_cpu, strict=True) if isinstance(a.saved, SavedMaxPool)]
    pairs = [(a.switches.cpu(), b.switches) for a, b in pools]
    return f"{sum(int((a != b).sum()) for a, b in pairs):,} of {sum(b.numel() for _, b in pairs):,}"


def fetched(name: str, layer: str, count: int, rounds: int) -> float:
    """Time one unit with its crop fetched to the CPU; milliseconds."""
    net = deconvnet.DeconvNet(cases.load(name))
    recording = net.record(cases.picture(), layers=[layer])
    units = cases.random_units(recording.activations(layer)[0], count)

    def crops() -> None:
        net.project(recording, layer, units=units, start="one").crops()

    crops()
    return 1000 * statistics.median(cases.seconds(crops) for _ in range(rounds)) / count


def same_bytes(name: str, layer: str) -> bool:
    """Tell whether ten calls give the same bytes."""
    net = deconvnet.DeconvNet(cases.load(name))
    recording = net.record(cases.picture(), layers=[layer])
    first, *rest = [net.project(recording, layer, top=64).pixels for _ in range(10)]
    return all(torch.equal(first, other) for other in rest)


def measure_units(name: str, layer: str, count: int, rounds: int) -> tuple[str, str]:
    """Measure one row of times, and one of exactness."""
    times, window = cases.time_units(name, layer, count, 8, rounds)
    forward = cases.forward_to(cases.load(name), layer, cases.picture())
    for _ in range(3):
        forward()
    ms = {key: 1000 * statistics.median(values) for key, values in times.items()}
    pass_ms = 1000 * statistics.median(cases.seconds(forward) for _ in range(3 * rounds))
    ratio = statistics.median(theirs / ours for theirs, ours in zip(times["captum"], times["ours"], strict=True))
    ours = (ms["ours"], fetched(name, layer, count, rounds))
    row = f"| {name} `{layer}` | {count} | {ours[0]:.3f} | {ours[1]:.3f} | {ms['full']:.3f} | {ms['autograd']:.2f} | "
    row += f"{ms['zennit']:.1f} | {ms['batched']:.2f} | {ms['captum']:.1f} | **{ratio:.3g}x** | "
    row += f"{pass_ms:.2f} | {ours[0] / pass_ms:.3f} |"
    plain, tf32 = deviation(name, layer, tf32=False), deviation(name, layer, tf32=True)
    same = "yes" if same_bytes(name, layer) else "NO"
    return row, f"| {name} `{layer}` | {window:.0e} | {plain:.0e} | {tf32:.0e} | {flipped(name, layer)} | {same} |"


def measure_map(name: str, layer: str, rounds: int) -> str:
    """Measure one whole map's projection, plain and as a CUDA graph, against the forward pass to that layer."""
    row = f"| {name} `{layer}` |"
    for graphs in (False, True):
        pairs = cases.time_map(name, layer, rounds, graphs=graphs)
        ours, theirs = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
        row += f" {ours:.2f} | {theirs:.2f} | **{statistics.median(a / b for a, b in pairs):.2f}** |"
    return row


def main() -> None:
    """Measure everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured (default 7)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "speed-gpu.md", help="the page to write")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    cases.DEVICE = torch.device("cuda")
    allow_tf32(False)
    rows, exact, maps = [], [], []
    for name, layer, count, _ in cases.UNIT_CASES:
        for row, table in zip(measure_units(name, layer, count, options.rounds), (rows, exact), strict=True):
            table.append(row)
            print(row, flush=True)
    for case in cases.MAP_CASES:
        maps.append(measure_map(*case, options.rounds))
        print(maps[-1], flush=True)
    end = cases.measure_end_to_end(options.rounds)
    print(end)
    recordings = [cases.measure_recording(name, batch, options.rounds) for name in ("resnet50", "vgg16") for batch in (8, 1)]
    print("\n".join(recordings))
    about = {"torch": torch.__version__.split("+")[0], "card": torch.cuda.get_device_name(), "rounds": options.rounds}
    tables = {
        "units": "\n".join(rows),
        "exact": "\n".join(exact),
        "maps": "\n".join(maps),
        "end": end,
        "recordings": "\n".join(recordings),
    }
    options.out.write_text(PAGE.format(**about, **tables))


PAGE = """# Speed on a GPU

Written by `benchmarks/speed_gpu.py`: {card}, torch {torch}, medians of {rounds} interleaved rounds, one picture of
224x224, random weights, float32 without TF32. Each call is waited for; the projections are left on the GPU.

## Single units

Milliseconds for one unit; the columns are those of [speed.md](speed.md), the full frame takes all units at once. *Fetched*:
ours, with the crops copied to the CPU. *Forward*: one plain forward pass to the layer; *share*: the share of it that a unit
takes.

| layer | units | ours | fetched | full frame | autograd | Zennit | Captum, batched | Captum | ratio | forward | share |
|---|---|---|---|---|---|---|---|---|---|---|---|
{units}

## Exactness

*Full*: the deviation of windowed from full-frame projections, relative to the largest pixel. *CPU*: the deviation of the way
down from the CPU's with the same switches, as a share of the projections' Euclidean length; *TF32*: the same with factors
rounded to ten bits. *Flipped*: switches that the two devices' forward passes set differently, since two values were nearly
equal. *Same*: ten calls gave the same bytes.

| layer | full | CPU | TF32 | flipped | same |
|---|---|---|---|---|---|
{exact}

## One whole map

Milliseconds for a whole map's projection, and for the forward pass to that layer; then for the projection as a CUDA graph
(`DeconvNet(graphs=True)`), beside forward passes measured with it.

| layer | projection | forward | ratio | as a graph | forward | ratio |
|---|---|---|---|---|---|---|
{maps}

## End to end

Milliseconds to record a picture and project it, and for Captum's calls.

| case | ours | Captum | ratio |
|---|---|---|---|
{end}

## Recording

Milliseconds to record a batch, and for the plain forward pass; MiB that the tape keeps of the images, and that all their
activations would take.

| model | batch | recording | forward | ratio | kept | activations |
|---|---|---|---|---|---|---|
{recordings}

## The same bytes each time

Convolutions are mirrored with cuDNN's deterministic algorithms only. Torch lists the backward pass of `max_pool2d` among its
nondeterministic operations, but on CUDA it is deterministic: each pixel looks for the windows that chose it, in a fixed order,
and nothing is added atomically. So unpooling uses it. Where `torch.use_deterministic_algorithms(True)` forbids it, and on other
GPUs, unpooling adds the offsets of the window one after the other, which is slower and gives the same. `tests/test_gpu.py`
tests both, with many windows that share a switch. Not promised on a GPU: nets that resize, pool adaptively to bins of unequal
size, or pad by reflection below the layer, where torch adds atomically.

## What takes the time

On this card a projection spends its time on calls, about ten microseconds each, not on arithmetic, and so does the forward pass
of one picture. All units of a call are therefore projected at once, and windows are used only where they leave out much;
otherwise the full frame is computed.
"""

if __name__ == "__main__":
    main()
