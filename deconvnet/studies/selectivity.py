"""How alike are the projections of different channels at one position? If they showed their channels, hardly alike.

Mahendran & Vedaldi 2016 found that the pictures depend little on the unit that they start from. Here the strongest channels at
one position of a layer are projected, and each pair is compared, by each rule. The filters alone (`FFF`), the mirrored net
without anything of this picture, are measured for comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..choices import RuleName
from ..net import DeconvNet
from ..recording import Recording
from ..render.table import table_text
from ..results import PIXELS, json_key
from ..select import choose_units
from ..units import Unit
from .arrays import Floats, Integers
from .similarity import compare_pairs, correlation, cosine, magnitude, pair_mean
from .statistics import Estimate, estimate_mean

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
        means: "cosine" and "correlation" by each rule: the mean over pictures.
        pairs: (K, K): the correlation of magnitudes of each pair, by the deconvnet in the first picture.
        pixels: (K, C, h, w), signed: the deconvnet's projections in the first picture.
    """

    layer: str
    rules: tuple[str, ...]
    positions: tuple[tuple[int, int], ...] = field(metadata=json_key("places"))
    channels: Integers
    cosine: Floats
    correlation: Floats
    means: dict[str, dict[str, Estimate]]
    pairs: Floats
    pixels: Floats = field(metadata=PIXELS)

    def table(self) -> str:
        """Return the means over pictures with their 95 % intervals, as text."""
        rows = [
            ("filters alone" if rule == "FFF" else rule, *(str(self.means[name][rule]) for name in self.means))
            for rule in self.rules
        ]
        return table_text([(f"two channels of {self.layer} at one place", "cosine", "correlation of |x|"), *rows])


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
    positions = [busiest_position(maps[image]) for image in range(len(maps))]
    units = [_strongest_at(maps, layer, image, at, top) for image, at in enumerate(positions)]
    crops = {rule: _project(net, recording, layer, units, rule) for rule in RULES}
    values = {
        "cosine": np.array([[_mean_of_pairs(pixels, cosine) for pixels in crops[rule]] for rule in RULES]).T,
        "correlation": np.array(
            [[_mean_of_pairs(magnitude(pixels), correlation) for pixels in crops[rule]] for rule in RULES]
        ).T,
    }
    return Selectivity(
        layer=layer,
        rules=RULES,
        positions=tuple(positions),
        channels=np.array([[unit.channel for unit in row] + [-1] * (top - len(row)) for row in units]),
        **values,
        means={
            name: {rule: estimate_mean(numbers[:, at]) for at, rule in enumerate(RULES)} for name, numbers in values.items()
        },
        pairs=compare_pairs(list(magnitude(crops["deconvnet"][0])), correlation),
        pixels=crops["deconvnet"][0],
    )


def busiest_position(maps: Tensor) -> tuple[int, int]:
    """Return the row and column where a layer's positive activations, (C', H', W'), add up to most."""
    total = maps.clamp(min=0).sum(0)
    row, col = divmod(int(torch.argmax(total)), total.shape[1])
    return row, col


def _strongest_at(maps: Tensor, layer: str, image: int, at: tuple[int, int], top: int) -> list[Unit]:
    """Return the units of the strongest channels at a position of one picture, two at least."""
    firing = int((maps[image, :, at[0], at[1]] > 0).sum())
    return choose_units(maps[image], layer, top=max(2, min(top, firing)), at=at, image=image)


def _project(net: DeconvNet, recording: Recording, layer: str, units: Sequence[Sequence[Unit]], rule: RuleName) -> list[Floats]:
    """Project the units of all pictures, (K, C, h, w) for each picture, each started by 1: their sizes do not matter."""
    crops = net.project(recording, layer, units=[unit for row in units for unit in row], rule=rule, start="one").crops()
    ends = np.cumsum([len(row) for row in units])
    return [
        np.stack([crop.float().numpy() for crop in crops[end - len(row) : end]]) for row, end in zip(units, ends, strict=True)
    ]


def _mean_of_pairs(arrays: Floats, measure: Callable[[Floats, Floats], float]) -> float:
    return pair_mean(compare_pairs(list(arrays), measure))
