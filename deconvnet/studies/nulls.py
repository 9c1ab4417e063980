"""What pictures show without a net, and without a trained one: what a projection must beat to say anything of what was learned.

*No net*: the picture's edges, faded out by a Gaussian around the middle of the unit's window. It knows the picture and where
the unit is, and nothing else.

How fast it fades is a choice, and decides much: on tiny's drawings the deconvnet has ten points more of its energy on the right
part than this null by default, and none more if that fades over 0.15 of the window's sides (docs/cannot-show.md).

*Random net*: the same picture, unit and switches, with random filters on the way down: the recording stays that of the trained
net, so that only the filters are lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ..axes import from_maps
from ..choices import RuleName
from ..memory import batch_bytes
from ..mirror import project_value
from ..models.seeding import seeded
from ..net import DeconvNet
from ..projection import start_signal
from ..recording import Recording
from ..rules import Table
from ..rules.call import Saved
from ..rules.conv import SavedConv
from ..rules.linear import SavedLinear
from ..tape import Tape, TapeCache
from ..units import Unit, Window
from .arrays import Floats
from .masking import energy
from .reinitialise import random_like

NULLS = ("no net", "random net")
FADING = 0.25  # of the window's sides: the Gaussian's standard deviation
RANDOM_NETS = 5  # whose energies are averaged
ALONG, ACROSS = (0.25, 0.5, 0.25), (1.0, 0.0, -1.0)  # an edge: how Sobel weighs its pixels


def edge_map(image: Floats) -> Floats:
    """Return the Sobel edges (H, W) of an image (C, H, W): the strength of the gradient of its mean over channels."""
    grey = np.pad(np.asarray(image, dtype=float).mean(0), 1, mode="symmetric")
    height, width = grey.shape[0] - 2, grey.shape[1] - 2
    slopes = np.zeros((2, height, width))
    for row, col in np.ndindex(3, 3):
        part = grey[row : row + height, col : col + width]
        slopes += np.array([ACROSS[row] * ALONG[col], ALONG[row] * ACROSS[col]])[:, None, None] * part
    edges: Floats = np.hypot(slopes[0], slopes[1]) / np.sqrt(2)
    return edges


def null_energies(
    net: DeconvNet, recording: Recording, layer: str, units: Sequence[Unit], windows: Sequence[Window], *, seed: int = 0
) -> dict[str, list[Floats]]:
    """Return both nulls' energies, (H, W) for each of K units, by their names.

    Args:
        net: the net.
        recording: of the units' pictures.
        layer: the units' layer.
        units: K units, with their activations.
        windows: their windows, unclipped.
        seed: of the first random net.
    """
    images = recording.images.float().cpu().numpy()
    return {
        "no net": [no_net_energy(images[unit.image], window) for unit, window in zip(units, windows, strict=True)],
        "random net": list(random_net_energy(net, recording, layer, units, seed=seed)),
    }


def no_net_energy(image: Floats, window: Window, *, fading: float = FADING) -> Floats:
    """Return the energy (H, W) of a picture's edges faded out around the middle of a window.

    Args:
        image: (C, H, W).
        window: the unit's window, unclipped.
        fading: the Gaussian's standard deviation, as a share of the window's sides.
    """
    rows, cols = np.arange(image.shape[1]), np.arange(image.shape[2])
    down = (rows - (window.top + (window.height - 1) / 2)) / (fading * window.height)
    across = (cols - (window.left + (window.width - 1) / 2)) / (fading * window.width)
    fading = np.exp(-0.5 * (np.square(down)[:, None] + np.square(across)[None, :]))
    faded: Floats = np.square(edge_map(image) * fading)
    return faded


def random_net_energy(
    net: DeconvNet, recording: Recording, layer: str, units: Sequence[Unit], *, rule: RuleName = "deconvnet", seed: int = 0
) -> Floats:
    """Return the energy (K, H, W) of units projected through random filters, the mean of five draws, each of energy 1.

    Args:
        net: the net.
        recording: of the units' pictures, by the trained net: its switches and masks are kept.
        layer: the units' layer.
        units: K units, with their activations.
        rule: what the way down is mirrored by.
        seed: of the first draw.
    """
    total = np.zeros((len(units), *recording.images.shape[2:]))
    for draw in range(seed, seed + RANDOM_NETS):
        drawn = np.stack([energy(pixels) for pixels in project_at_random(recording, layer, units, net.table(rule), seed=draw)])
        sums = drawn.sum((1, 2), keepdims=True)
        total += drawn / np.where(sums > 0, sums, 1) / RANDOM_NETS
    return total


def project_at_random(recording: Recording, layer: str, units: Sequence[Unit], table: Table, *, seed: int = 0) -> Floats:
    """Project units through random filters by the recording's own switches and masks: (K, C, H, W)."""
    tape, value = with_random_filters(recording.tape_for(layer, table), seed), recording.value(layer)
    maps = recording.stored_maps(layer)
    largest = max(shape[1:].numel() for shape in tape.shapes[: value + 1])
    size = max(1, batch_bytes(tape.device, None) // (4 * largest))
    parts = []
    for first in range(0, len(units), size):
        batch = units[first : first + size]
        signal = from_maps(start_signal(maps, batch, "activation"), tape.axes[value])
        rows = torch.tensor([unit.image for unit in batch])
        parts.append(project_value(tape, value, signal, table, rows).float().cpu().numpy())
    return np.concatenate(parts)


def with_random_filters(tape: Tape, seed: int) -> Tape:
    """Return a tape on which the filters of all convolutions and fully connected layers are random, and nothing else differs.

    Args:
        tape: the tape, which stays as it is.
        seed: of the filters; they have each layer's own standard deviation, as in `sanity`.
    """
    with seeded(seed):
        calls = [replace(call, saved=_with_random_weight(call.saved)) for call in tape.calls]
    return replace(tape, calls=calls, cache=TapeCache())


def _with_random_weight(saved: Saved) -> Saved:
    """Make the filters that a call saved random; other calls' numbers stay."""
    if isinstance(saved, SavedConv):
        return saved.with_weight(random_like(saved.weight))
    return replace(saved, weight=random_like(saved.weight)) if isinstance(saved, SavedLinear) else saved
