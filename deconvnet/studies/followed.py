"""Units of pictures that are followed while a net's weights change: their projections, described inside their windows.

Outside its window a projection is zero, whatever the net's weights are. Measured there too, two projections of one unit are
alike for no reason but the net's geometry: with SqueezeNet's upper half random, HOG is 0.84 in the whole frame, 0.42 in the
window. So every measure is taken inside the window; those of two pictures are laid upon each other, unit upon unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from ..axes import from_maps
from ..choices import RuleName
from ..crops import cut_window
from ..mirror import project_value
from ..net import DeconvNet
from ..projection import signal_dtype, start_signal, unit_window
from ..recording import Recording
from ..rules import Table
from ..units import Unit, Window
from ..windowed import can_start, is_worthwhile, project_patches
from .arrays import Floats
from .similarity import Described, magnitude

RULES: tuple[RuleName, ...] = ("deconvnet", "guided", "gradient")
TOGETHER = 8  # pictures in a recording: more leave the caches


class Followed:
    """The units that are followed, one of each of N pictures.

    Args:
        net: the trained net.
        recording: of the pictures, by that net.
        layer: the units' layer.
        units: N units, one of each image.
    """

    def __init__(self, net: DeconvNet, recording: Recording, layer: str, units: Sequence[Unit]) -> None:
        self.net, self.images, self.layer = net, recording.images, layer
        self.windows = [unit_window(recording.tape, recording.value(layer), unit) for unit in units]  # unclipped
        self.inside = [window.clip(*self.images.shape[2:]) for window in self.windows]
        self.batches = [units[first : first + TOGETHER] for first in range(0, len(units), TOGETHER)]
        self.pixels = self.projections(net.model)  # (rules, N, C, H, W)
        self.trained = self.describe(self.pixels)

    def projections(self, model: nn.Module) -> Floats:
        """Project the units by each rule, by the net or a copy with other weights, in the whole frame: (rules, N, C, H, W).

        One recording serves all rules: it is made by the gradient's, which saves the masks that the others need or ignore.
        """
        net = DeconvNet(model, rules=self.net.table("gradient"), attention=self.net.attention)
        parts = []
        for units in self.batches:
            recording = net.record(self.images[units[0].image : units[-1].image + 1], layers=[self.layer])
            here = [replace(unit, image=number) for number, unit in enumerate(units)]
            parts.append(np.stack([carry(recording, self.layer, here, net.table(rule)) for rule in RULES]))
        return np.concatenate(parts, axis=1)

    def describe(self, projections: Floats) -> list[list[Described]]:
        """Describe projections (rules, N, C, H, W), each inside its window."""
        return [
            [Described.of_projection(cut_window(*pair)) for pair in zip(row, self.inside, strict=True)] for row in projections
        ]

    def describe_magnitudes(self, projections: Floats) -> list[list[Described]]:
        """Describe the magnitudes of projections (rules, N, C, H, W), as maps without signs, each inside its window."""
        return [self.describe_maps(row) for row in magnitude(projections)]

    def describe_maps(self, maps: Sequence[Floats] | Floats) -> list[Described]:
        """Describe N unsigned maps of whole pictures, (H, W) each, inside the units' windows."""
        return [Described.of_map(cut_window(values, window)) for values, window in zip(maps, self.inside, strict=True)]

    def describe_next(self) -> tuple[list[list[Described]], list[list[Described]]]:
        """Describe the trained net's projections beside those of the next picture, unit upon unit, by each rule."""
        frame, ahead = self.images.shape[2:], np.roll(np.arange(len(self.windows)), -1)
        pairs = [overlay(window, self.windows[other], frame) for window, other in zip(self.windows, ahead, strict=True)]
        own, next_ones = [], []
        for row in self.pixels:
            cuts = zip(row, row[ahead], pairs, strict=True)
            both = [(cut_window(first, at), cut_window(second, there)) for first, second, (at, there) in cuts]
            own.append([Described.of_projection(first) for first, _ in both])
            next_ones.append([Described.of_projection(second) for _, second in both])
        return own, next_ones


def overlay(first: Window, second: Window, frame: Sequence[int]) -> tuple[Window, Window]:
    """Return the largest part that two windows both have inside the frame, in each: of one size, corner upon corner.

    Args:
        first: a unit's window, unclipped.
        second: another unit's.
        frame: (H, W).

        >>> overlay(Window(-2, 0, 5, 5), Window(8, 3, 5, 5), (10, 10))
        (Window(top=0, left=0, height=0, width=5), Window(top=10, left=3, height=0, width=5))
    """
    top, left = max(0, -first.top, -second.top), max(0, -first.left, -second.left)
    height = max(0, min(min(window.height, frame[0] - window.top) for window in (first, second)) - top)
    width = max(0, min(min(window.width, frame[1] - window.left) for window in (first, second)) - left)
    at, there = (Window(window.top + top, window.left + left, height, width) for window in (first, second))
    return at, there


def carry(recording: Recording, layer: str, units: Sequence[Unit], table: Table) -> Floats:
    """Project units, each started by 1, by what a recording saved for all rules: in their windows, where units have any."""
    tape, value, rows = recording.tape, recording.value(layer), torch.tensor([unit.image for unit in units])
    maps = recording.stored_maps(layer)
    places = [(unit.channel, unit.row, unit.col) for unit in units if unit.row is not None and unit.col is not None]
    if can_start(tape, value) and len(places) == len(units) and is_worthwhile(tape, value, len(units)):
        starts = torch.ones(len(units), dtype=signal_dtype(maps), device=tape.device)
        pixels = project_patches(tape, value, places, starts, table, rows).frame()
    else:
        pixels = project_value(tape, value, from_maps(start_signal(maps, units, "one"), tape.axes[value]), table)
    numbers: Floats = pixels.float().cpu().numpy()
    return numbers
