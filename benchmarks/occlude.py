"""Measure `occlude` beside the plain batched loop and Captum's Occlusion, in one process, interleaved; print a table.

    pip install -e ".[bench]"
    python benchmarks/occlude.py [--nets alexnet,squeezenet1_0] [--rounds 3]

All cover a square of 27 pixels in steps of 7 in one picture of 224x224 with 0. *Ours* gives the map's total, P(class) and the
most probable class of each position. The *plain loop* does the same as one would write it: batches of 32 (`--batch`) occluded
copies, `model(images)`, a hook on the layer. *Captum* gives one class's differences, averaged where squares overlap; its last
squares are cut off at the edge, not moved. Weights are random, since speed does not depend on them. Times are seconds of CPU
time on one thread (`--wall`: of the clock), so that other processes on the machine count less.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import torch
import torchvision

import deconvnet
from deconvnet.studies import occlude

SQUARE, STRIDE = 27, 7
LAYERS = {"alexnet": "features.11", "squeezenet1_0": "features.12", "vgg16": "features.29", "resnet18": "layer4"}


def plain(net: deconvnet.DeconvNet, image: torch.Tensor, layer: str, channel: int, label: int, batch: int) -> torch.Tensor:
    """Return the totals and probabilities (positions, 2) of a plain batched loop."""
    starts = occlude.square_starts(224, SQUARE, STRIDE).tolist()
    corners = [(top, left) for top in starts for left in starts]
    totals, probabilities = [], []
    hook = net.model.get_submodule(layer).register_forward_hook(lambda _, __, out: totals.append(out[:, channel].sum((1, 2))))
    with torch.no_grad():
        for first in range(0, len(corners), batch):
            squares = corners[first : first + batch]
            images = image.repeat(len(squares), 1, 1, 1)
            for occluded, (top, left) in zip(images, squares, strict=True):
                occluded[:, top : top + SQUARE, left : left + SQUARE] = 0
            probabilities.append(net.model(images).softmax(1)[:, label])
    hook.remove()
    return torch.stack([torch.cat(totals), torch.cat(probabilities)], 1)


def captum(net: deconvnet.DeconvNet, image: torch.Tensor, label: int, batch: int) -> torch.Tensor:
    """Run Captum's Occlusion with the same square and stride."""
    from captum.attr import Occlusion

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Occlusion(lambda images: net.model(images).softmax(1)).attribute(
            image, (3, SQUARE, SQUARE), strides=(3, STRIDE, STRIDE), target=label, perturbations_per_eval=batch
        )


def seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Time one call."""
    started = clock()
    call()
    return clock() - started


def measure(name: str, rounds: int, batch: int, clock: Callable[[], float]) -> str:
    """Return a row of the table: medians in seconds, and the medians of each round's ratios."""
    torch.manual_seed(0)
    net = deconvnet.DeconvNet(torchvision.models.get_model(name, weights=None).eval())
    image, layer = torch.randn(1, 3, 224, 224), LAYERS[name]
    result = occlude.run(net, image, layer=layer, square=SQUARE, stride=STRIDE)
    channel, label = result.settings["channel"], result.settings["label"]
    totals = plain(net, image, layer, channel, label, batch)[:, 0]
    deviation = float((totals - torch.from_numpy(result.totals).flatten()).abs().max() / totals.abs().max())
    calls = (
        lambda: occlude.run(net, image, layer=layer, square=SQUARE, stride=STRIDE),
        lambda: plain(net, image, layer, channel, label, batch),
        lambda: captum(net, image, label, batch),
    )
    times = [[seconds(call, clock) for call in calls] for _ in range(rounds)]
    ours, loop, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    ratios = [statistics.median(row[other] / row[0] for row in times) for other in (1, 2)]
    print(f"rounds: {times}", file=sys.stderr)
    return (
        f"| {name} `{layer}` | {result.totals.size} | {ours:.1f} | {loop:.1f} | {theirs:.1f} "
        f"| **{ratios[0]:.2f}x** | **{ratios[1]:.2f}x** | {deviation:.0e} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default="alexnet,squeezenet1_0", help="nets of torchvision, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32, help="pictures per batch of the plain loop and of Captum")
    parser.add_argument("--wall", action="store_true", help="measure wall-clock time, on all threads")
    arguments = parser.parse_args()
    if not arguments.wall:
        torch.set_num_threads(1)
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, CPU, threads {threads}, {arguments.rounds} rounds, batch {arguments.batch}\n")
    print("| layer | positions | ours, s | plain loop, s | Captum, s | plain / ours | Captum / ours | deviation |")
    print("|---|---|---|---|---|---|---|---|")
    clock = time.perf_counter if arguments.wall else time.process_time
    for name in arguments.nets.split(","):
        print(measure(name, arguments.rounds, arguments.batch, clock), flush=True)


if __name__ == "__main__":
    main()
