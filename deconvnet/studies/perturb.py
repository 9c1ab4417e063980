"""Does energy lie where covering pixels takes activation? Occlusion by a square, and insertion and deletion.

*occlusion* asks what Zeiler & Fergus's Fig. 7 shows side by side: (c), where a projection is, against (b), where a square costs
activation. *insertion* and *deletion* (Petsiuk, Das & Saenko, RISE, BMVC 2018) cover the window's pixels in the order of a
projection's energy, or bring them back in that order; there it is the score of a class, here a unit's activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..crops import cut_window
from ..net import DeconvNet
from ..units import Unit, Window
from .arrays import Floats
from .masking import measure_drops, strongest_regions, window_mask
from .occlude import SHORT_SIDE, SQUARE, square_starts
from .similarity import rank_correlation

STEPS = 10  # of insertion and deletion, from nothing to the whole window
MOST_OF_WINDOW = 4  # a square's side is at most the window's side divided by this


@dataclass(frozen=True, eq=False)
class CoveredSquares:
    """Squares within a unit's window.

    Attributes:
        squares: S squares.
        drops: (S,): the share of the unit's activation that covering each takes away.
    """

    squares: Sequence[Window]
    drops: Floats


def cover_squares(net: DeconvNet, image: Tensor, unit: Unit, window: Window) -> CoveredSquares:
    """Slide a square over a unit's window, by half its side at a time, as `occlude` does over a picture.

    Its side is occlude's default, 27 pixels where the picture's short side is 224, but at most a quarter of the window's.

    Args:
        net: the net.
        image: (C, H, W), normalised as the net expects it.
        unit: the unit, with its activation.
        window: its window, unclipped.
    """
    frame = image.shape[1:]
    inside = window.clip(*frame)
    side = min(round(SQUARE * min(frame) / SHORT_SIDE), min(inside.height, inside.width) // MOST_OF_WINDOW)
    side = max(1, side)
    step = max(1, side // 2)
    squares = [
        Window(inside.top + int(top), inside.left + int(left), side, side)
        for top in square_starts(inside.height, side, step)
        for left in square_starts(inside.width, side, step)
    ]
    masks = np.stack([window_mask(square, frame) for square in squares])
    return CoveredSquares(squares, measure_drops(net, image, masks, unit))


def measure_occlusion(values: Floats, covered: CoveredSquares) -> float:
    """Return the rank correlation of the energy (H, W) within each square and what covering the square takes away.

    -1..1; NaN where the energy of all squares is the same, as for an empty projection.
    """
    sums = np.array([cut_window(values, square).sum() for square in covered.squares])
    return rank_correlation(sums, covered.drops)


def measure_perturbation(net: DeconvNet, image: Tensor, unit: Unit, window: Window, values: Floats) -> tuple[float, float]:
    """Return the areas under a unit's curves of insertion and of deletion.

    Args:
        net: the net.
        image: (C, H, W), normalised as the net expects it. What is covered becomes zero, the mean of its preprocessing.
        unit: the unit, with its activation.
        window: its window, unclipped; what lies outside reaches nothing.
        values: (H, W): the energy, whose order the pixels are covered in; once blurred, as in `faithful`.

    Returns:
        Insertion, the mean share of the activation as the pixels come back, the strongest first: more is better. Deletion, as
        they go: less is better. Both may leave 0..1, since covering can excite a unit. NaN where there is no energy.
    """
    inside = window.clip(*image.shape[1:])
    if not cut_window(values, inside).any():
        return float("nan"), float("nan")
    whole = window_mask(inside, image.shape[1:])
    regions = strongest_regions(values, inside, [step / STEPS for step in range(1, STEPS)])
    left = 1 - measure_drops(net, image, np.stack([*regions, whole, *(whole & ~regions)]), unit)
    without, back = left[: STEPS - 1], left[STEPS:]
    nothing = left[STEPS - 1]
    return area([nothing, *back, 1.0]), area([1.0, *without, nothing])


def area(curve: Sequence[float]) -> float:
    """Return the area under a curve of equal steps from 0 to 1, by the trapezoidal rule."""
    heights = np.asarray(curve, dtype=float)
    return float((heights[1:] + heights[:-1]).mean() / 2)
