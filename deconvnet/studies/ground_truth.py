"""On drawings whose parts are known: does the energy of a projection lie on the part that excites its channel?

The part that excites a unit is found by covering each part in turn with grey: the one whose loss costs the most activation,
if it costs at least a tenth. Of the energy inside the window, counted is the share on that part's pixels, grown by two: the
outline of a part is half outside of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from ..drawings import Drawing
from ..errors import PictureError
from ..images import Preprocess
from ..net import DeconvNet
from ..units import Unit, Window
from .masking import energy, measure_drops

Values = npt.NDArray[Any]

METHODS = ("deconvnet", "guided", "gradient", "window")  # "window": the part's share of the bare window's pixels
LEAST = 0.1  # of the activation that losing the part must cost
MARGIN = 2  # pixels that a part is grown by


@dataclass(frozen=True)
class PartTruth:
    """For each of K units: the part that excites it, and the share of each method's energy on it."""

    methods: tuple[str, ...]
    parts: tuple[str, ...]  # (K,): "" where no part costs a tenth of the activation, or none lies in the window
    drops: Values  # (K,): what covering that part takes away, as a share; NaN without one
    shares: Values  # (K, methods): of the energy in the window, on the part; NaN without one


def measure_truth(
    net: DeconvNet,
    drawings: Sequence[Drawing],
    images: Tensor,
    units: Sequence[Unit],
    windows: Sequence[Window],
    pixels: Sequence[Values],
) -> PartTruth:
    """Find each unit's part and hold the projections against it; `pixels`: of each rule, (K, C, H, W)."""
    masks = [part_masks(net, drawing) for drawing in drawings]
    parts, drops, shares = [], np.full(len(units), np.nan), np.full((len(units), len(METHODS)), np.nan)
    for number, unit in enumerate(units):
        names = list(masks[unit.image])
        lost = measure_drops(net, images[unit.image], np.stack(list(masks[unit.image].values())), unit)
        part = int(lost.argmax())
        on_part = grown(masks[unit.image][names[part]], MARGIN)
        window = _mask(windows[number], images.shape[2:])
        if lost[part] < LEAST or not (on_part & window).any():
            parts.append("")
            continue
        parts.append(names[part])
        drops[number] = lost[part]
        weights = [energy(one[number]) for one in pixels] + [window.astype(float)]
        shares[number] = [weight[on_part & window].sum() / (weight[window].sum() or np.nan) for weight in weights]
    return PartTruth(METHODS, tuple(parts), drops, shares)


def part_masks(net: DeconvNet, drawing: Drawing) -> dict[str, Values]:
    """Return the masks of a drawing's parts as the net sees them: resized and cropped with the picture."""
    if not isinstance(net.preprocess, Preprocess):
        raise PictureError(f"{net.name} has a preprocessing of its own kind: where the parts come to lie is not known.")
    view = net.preprocess.crop_picture
    seen = {
        name: np.asarray(view(Image.fromarray(np.uint8(255 * mask))).convert("L")) > 127 for name, mask in drawing.parts.items()
    }
    return {name: mask for name, mask in seen.items() if mask.any()}


def grown(mask: Values, pixels: int) -> Values:
    """Return a mask with all that lies within so many rows and columns of it."""
    padded = np.pad(mask, pixels)
    height, width = mask.shape
    steps = range(2 * pixels + 1)
    return np.logical_or.reduce([padded[row : row + height, col : col + width] for row in steps for col in steps])


def _mask(window: Window, frame: Sequence[int]) -> Values:
    inside, mask = window.clip(*frame), np.zeros(tuple(frame), bool)
    mask[inside.top : inside.bottom, inside.left : inside.right] = True
    return mask
