"""A learned decoder: a small net in the manner of Noh, Hong & Han (2015) that labels the parts of drawings, pixel by pixel.

Convolutions and pools go down; the same number of unpoolings and transposed convolutions, which the literature calls
deconvolutions, come up again. What is compared is the unpooling: by the switches of the pool on the same level, into a fixed
corner, or not at all (nearest interpolation). None of the three has a parameter of its own, so the nets that are compared
have the same parameters, the same first weights, and see the same drawings in the same order: what differs in the end, the
way of going up made.

Fixed unpooling followed by a transposed convolution of stride 1 is one transposed convolution of stride 2 (a test holds
this), so that row stands for strided "deconvolution" as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import OptionError, check_option
from . import interpolate, unpool
from .iou import boundary_iou, iou
from .part_labels import LABELS, draw_labelled

#: How a decoder goes up a level: what came up, the size to go to, and the switches of the pool on that level.
DECODERS: dict[str, Callable[[Tensor, tuple[int, int], Any], Tensor]] = {
    "switch": lambda small, size, switches: unpool.switched(small, size, switches=switches),
    "fixed": lambda small, size, switches: unpool.top_left(small, size, stride=2),
    "nearest": lambda small, size, switches: interpolate.nearest(small, size),
}

TRAINING_SEEDS, TEST_SEEDS = 20_000_000, 30_000_000  # of drawings: far from the small ones that people use, and from each other
BATCH, RATE = 8, 4e-3


class Segmenter(nn.Module):
    """Label every pixel: (N, 3, H, W) in 0..1 -> scores (N, labels, H, W); H and W of any size from 2 ** levels up.

    Noh et al. 2015, in small: two convolutions a level for two or three, three levels for five, and no fully connected waist.
    `way` is a key of `DECODERS`; `widths` are the channels of each level.
    """

    def __init__(self, way: str, labels: int = len(LABELS), widths: Sequence[int] = (16, 24, 40)) -> None:
        super().__init__()
        check_option("way", way, DECODERS)
        self.way = way
        self.down = nn.ModuleList(_level(nn.Conv2d, *pair) for pair in pairwise((3, *widths)))
        self.waist = _block(nn.Conv2d, widths[-1], widths[-1])
        self.up = nn.ModuleList(_level(nn.ConvTranspose2d, *pair) for pair in pairwise((*widths[::-1], widths[0])))
        self.scores = nn.Conv2d(widths[0], labels, 1)

    def forward(self, picture: Tensor) -> Tensor:
        """Return scores (N, labels, H, W) of pictures (N, 3, H, W)."""
        signal, kept = 4 * picture - 2, []  # as tiny takes its pictures: middle grey is 0
        for block in self.down:
            large = block(signal)
            signal, switches = unpool.max_pool(large, 2, ceil_mode=True)
            kept.append(((large.shape[2], large.shape[3]), switches))
        signal = self.waist(signal)
        for block in self.up:
            signal = block(DECODERS[self.way](signal, *kept.pop()))
        scores: Tensor = self.scores(signal)
        return scores


def _level(kind: type[nn.Module], inputs: int, outputs: int) -> nn.Sequential:
    """Two blocks, as Noh et al. have two or three: after unpooling by switches the first fills the holes, the second shapes."""
    return nn.Sequential(_block(kind, inputs, outputs), _block(kind, outputs, outputs))


def _block(kind: type[nn.Module], inputs: int, outputs: int) -> nn.Sequential:
    """A convolution or transposed convolution of 3x3 that keeps the size, normalised and rectified."""
    return nn.Sequential(kind(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


@dataclass(frozen=True)
class Comparison:
    """What each way of going up reached.

    `iou` and `boundary` are (ways, seeds, labels), 0..1, NaN for a label that was not drawn; `losses` is (ways, seeds, steps).
    `pictures` (K, H, W, 3), 0..255, `truth` (K, H, W) and `answers` (ways, K, H, W) show some test drawings and what
    the nets of the first seed make of them. `parameters` is the count that all nets share.
    """

    ways: tuple[str, ...]
    seeds: tuple[int, ...]
    labels: tuple[str, ...]
    iou: np.ndarray
    boundary: np.ndarray
    losses: np.ndarray
    pictures: np.ndarray
    truth: np.ndarray
    answers: np.ndarray
    parameters: int
    settings: dict[str, Any]

    def measures(self) -> dict[str, np.ndarray]:
        """Return what the table shows, each (ways, seeds): means over labels, and the label of thin parts by itself."""
        return {
            "mean IoU": np.nanmean(self.iou, axis=2),
            "boundary IoU": np.nanmean(self.boundary, axis=2),
            "IoU of lines": self.iou[:, :, self.labels.index("line")],
        }

    def differences(self, one: str, other: str) -> dict[str, np.ndarray]:
        """Return for each measure how much better one way is than another, seed by seed, (seeds,)."""
        first, second = (self.ways.index(way) for way in (one, other))
        return {name: values[first] - values[second] for name, values in self.measures().items()}


def run(
    *,
    ways: Sequence[str] = tuple(DECODERS),
    seeds: Sequence[int] = (0,),
    steps: int = 400,
    drawings: int = 1024,
    test_drawings: int = 140,
    size: int = 64,
    device: str | torch.device = "cpu",
    shown: int = 5,
) -> Comparison:
    """Train a net for each way and seed on the same drawings and hold its answers against the truth.

    `steps` batches of 8 of the `drawings` make a training; `size` is their side in pixels. With the defaults
    three nets train for about a minute on two cores, three times the steps are worth the wait. The seed picks first weights and
    order; the same call gives the same result on one machine. `shown` drawings are kept for the figure, every third one.
    """
    check_settings(ways, seeds, steps, min(drawings, test_drawings), size)
    data, test = _drawn(TRAINING_SEEDS, drawings, size, device), _drawn(TEST_SEEDS, test_drawings, size, device)
    scored: list[tuple[Tensor, Tensor]] = []
    losses: list[list[float]] = []
    answers: list[Tensor] = []
    with tqdm(total=len(ways) * len(seeds) * steps, unit="step", disable=None) as bar:
        for way in ways:
            for seed in seeds:
                bar.set_description(f"{way}, seed {seed}")
                model, falling = train(way, *data, seed=seed, steps=steps, advance=bar.update)
                answer = segment(model, test[0])
                scored.append((iou(answer, test[1], len(LABELS)), boundary_iou(answer, test[1], len(LABELS))))
                losses.append(falling)
                answers += [answer[::3][:shown]] if seed == seeds[0] else []
    whole, borders = (torch.stack(rows).view(len(ways), len(seeds), -1) for rows in zip(*scored, strict=True))
    return Comparison(
        ways=tuple(ways),
        seeds=tuple(seeds),
        labels=LABELS,
        iou=whole.cpu().numpy(),
        boundary=borders.cpu().numpy(),
        losses=np.array(losses).reshape(len(ways), len(seeds), steps),
        pictures=np.rint(255 * test[0][::3][:shown].permute(0, 2, 3, 1).cpu().numpy()).astype(np.uint8),
        truth=test[1][::3][:shown].cpu().numpy(),
        answers=torch.stack(answers).cpu().numpy(),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        settings={
            "drawings": drawings,
            "test_drawings": test_drawings,
            "size": size,
            "batch": BATCH,
            "rate": RATE,
            "steps": steps,
        },
    )


def check_settings(ways: Sequence[str], seeds: Sequence[int], steps: int, drawings: int, size: int) -> None:
    """Refuse, before anything is drawn, what cannot be trained or compared."""
    for way in ways:
        check_option("way", way, DECODERS)
    if not ways or not seeds or len(set(ways)) < len(ways) or len(set(seeds)) < len(seeds):
        raise OptionError(f"cannot compare ways {list(ways)} with seeds {list(seeds)}: give one of each or more, none twice.")
    if steps < 1 or drawings < BATCH or size < 16:
        raise OptionError(
            f"cannot train {steps} steps on {drawings} drawings of {size} pixels: "
            f"give a step, {BATCH} drawings and 16 pixels or more."
        )


def _drawn(first: int, count: int, size: int, device: str | torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = draw_labelled(range(first, first + count), size)
    return pictures.to(device).contiguous(memory_format=torch.channels_last), labels.to(device)


def train(
    way: str,
    pictures: Tensor,
    labels: Tensor,
    *,
    seed: int = 0,
    steps: int = 400,
    advance: Callable[[int], Any] = lambda count: None,
) -> tuple[Segmenter, list[float]]:
    """Train a net on pictures (N, 3, H, W) in 0..1 and labels (N, H, W); return it in eval mode, and the loss of every step.

    Rare labels weigh more, by one over the root of their share. The caller's random numbers are left as they were.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Segmenter(way).to(device=pictures.device).to(memory_format=torch.channels_last).train()
        order = torch.cat([torch.randperm(len(pictures)) for _ in range(-(-steps * BATCH // len(pictures)))])
        flips = torch.rand(steps) < 0.5
    weight = label_weights(labels)
    optimiser = torch.optim.Adam(model.parameters(), RATE)
    rising = max(0.2, 2 / (steps + 1))  # of a few steps at least the first: torch 2.6 divides by how many they are, less one
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps + 1, pct_start=rising)
    losses = []
    for flip, chosen in zip(flips.tolist(), torch.split(order, BATCH), strict=False):
        picture, label = pictures[chosen], labels[chosen]
        if flip:
            picture, label = picture.flip(-1), label.flip(-1)
        optimiser.zero_grad()
        loss = F.cross_entropy(model(picture), label, weight)
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        advance(1)
    return model.eval(), losses


def label_weights(labels: Tensor) -> Tensor:
    """Return what each label weighs in the loss, (labels,): one over the root of its share, and on average 1 a pixel."""
    share = torch.bincount(labels.flatten(), minlength=len(LABELS)) / labels.numel()
    weight = share.clamp(min=1e-4).rsqrt()
    return weight / (weight * share).sum()


@torch.no_grad()
def segment(model: Segmenter, pictures: Tensor) -> Tensor:
    """Return the likeliest label of every pixel, (N, H, W) int64, of pictures (N, 3, H, W) in 0..1."""
    return torch.cat([model(some).argmax(1) for some in torch.split(pictures, 40)])
