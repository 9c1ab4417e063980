"""On drawings whose parts are known: does the energy of a projection lie on the part that excites its channel?

The part that excites a unit is found by covering each part in turn with grey: it is the one whose loss costs the most
activation, if it costs at least a tenth. The measure is the share of the energy inside the window that lies on that part's
pixels, grown by two: the outline of a part is half outside of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from ..drawings import Drawing
from ..errors import PictureError
from ..images import Preprocess
from ..net import DeconvNet
from ..units import Unit, Window
from .arrays import Floats, Mask
from .masking import measure_drops, window_mask

SMALLEST_DROP = 0.1  # of the activation, that losing the part must cost
MARGIN = 2  # pixels that a part is grown by


@dataclass(frozen=True, eq=False)
class PartTruth:
    """For each of K units: the part that excites it, and how much of each method's energy lies on it.

    Attributes:
        methods: the rules, the nulls, and "window": the part's share of the bare window's pixels.
        parts: (K,): the parts' names; "" where no part costs a tenth of the activation, or the one that does is outside the
            window.
        drops: (K,): the share of the activation that covering that part takes away; NaN where there is none.
        shares: (K, methods): the share of the energy in the window that lies on the part; NaN where there is none.
    """

    methods: tuple[str, ...]
    parts: tuple[str, ...]
    drops: Floats
    shares: Floats

    def sorted(self, order: Sequence[int]) -> PartTruth:
        """Return the same with the units in another order, given by their numbers."""
        return PartTruth(self.methods, tuple(self.parts[number] for number in order), self.drops[order], self.shares[order])


def measure_truth(
    net: DeconvNet,
    drawings: Sequence[Drawing],
    images: Tensor,
    units: Sequence[Unit],
    windows: Sequence[Window],
    energies: Mapping[str, Sequence[Floats]],
) -> PartTruth:
    """Find each unit's part, and measure how much of each method's energy lies on it.

    Args:
        net: the net.
        drawings: N drawings.
        images: (N, C, H, W): what the net sees of them.
        units: K units, with the numbers of their drawings.
        windows: the units' windows.
        energies: for each method the energy (H, W) of each unit.

    Raises:
        PictureError: what the net does to a picture is not known.
    """
    masks = [part_masks(net, drawing) for drawing in drawings]
    methods = (*energies, "window")
    parts, drops, shares = [], np.full(len(units), np.nan), np.full((len(units), len(methods)), np.nan)
    for number, unit in enumerate(units):
        name, drop = _exciting_part(net, images[unit.image], masks[unit.image], unit)
        window = window_mask(windows[number].clip(*images.shape[2:]), images.shape[2:])
        on_part = grown(masks[unit.image][name], MARGIN) & window
        if drop < SMALLEST_DROP or not on_part.any():
            parts.append("")
            continue
        parts.append(name)
        drops[number] = drop
        weights = [*(energy[number] for energy in energies.values()), window.astype(float)]
        shares[number] = [weight[on_part].sum() / (weight[window].sum() or np.nan) for weight in weights]
    return PartTruth(methods, tuple(parts), drops, shares)


def part_masks(net: DeconvNet, drawing: Drawing) -> dict[str, Mask]:
    """Return the masks (H, W) of a drawing's parts as the net sees them: resized and cropped with the picture.

    Raises:
        PictureError: what the net does to a picture is not known.
    """
    if not isinstance(net.preprocess, Preprocess):
        raise PictureError(f"{net.name} has a preprocessing of its own kind: where it puts the parts is not known.")
    crop = net.preprocess.crop_picture
    masks = {
        name: np.asarray(crop(Image.fromarray(np.uint8(255 * mask))).convert("L")) > 127 for name, mask in drawing.parts.items()
    }
    return {name: mask for name, mask in masks.items() if mask.any()}


def grown(mask: Mask, pixels: int) -> Mask:
    """Return a mask (H, W) with everything that lies within so many rows and columns of it."""
    padded = np.pad(mask, pixels)
    height, width = mask.shape
    steps = range(2 * pixels + 1)
    return np.logical_or.reduce([padded[row : row + height, col : col + width] for row in steps for col in steps])


def _exciting_part(net: DeconvNet, image: Tensor, masks: Mapping[str, Mask], unit: Unit) -> tuple[str, float]:
    """Return the part whose loss costs a unit most, and the share of the activation that it costs."""
    drops = measure_drops(net, image, np.stack(list(masks.values())), unit)
    return list(masks)[int(drops.argmax())], float(drops.max())
