"""How alike two projections are: cosine and correlation here, rank correlation, SSIM and HOG by scipy and scikit-image.

Signed measures take all values (C, H, W) as they are. Unsigned ones take the `magnitude`, (H, W): the largest |x| over
channels, as Simonyan et al. 2014 draw it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..optional import require

Values = npt.NDArray[Any]

MEASURES = ("rank", "signed rank", "ssim", "hog")


def magnitude(pixels: Values) -> Values:
    """Return the largest |x| over channels: (..., C, H, W) -> (..., H, W)."""
    return np.abs(pixels).max(axis=-3)


def cosine(one: Values, other: Values) -> float:
    """Return the cosine between two arrays of one shape, -1..1; NaN where one holds nothing but zeros."""
    one, other = one.ravel().astype(float), other.ravel().astype(float)
    size = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / size) if size else float("nan")


def correlation(one: Values, other: Values) -> float:
    """Return the (Pearson) correlation of two arrays of one shape, -1..1; NaN where one is the same all over."""
    return cosine(one - one.mean(dtype=float), other - other.mean(dtype=float))


def table(parts: Sequence[Values], measure: Any) -> Values:
    """Return a measure of every pair, (K, K); it must be symmetric."""
    made = np.ones((len(parts), len(parts)))
    for row, one in enumerate(parts):
        for col in range(row + 1):
            made[row, col] = made[col, row] = measure(one, parts[col])
    return made


def pair_mean(table: Values) -> float:
    """Return the mean over pairs of different ones, of a symmetric table (K, K)."""
    return float(mean_known(table[np.triu_indices(len(table), 1)], 0))


def mean_known(values: Values, axis: int) -> Values:
    """Return the mean along an axis, NaN left out; NaN where nothing else is there."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis)
    mean: Values = np.where(known.any(axis), total / np.maximum(known.sum(axis), 1), np.nan)
    return mean


def rank(one: Values, other: Values) -> float:
    """Return Spearman's rank correlation, -1..1; NaN where one is the same all over."""
    stats = require("scipy.stats", needed_by="the rank correlation", extra="studies")
    one, other = one.ravel(), other.ravel()
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(stats.spearmanr(one, other).statistic)


def ssim(one: Values, other: Values, window: int = 5) -> float:
    """Return the mean structural similarity of two signed maps (H, W), each scaled to -1..1 by its largest |x|.

    The window is Adebayo et al.'s: 5 pixels.
    """
    metrics = require("skimage.metrics", needed_by="SSIM", extra="studies")
    return float(metrics.structural_similarity(_scaled(one), _scaled(other), data_range=2.0, win_size=window))


def hog(one: Values, other: Values) -> float:
    """Return the correlation of two signed maps' histograms of oriented gradients, in cells of 16 pixels (Adebayo et al.)."""
    feature = require("skimage.feature", needed_by="HOG", extra="studies")
    side = max(2, min(16, min(one.shape) // 4))
    described = [feature.hog(_scaled(map_), pixels_per_cell=(side, side)) for map_ in (one, other)]
    return correlation(*described)


def measure_all(one: Values, other: Values) -> dict[str, float]:
    """Compare two projections (C, H, W) by each of `MEASURES`; SSIM and HOG see the mean over channels."""
    plain = one.mean(axis=0), other.mean(axis=0)
    return {
        "rank": rank(magnitude(one), magnitude(other)),
        "signed rank": rank(one, other),
        "ssim": ssim(*plain),
        "hog": hog(*plain),
    }


def measure_maps(one: Values, other: Values) -> dict[str, float]:
    """Compare two unsigned maps (H, W), such as a magnitude and an edge map; they have no signs to compare."""
    return {"rank": rank(one, other), "signed rank": float("nan"), "ssim": ssim(one, other), "hog": hog(one, other)}


def _scaled(values: Values) -> Values:
    largest = float(np.abs(values).max())
    return values.astype(float) / largest if largest else values.astype(float)
