"""What `benchmark` compares: a net's own way down, each choice that the paper leaves open, all settings of the three bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..net import DeconvNet
from ..own import OTHERS, Projected, measure_own
from ..progress import counted
from ..projection import project_units
from ..recording import Recording
from ..rules import Table
from ..units import Unit, Window
from .ablate import CHOICES, RULES
from .arrays import Floats
from .masking import energy
from .nulls import RANDOM_NETS, project_at_random
from .similarity import correlation, magnitude

DEFAULT = "deconvnet"  # what all others are compared with
ROUNDING = 1e-5  # of the largest value: what two pictures may differ by and be called the same
NAMES = {"FTT": DEFAULT, "TTT": "guided", "TTF": "gradient"}  # of bits that have one


@dataclass(frozen=True, eq=False)
class Contender:
    """A way down: its name and its rules."""

    name: str
    table: Table


def contenders(net: DeconvNet) -> list[Contender]:
    """Return the deconvnet as a net has it, with each open choice made otherwise, then all other settings of the three bits."""
    default = net.table(DEFAULT)
    others = {f"{name}={value}": {name: value} for name, values in CHOICES.items() for value in values}
    choices = [
        Contender(name, default.with_options(**choice))
        for name, choice in others.items()
        if any(getattr(net, key) != value for key, value in choice.items())
    ]
    bits = [Contender(NAMES.get(rule, rule), net.table(rule)) for rule in RULES if NAMES.get(rule) != DEFAULT]
    return [Contender(DEFAULT, default), *choices, *bits]


@dataclass(frozen=True, eq=False)
class Projections:
    """What one contender makes of K units.

    Attributes:
        recording: of their images.
        layer: their layer.
        units: the units.
        windows: their windows, unclipped.
        parts: (C, h, w) each, within window and frame.
        table: the contender's rules.
    """

    recording: Recording
    layer: str
    units: Sequence[Unit]
    windows: Sequence[Window]
    parts: Sequence[Tensor]
    table: Table

    @classmethod
    def of(cls, recording: Recording, layer: str, units: Sequence[Unit], table: Table) -> Projections:
        """Project units by a table of rules."""
        windows, parts = project_units(recording, layer, units, table, "activation")
        return cls(recording, layer, units, windows, [part.cpu() for part in parts], table)

    def equals(self, other: Projections) -> bool:
        """Tell whether both are the same pictures but for rounding, which differs where sums are taken in another order."""
        pairs = zip(self.parts, other.parts, strict=True)
        return all(float((first - second).abs().max()) <= ROUNDING * float(first.abs().max()) for first, second in pairs)

    def energies(self) -> list[Floats]:
        """Return the energy (H, W) of each unit's projection in the whole frame."""
        frame = np.zeros((len(self.units), *self.recording.frame))
        for whole, part, window in zip(frame, self.parts, self.windows, strict=True):
            inside = window.clip(*self.recording.frame)
            whole[inside.top : inside.bottom, inside.left : inside.right] = energy(part.float().numpy())
        return list(frame)


def project_contenders(
    net: DeconvNet, recording: Recording, units: Sequence[Unit]
) -> tuple[dict[str, Projections], dict[str, str]]:
    """Project units of one layer by every contender.

    Args:
        net: the net, whose options are the default's.
        recording: of the units' pictures.
        units: K units, with their activations.

    Returns:
        The projections by the contenders' names, and of contenders that make the same pictures as one before, but for
        rounding, the name of that one: a net without response norms does not care how they are mirrored.
    """
    kept: dict[str, Projections] = {}
    same: dict[str, str] = {}
    rivals = contenders(net)
    for contender in counted(rivals, len(rivals), "projecting", "contender"):
        projections = Projections.of(recording, units[0].layer, units, contender.table)
        twin = next((name for name, other in kept.items() if projections.equals(other)), None)
        if twin is None:
            kept[contender.name] = projections
        else:
            same[contender.name] = twin
    return kept, same


def measure_own_share(projections: Projections) -> Floats:
    """Return *own* of each unit, (K,): 1 - the mean cosine with its projections by the switches of other pictures.

    The others are up to eight of the same recording; NaN where it has none, or the projection is empty.
    """
    recording, units = projections.recording, projections.units
    count = len(recording)
    others = [[(unit.image + step) % count for step in range(1, min(count, OTHERS + 1))] for unit in units]
    projected = Projected(recording, projections.layer, units, projections.parts, projections.table)
    values = measure_own(projected, recording, others)
    return np.array([np.nan if value is None else value for value in values])


def measure_selective_share(projections: Projections, others: Projections) -> Floats:
    """Return 1 - the correlation of |x| of each unit's projection with another channel's at the same position, (K,).

    Args:
        projections: of K units.
        others: of the other channels' units, by the same rules.

    Returns:
        0: the position alone made the picture; NaN where one of the two is empty.
    """
    pairs = zip(projections.parts, others.parts, strict=True)
    return np.array([1 - _likeness(first.float().numpy(), second.float().numpy()) for first, second in pairs])


def measure_learned_share(projections: Projections, *, seed: int = 0) -> Floats:
    """Return 1 - the correlation of |x| of each unit's projection with those through random filters, (K,).

    The switches and masks stay the trained net's, so that this is about the filters on the way down alone; the mean of five
    draws. 0: the filters make no difference; NaN where nothing arrives.
    """
    layer, units = projections.layer, projections.units
    likeness = np.zeros(len(units))
    for draw in range(seed, seed + RANDOM_NETS):
        random = project_at_random(projections.recording, layer, units, projections.table, seed=draw)
        for number, (part, window) in enumerate(zip(projections.parts, projections.windows, strict=True)):
            inside = window.clip(*projections.recording.frame)
            crop = random[number][:, inside.top : inside.bottom, inside.left : inside.right]
            likeness[number] += _likeness(part.float().numpy(), crop) / RANDOM_NETS
    learned: Floats = 1 - likeness
    return learned


def _likeness(first: Floats, second: Floats) -> float:
    """Return the correlation of |x|; NaN where one of the projections is empty."""
    if not first.any() or not second.any():
        return float("nan")
    return correlation(magnitude(first), magnitude(second))
