"""How alike are the projections of different channels at one position? If they showed their channels, hardly alike.

Mahendran & Vedaldi 2016 found that the pictures depend little on the unit that they start from. Here the strongest channels at
one position of a layer are projected, and each pair is compared, by each rule. The filters alone (`FFF`), the mirrored net
without anything of this picture, are measured for comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..choices import RuleName
from ..net import DeconvNet
from ..recording import Recording
from ..results import PIXELS, json_key
from ..select import choose_units
from ..units import Unit
from .arrays import Floats, Integers
from .similarity import compare_pairs, correlation, cosine, magnitude, pair_mean

RULES: tuple[RuleName, ...] = ("deconvnet", "guided", "gradient", "FFF")


@dataclass(frozen=True, eq=False)
class Selectivity:
    """How alike the projections of K channels at the busiest position of a layer are, in each of N pictures.

    Attributes:
        layer: the layer.
        rules: (R,): the rules, the filters alone last.
        positions: (N,): row and column of the position in each picture (in files: places).
        channels: (N, K): the strongest channels there; -1 where fewer fire.
        cosine: (N, R): the cosine of signed values, the mean over pairs of channels.
        correlation: (N, R): the correlation of magnitudes, the mean over pairs of channels.
        pairs: (K, K): the correlation of magnitudes of each pair, by the deconvnet in the first picture.
        pixels: (K, C, h, w), signed: the deconvnet's projections in the first picture.
    """

    layer: str
    rules: tuple[str, ...]
    positions: tuple[tuple[int, int], ...] = field(metadata=json_key("places"))
    channels: Integers
    cosine: Floats
    correlation: Floats
    pairs: Floats
    pixels: Floats = field(metadata=PIXELS)


def measure_selectivity(net: DeconvNet, recording: Recording, layer: str, maps: Tensor, top: int) -> Selectivity:
    """Compare the projections of the strongest channels at one position, in each picture.

    Args:
        net: the net.
        recording: of N pictures.
        layer: the layer.
        maps: its maps, (N, C', H', W').
        top: how many channels to compare, 2 or more.

    Returns:
        The means over pairs of channels. The position is the busiest: where the activations of all channels add up to most.
    """
    pictures = [_compare_channels(net, recording, layer, maps, image, top) for image in range(len(maps))]
    return Selectivity(
        layer=layer,
        rules=RULES,
        positions=tuple(picture.position for picture in pictures),
        channels=np.array([picture.channels + [-1] * (top - len(picture.channels)) for picture in pictures]),
        cosine=np.array([picture.cosines for picture in pictures]),
        correlation=np.array([picture.correlations for picture in pictures]),
        pairs=pictures[0].pairs,
        pixels=pictures[0].pixels,
    )


def busiest_position(maps: Tensor) -> tuple[int, int]:
    """Return the row and column where a layer's positive activations, (C', H', W'), add up to most."""
    total = maps.clamp(min=0).sum(0)
    row, col = divmod(int(torch.argmax(total)), total.shape[1])
    return row, col


@dataclass(frozen=True, eq=False)
class _Comparison:
    """What is measured in one picture."""

    position: tuple[int, int]
    channels: list[int]
    cosines: list[float]  # by each rule
    correlations: list[float]
    pairs: Floats  # of the deconvnet
    pixels: Floats


def _compare_channels(net: DeconvNet, recording: Recording, layer: str, maps: Tensor, image: int, top: int) -> _Comparison:
    row, col = busiest_position(maps[image])
    firing = int((maps[image, :, row, col] > 0).sum())
    units = choose_units(maps[image], layer, top=max(2, min(top, firing)), at=(row, col), image=image)
    crops = [_project(net, recording, layer, units, rule) for rule in RULES]
    pairs = [compare_pairs(list(magnitude(pixels)), correlation) for pixels in crops]
    return _Comparison(
        position=(row, col),
        channels=[unit.channel for unit in units],
        cosines=[pair_mean(compare_pairs(list(pixels), cosine)) for pixels in crops],
        correlations=[pair_mean(values) for values in pairs],
        pairs=pairs[0],
        pixels=crops[0],
    )


def _project(net: DeconvNet, recording: Recording, layer: str, units: Sequence[Unit], rule: RuleName) -> Floats:
    """Project units, (K, C, h, w), each started by 1: their sizes do not matter, nor do their signs."""
    crops = net.project(recording, layer, units=units, rule=rule, start="one").crops()
    return np.stack([crop.float().numpy() for crop in crops])
