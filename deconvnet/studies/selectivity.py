"""How alike are projections of different channels at one place? If a projection told of its channel, hardly.

Mahendran & Vedaldi 2016 found the pictures to depend little on the unit that they start from. Here the strongest channels at
one place of a layer are projected, and each pair is compared, by each rule. Beside it stands the same for the filters alone
(`FFF`), the mirrored net without anything of this picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..net import DeconvNet
from ..projection import choose_units
from ..recording import Recording
from .result import PIXELS
from .similarity import correlation, cosine, magnitude, pair_mean, table

Values = npt.NDArray[Any]

RULES = ("deconvnet", "guided", "gradient", "FFF")


@dataclass(frozen=True)
class Selectivity:
    """K channels at the busiest place of a layer in each of N pictures; the mean over pairs of channels."""

    layer: str
    rules: tuple[str, ...]
    places: tuple[tuple[int, int], ...]  # (N): row and column
    channels: Values  # (N, K)
    cosine: Values  # (N, rules): of signed values
    correlation: Values  # (N, rules): of magnitudes
    pairs: Values  # (K, K): the correlation of magnitudes of each pair, deconvnet, first picture
    pixels: Values = field(metadata=PIXELS)  # (K, C, h, w): the deconvnet's projections, first picture


def measure_selectivity(net: DeconvNet, recording: Recording, layer: str, maps: Tensor, top: int) -> Selectivity:
    """Compare the projections of the `top` strongest channels at one place, in each picture; maps: (N, C', H', W').

    The place is the busiest: where the activations of all channels add up to most.
    """
    places, channels, cosines, correlations = [], [], [], []
    first: tuple[Values, Values] | None = None
    for image, own in enumerate(maps):
        row, col = busiest(own)
        firing = int((own[:, row, col] > 0).sum())
        units = choose_units(own, layer, top=max(2, min(top, firing)), unit=(row, col), image=image)
        made = [np.stack([crop.float().numpy() for crop in _crops(net, recording, layer, units, rule)]) for rule in RULES]
        tables = [table(list(magnitude(one)), correlation) for one in made]
        cosines.append([pair_mean(table(list(one), cosine)) for one in made])
        correlations.append([pair_mean(one) for one in tables])
        places.append((row, col))
        channels.append([unit.channel for unit in units] + [-1] * (top - len(units)))
        first = first or (tables[0], made[0])
    assert first is not None  # a recording has an image, at least
    return Selectivity(
        layer=layer,
        rules=RULES,
        places=tuple(places),
        channels=np.array(channels),
        cosine=np.array(cosines),
        correlation=np.array(correlations),
        pairs=first[0],
        pixels=first[1],
    )


def busiest(maps: Tensor) -> tuple[int, int]:
    """Return the row and column where a layer's positive activations, (C', H', W'), add up to most."""
    total = maps.clamp(min=0).sum(0)
    row, col = divmod(int(torch.argmax(total)), total.shape[1])
    return row, col


def _crops(net: DeconvNet, recording: Recording, layer: str, units: Sequence[Any], rule: str) -> list[Tensor]:
    """Project units, each started by 1: their size is of no interest, their sign neither."""
    return net.project(recording, layer, units=units, rule=rule, start="one").crops()
