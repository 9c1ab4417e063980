"""Regions of a unit's window, and what covering them takes from its activation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..net import DeconvNet
from ..projection import as_maps
from ..units import Unit, Window

Values = npt.NDArray[Any]

BATCH = 64  # covered pictures in a forward pass


def energy(pixels: Values) -> Values:
    """Return the energy (H, W) of a projection (C, H, W): the sum of squares over channels."""
    summed: Values = np.square(pixels.astype(float)).sum(0)
    return summed


def best_region(values: Values, inside: Window, area: float) -> Values:
    """Return the mask (H, W) of the share `area` of a window that has most energy, once blurred.

    Blurred by a twentieth of the window's side, so that the region holds together: covering specks is no occlusion.
    """
    part = values[inside.top : inside.bottom, inside.left : inside.right]
    return _strongest(blurred(part, 0.05 * math.sqrt(part.size)), values.shape, inside, area)


def middle_region(window: Window, frame: Sequence[int], area: float) -> Values:
    """Return the mask (H, W) of the share `area` of a window that is nearest to its middle: what knows no picture takes."""
    inside = window.clip(*frame)
    rows = np.arange(inside.top, inside.bottom) - (window.top + (window.height - 1) / 2)
    cols = np.arange(inside.left, inside.right) - (window.left + (window.width - 1) / 2)
    return _strongest(-np.hypot(rows[:, None], cols[None, :]), tuple(frame), inside, area)


def moved(region: Values, inside: Window, rng: np.random.Generator) -> Values:
    """Return a mask moved by a random number of rows and columns within its window; what leaves comes in opposite."""
    result = np.zeros_like(region)
    rows, cols = slice(inside.top, inside.bottom), slice(inside.left, inside.right)
    steps = (int(rng.integers(inside.height)), int(rng.integers(inside.width)))
    result[rows, cols] = np.roll(region[rows, cols], steps, axis=(0, 1))
    return result


@torch.no_grad()
def measure_drops(net: DeconvNet, image: Tensor, masks: Values, unit: Unit) -> Values:
    """Return the share of a unit's activation that covering each mask takes away; image (C, H, W), masks (M, H, W) -> (M,).

    What is covered becomes zero, the mean of the net's preprocessing. 1: nothing is left; below 0: it grew.
    """
    left = []
    for first in range(0, len(masks), BATCH):
        hidden = torch.from_numpy(masks[first : first + BATCH]).to(image.device)[:, None]
        recording = net.record(torch.where(hidden, torch.zeros_like(image), image[None]), layers=[unit.layer])
        maps = as_maps(recording.kept_activations(unit.layer), recording.layout(unit.layer), unit.layer)
        left.append(maps[:, unit.channel, unit.row or 0, unit.col or 0].double().cpu().numpy())
    dropped: Values = 1 - np.concatenate(left) / float(unit.activation or 1)
    return dropped


def blurred(values: Values, sigma: float) -> Values:
    """Return (H, W) blurred by a Gaussian of `sigma` pixels, zero beyond the edge."""
    reach = max(1, math.ceil(3 * sigma))
    taps = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / max(sigma, 1e-6)))
    taps /= taps.sum()
    for axis in (0, 1):
        padded = np.pad(values, [(reach, reach) if one == axis else (0, 0) for one in (0, 1)])
        length = values.shape[axis]
        values = sum(tap * np.take(padded, range(first, first + length), axis) for first, tap in enumerate(taps))
    return values


def _strongest(values: Values, frame: Sequence[int], inside: Window, area: float) -> Values:
    """Mark the largest values of a window; of equals the first."""
    count = max(1, round(area * values.size))
    chosen = np.zeros(values.size, bool)
    chosen[np.argsort(-values.ravel(), kind="stable")[:count]] = True
    mask = np.zeros(tuple(frame), bool)
    mask[inside.top : inside.bottom, inside.left : inside.right] = chosen.reshape(values.shape)
    return mask
