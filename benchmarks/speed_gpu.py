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
from pathlib import Path

import speed
import torch

import deconvnet

ROOT = Path(__file__).parents[1]


def allow_tf32(allowed: bool) -> None:
    """Let convolutions and products round their factors to ten bits, or not."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def deviation(name: str, layer: str, *, tf32: bool) -> float:
    """Return how far the GPU's way down is from the CPU's, as a share of its length: eight units, the same switches."""
    places, found = [], []
    for device in ("cuda", "cpu"):
        net = deconvnet.DeconvNet(speed.load(name).to(device))
        recording = net.record(speed.picture().to(device), layers=[layer])
        places = places or speed.random_units(recording.activations(layer)[0], 8)
        if found:  # a rounding in the forward pass can flip a switch, which is no fault of the way down
            take_switches(recording, found[0][0])
        allow_tf32(tf32)
        found.append((recording, net.project(recording, layer, units=places, start="one").pixels))
        allow_tf32(False)
    there, here = (pixels for _, pixels in found)
    return float((there - here).norm() / here.norm())


def take_switches(recording: deconvnet.Recording, other: deconvnet.Recording) -> None:
    """Give a recording the switches of another of the same picture."""
    for own, call in zip(recording.tape.calls, other.tape.calls, strict=True):
        if hasattr(own.kept, "switches"):
            own.kept.switches = call.kept.switches.to(own.kept.switches.device)


def flipped(name: str, layer: str) -> str:
    """Count the switches that differ between GPU and CPU: "3 of 91,840"."""
    one, other = (
        deconvnet.DeconvNet(speed.load(name).to(device)).record(speed.picture().to(device), layers=[layer]).tape.calls
        for device in ("cuda", "cpu")
    )
    pairs = [(a.kept.switches.cpu(), b.kept.switches) for a, b in zip(one, other, strict=True) if hasattr(a.kept, "switches")]
    return f"{sum(int((a != b).sum()) for a, b in pairs):,} of {sum(b.numel() for _, b in pairs):,}"


def fetched(name: str, layer: str, count: int, rounds: int) -> float:
    """Time one unit with its crop fetched to the CPU; milliseconds."""
    net = deconvnet.DeconvNet(speed.load(name))
    recording = net.record(speed.picture(), layers=[layer])
    units = speed.random_units(recording.activations(layer)[0], count)

    def crops() -> None:
        net.project(recording, layer, units=units, start="one").crops()

    crops()
    return 1000 * statistics.median(speed.seconds(crops) for _ in range(rounds)) / count


def same_bytes(name: str, layer: str) -> bool:
    """Say whether ten calls give the same bytes."""
    net = deconvnet.DeconvNet(speed.load(name))
    recording = net.record(speed.picture(), layers=[layer])
    first, *others = [net.project(recording, layer, top=64).pixels for _ in range(10)]
    return all(torch.equal(first, other) for other in others)


def measure_units(name: str, layer: str, count: int, rounds: int) -> tuple[str, str]:
    """Measure one row of times, and one of exactness."""
    times, window = speed.time_units(name, layer, count, 8, rounds)
    forward = speed.forward_to(speed.load(name), layer, speed.picture())
    for _ in range(3):
        forward()
    ms = {key: 1000 * statistics.median(values) for key, values in times.items()}
    up = 1000 * statistics.median(speed.seconds(forward) for _ in range(3 * rounds))
    ratio = statistics.median(theirs / ours for theirs, ours in zip(times["captum"], times["ours"], strict=True))
    ours = (ms["ours"], fetched(name, layer, count, rounds))
    row = f"| {name} `{layer}` | {count} | {ours[0]:.3f} | {ours[1]:.3f} | {ms['full']:.3f} | {ms['autograd']:.2f} | "
    row += f"{ms['zennit']:.1f} | {ms['batched']:.2f} | {ms['captum']:.1f} | **{ratio:.3g}x** | {up:.2f} | {ours[0] / up:.3f} |"
    plain, tf32 = deviation(name, layer, tf32=False), deviation(name, layer, tf32=True)
    same = "yes" if same_bytes(name, layer) else "NO"
    return row, f"| {name} `{layer}` | {window:.0e} | {plain:.0e} | {tf32:.0e} | {flipped(name, layer)} | {same} |"


def measure_map(name: str, layer: str, rounds: int) -> str:
    """Measure one whole map's projection against the forward pass to that layer."""
    pairs = speed.time_map(name, layer, rounds)
    ours, theirs = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    return f"| {name} `{layer}` | {ours:.2f} | {theirs:.2f} | **{statistics.median(a / b for a, b in pairs):.2f}** |"


def main() -> None:
    """Measure all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured (default 7)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "speed-gpu.md", help="the page to write")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    speed.DEVICE = torch.device("cuda")
    allow_tf32(False)
    rows, exact, maps = [], [], []
    for name, layer, count, _ in speed.SEVERAL:
        for row, table in zip(measure_units(name, layer, count, options.rounds), (rows, exact), strict=True):
            table.append(row)
            print(row, flush=True)
    for case in speed.MAPS:
        maps.append(measure_map(*case, options.rounds))
        print(maps[-1], flush=True)
    end = speed.measure_end_to_end(options.rounds)
    print(end)
    recordings = [speed.measure_recording(name, batch, options.rounds) for name in ("resnet50", "vgg16") for batch in (8, 1)]
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
ours, with the crops brought to the CPU. *Forward*: one plain forward pass to the layer; *share*: how much of it a unit costs.

| layer | units | ours | fetched | full frame | autograd | Zennit | Captum, batched | Captum | ratio | forward | share |
|---|---|---|---|---|---|---|---|---|---|---|---|
{units}

## Exactness

*Full*: how far windowed is from full-frame projections, relative to the largest pixel. *CPU*: how far the way down is from the
CPU's by the same switches, as a share of the projections' Euclidean length; *TF32*: the same with factors rounded to ten bits.
*Flipped*: switches that the two devices' forward passes set differently, since two values were nearly equal. *Same*: ten calls
gave the same bytes.

| layer | full | CPU | TF32 | flipped | same |
|---|---|---|---|---|---|
{exact}

## One whole map

Milliseconds for a whole map's projection, and for the forward pass to that layer.

| layer | projection | forward | ratio |
|---|---|---|---|
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

Convolutions go down by cuDNN's deterministic algorithms only. Torch counts the backward pass of `max_pool2d` among its
nondeterministic operations, but CUDA's kernels are not: each pixel looks for the windows that chose it, in a fixed order, and
nothing is added atomically. So unpooling uses them; where `torch.use_deterministic_algorithms(True)` forbids them, and on other
GPUs, it adds one offset of the window after the other, which is slower and gives the same. `tests/test_gpu.py` holds both,
where many windows share a switch. Not promised on a GPU: nets that resize, pool adaptively to bins of unequal size, or pad
by reflection below the layer, where torch adds atomically.

## What takes the time

On this card a projection is calls, not arithmetic: some ten microseconds each, as the forward pass of one picture is too. So
all units of a call go down at once, and patches pay only where they leave out much; otherwise the full frame is taken.
"""

if __name__ == "__main__":
    main()
