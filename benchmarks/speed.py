"""Measure projections against Captum and plain autograd, in one process, interleaved; write docs/speed.md.

    pip install -e ".[bench]"
    python benchmarks/speed.py [--rounds 5] [--quick]

*Per unit*: `net.project` on a recording that stands, divided by its units, against one call of Captum's
`NeuronDeconvolution`, which runs its forward pass each time because its API must. Autograd is a loop over units on one graph
that stands. Each figure is the median over rounds; the ratio is taken round by round, so that a machine that slows down
slows all alike.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn

import deconvnet
from deconvnet.project import project_units

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
MAPS = [("alexnet", "features.11"), ("vgg16", "features.29"), ("resnet50", "layer3")]


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def load(name: str) -> nn.Module:
    """Return a net with random weights; speed does not depend on them."""
    options = {"init_weights": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None, **options).eval()


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


def autograd_call(model: nn.Module, layer: str, images: torch.Tensor, unit: tuple[int, int, int]) -> Callable[[], object]:
    """Return the backward pass of one unit on a graph that stands (the plain gradient: no hook could be cheaper)."""
    found: list[torch.Tensor] = []
    images = images.clone().requires_grad_()
    handle = model.get_submodule(layer).register_forward_hook(lambda *io: found.append(io[2].clone()))
    model(images)
    handle.remove()
    return lambda: torch.autograd.grad(found[0][(0, *unit)], images, retain_graph=True)


def measure_units(name: str, layer: str, count: int, calls: int, rounds: int) -> tuple[str, list[float]]:
    """Measure one row: ours, Captum's and autograd's time for one unit, our full frame's, and the exactness."""
    model = load(name)
    images = torch.randn(1, 3, 224, 224)
    net = deconvnet.DeconvNet(model)
    recording = net.record(images, layers=[layer])
    units = random_units(recording.activations(layer)[0], count)
    captum, autograd = captum_calls(model, layer), autograd_call(model, layer, images, units[0])
    complete = net.project(recording, layer, units=units, start="one").units

    def ours() -> None:
        net.project(recording, layer, units=units, start="one")

    def full() -> None:
        project_units(recording, layer, complete[:8], net.rules, "one", windowed=False)

    def theirs() -> None:
        for unit in units[:calls]:
            captum(images, unit)

    for warm in (ours, full, theirs, autograd):
        warm()
    times: dict[str, list[float]] = {"ours": [], "full": [], "captum": [], "autograd": []}
    for _ in range(rounds):
        times["ours"].append(seconds(ours) / count)
        times["full"].append(seconds(full) / min(count, 8))
        times["captum"].append(seconds(theirs) / calls)
        times["autograd"].append(seconds(autograd))
    ratios = [theirs / ours for theirs, ours in zip(times["captum"], times["ours"], strict=True)]
    with torch.no_grad():
        parts = project_units(recording, layer, complete[:8], net.rules, "one")[1]
        wholes = project_units(recording, layer, complete[:8], net.rules, "one", windowed=False)[1]
    largest = max(float(part.abs().max()) for part in wholes)
    deviation = max(float((part - whole).abs().max()) for part, whole in zip(parts, wholes, strict=True)) / largest
    ms = {key: 1000 * statistics.median(values) for key, values in times.items()}
    row = f"| {name} `{layer}` | {count} | {ms['ours']:.2f} | {ms['full']:.2f} | {ms['autograd']:.1f} | {ms['captum']:.1f} | "
    row += f"**{statistics.median(ratios):.0f}x** ({min(ratios):.0f}-{max(ratios):.0f}) | {deviation:.0e} |"
    return row, ratios


def measure_map(name: str, layer: str, rounds: int) -> str:
    """Measure one whole map's projection against the forward pass to that layer, in channels_last."""
    model = load(name)
    images = torch.randn(1, 3, 224, 224)
    last = images.to(memory_format=torch.channels_last)
    fast = copy.deepcopy(model).to(memory_format=torch.channels_last)
    net = deconvnet.DeconvNet(model)
    recording = net.record(images, layers=[layer])

    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    fast.get_submodule(layer).register_forward_hook(stop)

    def forward() -> None:
        try:
            with torch.no_grad():
                fast(last)
        except Stop:
            pass

    def project() -> None:
        net.project(recording, layer, channels=[5], unit="map")

    for _ in range(3):
        forward(), project()
    pairs = [(seconds(project), seconds(forward)) for _ in range(3 * rounds)]
    ours, theirs = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return f"| {name} `{layer}` | {ours:.1f} | {theirs:.1f} | **{ratio:.2f}** |"


def measure_end_to_end(rounds: int) -> str:
    """Measure nine channels of one picture, our forward pass included, against Captum's nine calls."""
    model, images, layer = load("alexnet"), torch.randn(1, 3, 224, 224), "features.11"
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
    model, images = load(name), torch.randn(batch, 3, 224, 224)
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


def main() -> None:
    """Measure all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="AlexNet only, and write nothing")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    several = [case for case in SEVERAL if not options.quick or case[0] == "alexnet"]
    rows, maps = [], []
    for case in several:
        rows.append(measure_units(*case, options.rounds)[0])
        print(rows[-1], flush=True)
    for case in MAPS[: 1 if options.quick else None]:
        maps.append(measure_map(*case, options.rounds))
        print(maps[-1], flush=True)
    end = measure_end_to_end(options.rounds)
    print(end)
    recordings = [measure_recording(name, batch, options.rounds) for name in ("resnet50", "vgg16") for batch in (8, 1)]
    print("\n".join(recordings))
    if not options.quick:
        text = PAGE.format(
            torch=torch.__version__.split("+")[0],
            threads=torch.get_num_threads(),
            rounds=options.rounds,
            units="\n".join(rows),
            maps="\n".join(maps),
            end=end,
            recordings="\n".join(recordings),
        )
        (ROOT / "docs" / "speed.md").write_text(text)


PAGE = """# Speed

Written by `benchmarks/speed.py`: torch {torch}, CPU, {threads} threads, medians of {rounds} interleaved rounds, one picture
of 224x224, random weights. Machines differ and so do days: trust the ratios.

## Single units

Milliseconds for one unit. *Ours*: `net.project` on a recording that stands, all units in one call. *Full frame*: the same
without windows, eight at a time. *Autograd*: one backward pass on a graph that stands. *Captum*: one call of
`NeuronDeconvolution`, which runs its forward pass each time. The ratio is Captum's time over ours, with its smallest and
largest round; the deviation is that of windowed from full-frame projections, relative to the largest pixel.

| layer | units | ours | full frame | autograd | Captum | ratio | deviation |
|---|---|---|---|---|---|---|---|
{units}

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

## What is aimed at, and not yet reached

64 units of AlexNet `features.11`, `features.7` and `features.4`: 20x, 60x and 350x; 16 of VGG16 `features.29`, `features.15`
and `features.8`: 4.5x, 250x and 2,000x; 64 of ResNet50 `layer2` and `layer3`: 45x and 6x; of GoogLeNet and DenseNet121: 6x; a
whole map: 1.1 times the forward pass; recording at batch 1: 1.3 times.

Deep layers see most of the frame, so that windows save little there. The way down of ResNet50 `layer3` is 28 ms a unit of
convolutions alone, 6 GFLOP at the 210 GFLOP/s that this machine does in every form of convolution that torch has; batch norms
and rectifiers come to 17 ms more, and folding the norms into the filters is the next thing to do. AlexNet `features.11` has a
floor of 1.5 ms of convolutions; unpooling, moving and clearing patches take the other 1 ms.
"""

if __name__ == "__main__":
    main()
