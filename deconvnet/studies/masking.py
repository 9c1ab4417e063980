"""Regions of a unit's window, and what covering them takes from its activation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..axes import as_maps
from ..crops import cut_window, recut
from ..net import DeconvNet
from ..units import Unit, Window
from .arrays import Floats, Mask
from .forward import Forward

BLUR = 0.05  # of the window's side


def energy(pixels: Floats) -> Floats:
    """Return the energy (H, W) of a projection (C, H, W): the sum of squares over channels."""
    summed: Floats = np.square(pixels.astype(float)).sum(0)
    return summed


def strongest_region(values: Floats, inside: Window, area: float) -> Mask:
    """Return the part of a window that has most energy, once blurred.

    The blur, by a twentieth of the window's side, holds the region together: covering specks is no occlusion.

    Args:
        values: (H, W): the energy.
        inside: the window, which lies inside the frame.
        area: the share of the window, 0..1.

    Returns:
        A mask (H, W).
    """
    return strongest_regions(values, inside, [area])[0]


def strongest_regions(values: Floats, inside: Window, areas: Sequence[float]) -> Mask:
    """Return the strongest region of each area, (A, H, W): a larger one holds every smaller one."""
    part = cut_window(values, inside)
    smooth = blurred(part, BLUR * math.sqrt(part.size))
    return np.stack([_largest(smooth, values.shape, inside, area) for area in areas])


def middle_region(window: Window, frame: Sequence[int], area: float) -> Mask:
    """Return the part of a window that is nearest to its middle: what one would cover without knowing the picture.

    Args:
        window: the unclipped window.
        frame: (H, W).
        area: the share of the window's part inside the frame, 0..1.

    Returns:
        A mask (H, W).
    """
    inside = window.clip(*frame)
    rows = np.arange(inside.top, inside.bottom) - (window.top + (window.height - 1) / 2)
    cols = np.arange(inside.left, inside.right) - (window.left + (window.width - 1) / 2)
    return _largest(-np.hypot(rows[:, None], cols[None, :]), frame, inside, area)


def randomly_moved(region: Mask, inside: Window, rng: np.random.Generator) -> Mask:
    """Return a mask moved by a random number of rows and columns within its window; what leaves on one side enters opposite."""
    rows, cols = int(rng.integers(inside.height)), int(rng.integers(inside.width))
    return _in_frame(np.roll(cut_window(region, inside), (rows, cols), axis=(0, 1)), inside, region.shape)


@torch.no_grad()
def measure_drops(net: DeconvNet, image: Tensor, masks: Mask, unit: Unit) -> Floats:
    """Return what covering regions takes away from a unit's activation.

    Args:
        net: the net.
        image: (C, H, W), normalised as the net expects it. What is covered becomes zero, the mean of its preprocessing.
        masks: (M, H, W): the regions.
        unit: the unit, with its activation.

    Returns:
        (M,): shares of the activation. 1: nothing is left; below 0: it grew.
    """
    recording = net.record(image[None], layers=[unit.layer])
    image = recording.images[0]
    forward, axes = Forward(net, recording, [unit.layer], stop=True), recording.axes(unit.layer)

    def activation(layer: str, activations: Tensor) -> Tensor:
        return as_maps(activations, axes, layer)[:, unit.channel, unit.row or 0, unit.col or 0].double().cpu()

    remaining = []
    for first in range(0, len(masks), forward.batch):
        hidden = torch.from_numpy(masks[first : first + forward.batch]).to(image.device)[:, None]
        remaining.append(forward(torch.where(hidden, torch.zeros_like(image), image[None]), activation)[1][unit.layer].numpy())
    drops: Floats = 1 - np.concatenate(remaining) / float(unit.activation or 1)
    return drops


def blurred(values: Floats, sigma: float) -> Floats:
    """Return (H, W) blurred by a Gaussian of `sigma` pixels, zero beyond the edge."""
    reach = max(1, math.ceil(3 * sigma))
    weights = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / max(sigma, 1e-6)))
    weights /= weights.sum()
    for axis in (0, 1):
        margins = [(0, 0), (0, 0)]
        margins[axis] = (reach, reach)
        padded, length = np.pad(values, margins), values.shape[axis]
        values = sum(weight * np.take(padded, range(step, step + length), axis) for step, weight in enumerate(weights))
    return values


def window_mask(inside: Window, frame: Sequence[int]) -> Mask:
    """Return the mask (H, W) of a window that lies inside the frame."""
    return _in_frame(np.ones((inside.height, inside.width), bool), inside, frame)


def _largest(values: Floats, frame: Sequence[int], inside: Window, area: float) -> Mask:
    """Mark the largest values of a window, (h, w), in the frame; of equals the first."""
    chosen = np.zeros(values.size, bool)
    chosen[np.argsort(-values.ravel(), kind="stable")[: max(1, round(area * values.size))]] = True
    return _in_frame(chosen.reshape(values.shape), inside, frame)


def _in_frame(mask: Mask, inside: Window, frame: Sequence[int]) -> Mask:
    """Return a window's mask (h, w) in the whole frame (H, W)."""
    whole: Mask = recut(mask, inside, Window(0, 0, frame[0], frame[1]))
    return whole
