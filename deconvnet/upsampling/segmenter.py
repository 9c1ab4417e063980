"""A small net in the manner of Noh, Hong & Han (2015) that labels every pixel of a picture, and its training.

Convolutions and pools go down; the same number of unpoolings and transposed convolutions, which the literature calls
deconvolutions, come up again. The unpooling is by the switches of the pool on the same level, into a fixed corner, or not at
all (nearest-neighbour interpolation). None of the three has parameters.

Fixed unpooling followed by a transposed convolution of stride 1 is one transposed convolution of stride 2 (a test holds this),
so that net stands for strided "deconvolution" as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..choices import UNPOOLINGS, Unpooling
from ..errors import check_option
from ..receptive_field import Pair
from .interpolation import nearest
from .part_labels import LABELS
from .unpooling import PoolSwitches, max_pool, to_switches, to_top_left

#: How a net unpools on one level, given the signal from below, the size to unpool to, and the switches of the level's pool.
UNPOOL: dict[str, Callable[[Tensor, Pair, PoolSwitches], Tensor]] = {
    "switch": lambda small, size, switches: to_switches(small, size, switches=switches),
    "fixed": lambda small, size, switches: to_top_left(small, size, stride=2),
    "nearest": lambda small, size, switches: nearest(small, size),
}

BATCH, LEARNING_RATE = 8, 4e-3


class Segmenter(nn.Module):
    """Label every pixel: (N, 3, H, W) in 0..1 -> scores (N, labels, H, W); H and W of any size from 2 ** levels on.

    After Noh et al. 2015, but smaller: two convolutions per level instead of two or three, three levels instead of five, and no
    fully connected waist.

    Args:
        unpooling: "switch", "fixed" or "nearest".
        labels: how many.
        widths: the channels of each level.

    Raises:
        OptionError: there is no such unpooling.
    """

    def __init__(self, unpooling: Unpooling, labels: int = len(LABELS), widths: Sequence[int] = (16, 24, 40)) -> None:
        super().__init__()
        check_option("unpooling", unpooling, UNPOOLINGS)
        self.unpooling = unpooling
        self.down = nn.ModuleList(_level(nn.Conv2d, *channels) for channels in pairwise((3, *widths)))
        self.waist = _block(nn.Conv2d, widths[-1], widths[-1])
        self.up = nn.ModuleList(_level(nn.ConvTranspose2d, *channels) for channels in pairwise((*widths[::-1], widths[0])))
        self.scores = nn.Conv2d(widths[0], labels, 1)

    def forward(self, picture: Tensor) -> Tensor:
        """Return scores (N, labels, H, W) of pictures (N, 3, H, W)."""
        signal, pools = 4 * picture - 2, []  # as tiny takes its pictures: middle grey is 0
        for block in self.down:
            large = block(signal)
            signal, switches = max_pool(large, 2, ceil_mode=True)
            pools.append(((large.shape[2], large.shape[3]), switches))
        signal = self.waist(signal)
        for block in self.up:
            signal = block(UNPOOL[self.unpooling](signal, *pools.pop()))
        scores: Tensor = self.scores(signal)
        return scores


def train(
    unpooling: Unpooling,
    pictures: Tensor,
    labels: Tensor,
    *,
    seed: int = 0,
    steps: int = 400,
    on_progress: Callable[[int], object] = lambda steps: None,
) -> tuple[Segmenter, list[float]]:
    """Train a net. Rare labels weigh more, and the caller's random numbers are left as they were.

    Args:
        unpooling: "switch", "fixed" or "nearest".
        pictures: (N, 3, H, W) in 0..1.
        labels: (N, H, W), indices in `LABELS`.
        seed: of the first weights, the order of the pictures and their mirroring.
        steps: batches of 8 pictures.
        on_progress: called with 1 after each step.

    Returns:
        The net in eval mode, and the loss of every step.

    Raises:
        OptionError: there is no such unpooling.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Segmenter(unpooling).to(device=pictures.device).to(memory_format=torch.channels_last).train()
        order = torch.cat([torch.randperm(len(pictures)) for _ in range(-(-steps * BATCH // len(pictures)))])
        flips = torch.rand(steps) < 0.5
    weights = label_weights(labels)
    optimiser = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    rising = max(0.2, 2 / (steps + 1))  # of few steps at least the first: torch 2.6 divides by their number less one
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps + 1, pct_start=rising)
    losses = []
    for flip, chosen in zip(flips.tolist(), torch.split(order, BATCH), strict=False):
        picture, truth = pictures[chosen], labels[chosen]
        if flip:
            picture, truth = picture.flip(-1), truth.flip(-1)
        optimiser.zero_grad()
        loss = F.cross_entropy(model(picture), truth, weights)
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        on_progress(1)
    return model.eval(), losses


def label_weights(labels: Tensor) -> Tensor:
    """Return the weight of each label in the loss: one over the root of its share, and 1 on average over pixels.

    Args:
        labels: (N, H, W), indices in `LABELS`.

    Returns:
        (labels,).
    """
    shares = torch.bincount(labels.flatten(), minlength=len(LABELS)) / labels.numel()
    weights = shares.clamp(min=1e-4).rsqrt()
    return weights / (weights * shares).sum()


@torch.no_grad()
def predict_labels(model: Segmenter, pictures: Tensor) -> Tensor:
    """Return the most probable label of every pixel.

    Args:
        model: a trained net.
        pictures: (N, 3, H, W) in 0..1.

    Returns:
        (N, H, W) int64, indices in `LABELS`.
    """
    return torch.cat([model(batch).argmax(1) for batch in torch.split(pictures, 40)])


def _level(kind: type[nn.Module], inputs: int, outputs: int) -> nn.Sequential:
    """Two blocks (Noh et al. have two or three): after unpooling by switches the first fills the holes, the second shapes."""
    return nn.Sequential(_block(kind, inputs, outputs), _block(kind, outputs, outputs))


def _block(kind: type[nn.Module], inputs: int, outputs: int) -> nn.Sequential:
    """A convolution or transposed convolution of 3x3 that keeps the size, normalised and rectified."""
    return nn.Sequential(kind(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
