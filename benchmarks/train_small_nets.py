"""Train a small net of benchmarks/small_nets.py in minutes on one core: what benchmarks/small_nets_table.py does first.

The drawings are drawn, the net is trained, and tested on drawings that it has not seen. Unlike in tiny, no layer is smoothed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.stats import binomtest
from small_nets import KINDS, PREPROCESS
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from deconvnet.drawings import draw
from deconvnet.models.seeding import seeded

FIRST_DRAWING, FIRST_FRESH = 60_000_000, 70_000_000  # seeds of drawings: far from those of tiny's, and from small ones
DRAWINGS, FRESH = 8_192, 1_800
EPOCHS, BATCH, DECAY = 4, 32, 0.02
RATES = {"alexnet-like": 0.001, "vgg-like": 0.001, "resnet-like": 0.003}  # batch norms allow more
SHIFT = 6  # pixels: drawings are moved at random by up to this much


@cache
def draw_many(first: int, count: int) -> tuple[Tensor, Tensor]:
    """Return pictures, uint8 (count, 3, H, W), and their labels (count,)."""
    drawings = [draw(seed=seed, size=PREPROCESS.resize) for seed in range(first, first + count)]
    pictures = np.stack([np.asarray(drawing.picture) for drawing in drawings])
    labels = torch.tensor([drawing.label for drawing in drawings])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(), labels


def normalised(pictures: Tensor) -> Tensor:
    """Return images as `PREPROCESS` makes them of pictures of their size."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (PREPROCESS.mean, PREPROCESS.std))
    return ((pictures.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def train(kind: str, seed: int, *, drawings: int = DRAWINGS, epochs: int = EPOCHS) -> nn.Module:
    """Return a trained net in eval mode; the same arguments give the same weights on the same machine.

    Args:
        kind: a key of `KINDS`.
        seed: of the first weights, and of order and place of the drawings, which are the same for all seeds.
        drawings: how many of them.
        epochs: passes over them.
    """
    torch.set_num_threads(1)  # with more, sums are rounded otherwise, and training makes that large
    pictures, labels = draw_many(FIRST_DRAWING, drawings)
    started = time.monotonic()
    with seeded(seed):
        net = KINDS[kind]()[0].to(memory_format=torch.channels_last).train()
        optimiser = torch.optim.AdamW(net.parameters(), RATES[kind], weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATES[kind], epochs * -(-drawings // BATCH), pct_start=0.15)
        for epoch in range(1, epochs + 1):
            for images, targets in batches(pictures, labels):
                optimiser.zero_grad()
                cross_entropy(net(images), targets).backward()
                optimiser.step()
                schedule.step()
            print(f"{kind}, seed {seed}: epoch {epoch} after {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return net.eval()


def batches(pictures: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all drawings once in a random order, each batch moved by a few pixels."""
    size = PREPROCESS.resize
    for chosen in torch.randperm(len(labels)).split(BATCH):
        top, left = torch.randint(2 * SHIFT + 1, (2,)).tolist()
        moved = pad(normalised(pictures[chosen]), (SHIFT,) * 4, mode="replicate")
        yield moved[..., top : top + size, left : left + size], labels[chosen]


@torch.no_grad()
def accuracy(net: nn.Module, count: int = FRESH) -> dict[str, Any]:
    """Return of how many fresh drawings a net is right, and the share with its 95 % interval (Wilson 1927)."""
    pictures, labels = draw_many(FIRST_FRESH, count)
    predicted = torch.cat([net(normalised(batch)).argmax(1) for batch in pictures.split(100)])
    right = int((predicted == labels).sum())
    interval = binomtest(right, count).proportion_ci(method="wilson")
    return {"right": right, "of": count, "share": right / count, "low": float(interval.low), "high": float(interval.high)}


def save(net: nn.Module, path: Path) -> None:
    """Save the weights as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.contiguous() for name, weight in net.state_dict().items()}, path)
