"""How alike two projections are: cosine, correlation and rank correlation here, SSIM and HOG by scikit-image.

Signed measures take all values (C, H, W) as they are. Unsigned ones take the `magnitude`, (H, W): the largest |x| over
channels, as Simonyan et al. 2014 draw it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..optional import require
from .arrays import Floats

MEASURES = ("rank", "signed rank", "ssim", "hog")
SSIM_WINDOW = 5  # pixels, as in Adebayo et al. 2018
HOG_CELL = 16  # pixels, as in Adebayo et al. 2018; smaller in small maps
SMALLEST_HOG = 6  # pixels: a block has three by three cells of two


def magnitude(pixels: Floats) -> Floats:
    """Return the largest |x| over channels: (..., C, H, W) -> (..., H, W)."""
    largest: Floats = np.abs(pixels).max(axis=-3)
    return largest


def cosine(first: Floats, second: Floats) -> float:
    """Return the cosine between two arrays of one shape, -1..1; NaN where one of them is zero everywhere."""
    first, second = first.ravel().astype(float), second.ravel().astype(float)
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / lengths) if lengths else float("nan")


def correlation(first: Floats, second: Floats) -> float:
    """Return the (Pearson) correlation of two arrays of one shape, -1..1; NaN where one of them is constant."""
    return cosine(first - first.mean(dtype=float), second - second.mean(dtype=float))


def compare_pairs(arrays: Sequence[Floats], measure: Callable[[Floats, Floats], float]) -> Floats:
    """Return a symmetric measure of each pair of K arrays, (K, K), each with itself included."""
    values = np.ones((len(arrays), len(arrays)))
    for row, first in enumerate(arrays):
        for col, second in enumerate(arrays[: row + 1]):
            values[row, col] = values[col, row] = measure(first, second)
    return values


def pair_mean(values: Floats) -> float:
    """Return the mean over pairs of different arrays, of what `compare_pairs` returns, NaN left out."""
    return float(mean_known(values[np.triu_indices(len(values), 1)], 0))


def mean_known(values: Floats, axis: int) -> Floats:
    """Return the mean along an axis, NaN left out; NaN where there is nothing else."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis)
    mean: Floats = np.where(known.any(axis), total / np.maximum(known.sum(axis), 1), np.nan)
    return mean


def rank_correlation(first: Floats, second: Floats) -> float:
    """Return Spearman's rank correlation, -1..1; NaN where one of the arrays is constant."""
    return cosine(_ranks(first), _ranks(second))


def ssim(first: Floats, second: Floats) -> float:
    """Return the mean structural similarity of two signed maps (H, W), each scaled to -1..1 by its largest |x|.

    NaN where one of them is zero everywhere: its formula would give nearly 1 for two empty maps, and something for one. NaN,
    too, where they are smaller than its window.
    """
    metrics = require("skimage.metrics", needed_by="SSIM", extra="studies")
    if min(first.shape) < SSIM_WINDOW or not first.any() or not second.any():
        return float("nan")
    return float(metrics.structural_similarity(_scaled(first), _scaled(second), data_range=2.0, win_size=SSIM_WINDOW))


def hog(first: Floats, second: Floats) -> float:
    """Return the correlation of the histograms of oriented gradients of two signed maps (H, W).

    NaN where one has none, or where they have fewer than six rows or columns.
    """
    return correlation(_histograms(first), _histograms(second))


@dataclass(frozen=True, eq=False)
class Described:
    """What the measures need of one picture, worked out once however many others it is compared with.

    Attributes:
        ranks: of the unsigned values, less their mean; of equal ones, the mean of theirs.
        signed_ranks: of the signed values; None where there are no signs.
        flat: (H, W), signed: the mean over channels.
        histograms: its histograms of oriented gradients.
    """

    ranks: Floats
    signed_ranks: Floats | None
    flat: Floats
    histograms: Floats

    @classmethod
    def of_projection(cls, pixels: Floats) -> Described:
        """Describe a projection (C, H, W); SSIM and HOG take the mean over channels."""
        flat = pixels.mean(axis=0)
        return cls(_ranks(magnitude(pixels)), _ranks(pixels), flat, _histograms(flat))

    @classmethod
    def of_map(cls, values: Floats) -> Described:
        """Describe an unsigned map (H, W), such as a magnitude or an edge map, which has no signs to compare."""
        return cls(_ranks(values), None, values, _histograms(values))

    def compare(self, other: Described) -> dict[str, float]:
        """Compare with another one by each of `MEASURES`."""
        signed = self.signed_ranks is not None and other.signed_ranks is not None
        return {
            "rank": cosine(self.ranks, other.ranks),
            "signed rank": cosine(self.signed_ranks, other.signed_ranks) if signed else float("nan"),  # type: ignore[arg-type]
            "ssim": ssim(self.flat, other.flat),
            "hog": correlation(self.histograms, other.histograms),
        }


def compare_projections(first: Floats, second: Floats) -> dict[str, float]:
    """Compare two projections (C, H, W) by each of `MEASURES`; SSIM and HOG take the mean over channels."""
    return Described.of_projection(first).compare(Described.of_projection(second))


def _ranks(values: Floats) -> Floats:
    """Return the ranks of all values less their mean, flat; of equal ones, the mean of theirs.

    They are halves at most, which float32 holds exactly up to eight million values. Most of a projection may be zero: zeros
    share one rank, between those of the values below and above, and only the others are sorted.
    """
    flat = values.ravel()
    others = flat != 0
    zeros, below = flat.size - int(others.sum()), int((flat < 0).sum())
    ranks: Floats = np.full(flat.size, below + (zeros + 1) / 2)
    sorted_ranks = _mean_ranks(flat[others])
    ranks[others] = sorted_ranks + np.where(sorted_ranks > below, zeros, 0)
    return (ranks - (flat.size + 1) / 2).astype(np.float32 if flat.size < 2**23 else np.float64)


def _mean_ranks(values: Floats) -> Floats:
    """Return the ranks, from 1, of values (K,); of equal ones, the mean of theirs; NaN for all where one is NaN.

    It is `scipy.stats.rankdata`, whose sort keeps equals in order, which no mean needs, and takes six times as long.
    """
    order = np.argsort(values)
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    counts = np.diff(starts, append=len(values))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(starts + (counts + 1) / 2, counts)
    return np.full(len(values), np.nan) if np.isnan(ordered[-1:]).any() else ranks


def _histograms(values: Floats) -> Floats:
    feature = require("skimage.feature", needed_by="HOG", extra="studies")
    if min(values.shape) < SMALLEST_HOG:
        return np.zeros(1)
    side = max(2, min(HOG_CELL, min(values.shape) // 4))
    histograms: Floats = feature.hog(_scaled(values), pixels_per_cell=(side, side))
    return histograms


def _scaled(values: Floats) -> Floats:
    largest = float(np.abs(values).max())
    return values.astype(float) / largest if largest else values.astype(float)
