"""What benchmarks/speed.py and benchmarks/speed_gpu.py share: the cases, and how each is timed on a device.

Short calls are repeated, all that are compared run in turns, and a call on a GPU is waited for.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from contextlib import suppress

import torch
import torchvision
from rivals import Unit, autograd_call, captum_batched, captum_calls, zennit_call
from torch import nn

import deconvnet
from deconvnet.projection import project_units

UNIT_CASES = [  # model, layer, units, Captum's calls per round
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
MAP_CASES = [("alexnet", "features.11"), ("vgg16", "features.29"), ("resnet50", "layer3")]


DEVICE = torch.device("cpu")  # benchmarks/speed_gpu.py measures on another


def wait() -> None:
    """Wait for what a GPU still has to do."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def seconds(call: Callable[[], object]) -> float:
    """Time one call, in seconds."""
    wait()
    started = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - started


def steady(call: Callable[[], object]) -> float:
    """Time one call as the mean of as many as take a twentieth of a second: a single one would measure cold caches."""
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


def random_units(maps: torch.Tensor, count: int) -> list[Unit]:
    """Return random units of a layer, whose maps are (C, H', W')."""
    generator = torch.Generator().manual_seed(0)
    return [tuple(int(torch.randint(size, (), generator=generator)) for size in maps.shape) for _ in range(count)]  # type: ignore[misc]


def time_units(name: str, layer: str, count: int, calls: int, rounds: int) -> tuple[dict[str, list[float]], float]:
    """Time one unit by each tool, in seconds, round by round; also return the deviation of windowed from full frame."""
    model = load(name)
    images = picture()
    net = deconvnet.DeconvNet(model)
    recording = net.record(images, layers=[layer])
    units = random_units(recording.activations(layer)[0], count)
    captum, autograd = captum_calls(model, layer), autograd_call(model, layer, images, units[0])
    batched, zennit = captum_batched(model, layer, images, units[:8]), zennit_call(model, layer, images, units[0])
    complete = net.project(recording, layer, units=units, start="one").units
    full_batch = complete if DEVICE.type == "cuda" else complete[:8]

    def ours() -> None:
        net.project(recording, layer, units=units, start="one")

    def full() -> None:
        project_units(recording, layer, full_batch, net.rules, "one", windowed=False)

    def captums() -> None:
        for unit in units[:calls]:
            captum(images, unit)

    for warm in (ours, full, captums, batched, zennit, autograd):
        warm()
    times: dict[str, list[float]] = {"ours": [], "full": [], "captum": [], "batched": [], "zennit": [], "autograd": []}
    for _ in range(rounds):
        times["ours"].append(steady(ours) / count)
        times["full"].append(steady(full) / len(full_batch))
        times["captum"].append(steady(captums) / calls)
        times["batched"].append(steady(batched) / 8)
        times["zennit"].append(steady(zennit))
        times["autograd"].append(steady(autograd))
    with torch.no_grad():
        windowed = project_units(recording, layer, complete[:8], net.rules, "one")[1]
        full_frame = project_units(recording, layer, complete[:8], net.rules, "one", windowed=False)[1]
    largest = max(float(pixels.abs().max()) for pixels in full_frame)
    differences = (float((first - second).abs().max()) for first, second in zip(windowed, full_frame, strict=True))
    deviation = max(differences) / largest
    return times, deviation


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


def time_map(name: str, layer: str, rounds: int, *, graphs: bool = False) -> list[tuple[float, float]]:
    """Time one whole map's projection and the forward pass to that layer, in the device's fastest memory format; seconds.

    With `graphs` the projection is a CUDA graph, once it has been checked.
    """
    model, images = load(name), picture()
    order = torch.channels_last if DEVICE.type == "cpu" else torch.contiguous_format
    forward = forward_to(copy.deepcopy(model).to(memory_format=order), layer, images.to(memory_format=order))
    net = deconvnet.DeconvNet(model, graphs=graphs)
    recording = net.record(images, layers=[layer])

    def project() -> None:
        net.project(recording, layer, channels=[5], at="map")

    for _ in range(5):
        forward(), project()
    return [(seconds(project), seconds(forward)) for _ in range(3 * rounds)]


def measure_end_to_end(rounds: int) -> str:
    """Measure nine channels of one picture, our forward pass included, against Captum's nine calls."""
    model, images, layer = load("alexnet"), picture(), "features.11"
    captum, net = captum_calls(model, layer), deconvnet.DeconvNet(model)
    units = [(unit.channel, unit.row, unit.col) for unit in net.project(net.record(images, layers=[layer]), layer).units]

    def ours() -> None:
        net.project(net.record(images, layers=[layer]), layer)

    def captums() -> None:
        for unit in units:
            captum(images, unit)  # type: ignore[arg-type]

    ours(), captums()
    pairs = [(seconds(ours), seconds(captums)) for _ in range(rounds)]
    own_ms, captum_ms = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    return f"| alexnet `{layer}`, nine channels | {own_ms:.0f} | {captum_ms:.0f} | **{ratio:.1f}x** |"


def measure_recording(name: str, batch: int, rounds: int) -> str:
    """Measure recording against the plain forward pass, and the memory of the tape against that of all activations."""
    model, images = load(name), picture().expand(batch, -1, -1, -1).contiguous()
    net = deconvnet.DeconvNet(model)

    def plain() -> None:
        with torch.no_grad():
            model(images)

    plain(), net.record(images)
    pairs = [(seconds(lambda: net.record(images)), seconds(plain)) for _ in range(rounds * (8 if batch == 1 else 2))]
    recording, forward = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    tape = net.record(images).tape
    kept = sum(tensor.nbytes for call in tape.calls for tensor in call.saved.image_tensors()) / 2**20
    activations = sum(4 * shape.numel() for shape in tape.shapes) / 2**20
    ratio = statistics.median(a / b for a, b in pairs)
    return f"| {name} | {batch} | {recording:.0f} | {forward:.0f} | **{ratio:.2f}** | {kept:.1f} | {activations:.0f} |"
