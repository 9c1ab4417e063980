"""Means with intervals, differences in pairs, and Holm's correction: the statistics of every study.

The picture is the unit of analysis. Two units of one picture share its pixels and its switches, and are no two observations, so
the values of a picture are averaged first. Intervals are 95 % ones, percentiles of SciPy's bootstrap over pictures; where two
methods were measured on the same pictures, it is their differences that are resampled. What is NaN, such as a measure of an
empty projection, is left out and counted, never averaged in as if it were a number.

Without SciPy, which comes with the extra `studies`, and for fewer than five pictures there are means, but no intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..errors import MissingPackageError
from ..optional import require
from .arrays import Floats, Integers

RESAMPLES = 9999  # SciPy's own number
FEWEST = 5  # pictures: resampling fewer says nothing of other pictures
FEWEST_IN_PAIRS = 8  # pictures that are compared with each other: of fewer, a resample may hold one picture only
LEVEL = 0.05  # below which a difference is called one


@dataclass(frozen=True)
class Estimate:
    """A mean over pictures and its 95 % interval.

    Attributes:
        mean: the mean of the pictures' means; NaN where nothing is known.
        low: the interval's lower end; NaN where there is none: fewer than five pictures, or SciPy is not installed.
        high: its upper end.
        pictures: how many pictures the mean is of.
        values: how many values were measured, several for a picture perhaps.
        missing: how many of them are NaN, and left out.
    """

    mean: float
    low: float
    high: float
    pictures: int
    values: int
    missing: int

    def __str__(self) -> str:
        return self.text()

    def text(self, form: str = ".2f") -> str:
        """Return it as words: "0.52 [0.41, 0.63]", and how many values are missing if there are any."""
        if not self.pictures:
            return f"- ({self.missing} of {self.values} missing)" if self.missing else "-"
        between = f" [{self.low:{form}}, {self.high:{form}}]" if self.has_interval else ""
        missing = f" ({self.missing} of {self.values} missing)" if self.missing else ""
        return f"{self.mean:{form}}{between}{missing}"

    @property
    def has_interval(self) -> bool:
        """True where there are pictures enough, and SciPy."""
        return bool(np.isfinite(self.low))

    @property
    def bars(self) -> tuple[float, float]:
        """How far the interval reaches below and above the mean, as matplotlib's error bars take it; 0 where there is none."""
        return (self.mean - self.low, self.high - self.mean) if self.has_interval else (0.0, 0.0)


@dataclass(frozen=True)
class Comparison:
    """What one method has more than another on the same pictures.

    Attributes:
        name: what was compared: "deconvnet - centre".
        difference: the mean difference and its interval.
        p: the share of resamples beyond 0, doubled: the smallest level at which the interval leaves out 0.
        holm: p by Holm's correction for all comparisons but the primary one; of the primary one p itself.
        primary: whether it was fixed beforehand as the one that decides.
    """

    name: str
    difference: Estimate
    p: float
    holm: float
    primary: bool

    @property
    def is_significant(self) -> bool:
        """True where the corrected p is below 0.05."""
        return self.holm < LEVEL

    def cells(self) -> tuple[str, str, str]:
        """Return a row of a table: what was compared, the difference, and p as it is judged."""
        kind = "primary" if self.primary else "Holm"
        return self.name, self.difference.text("+.3f"), f"{p_text(self.holm)} ({kind})" if np.isfinite(self.holm) else "-"


def estimate_mean(values: npt.ArrayLike, pictures: npt.ArrayLike | None = None) -> Estimate:
    """Return the mean over pictures and its interval.

    Args:
        values: (K,): numbers, NaN where there is nothing to measure.
        pictures: (K,): the number of each value's picture; by default each has its own.
    """
    return _estimate(_Sample.of(values, pictures))[0]


def compare(
    pairs: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], pictures: npt.ArrayLike | None = None, *, primary: str = ""
) -> tuple[Comparison, ...]:
    """Compare methods in pairs, value by value, and correct for how many comparisons there are.

    Args:
        pairs: for each comparison's name the values (K,) of both methods.
        pictures: (K,): the number of each value's picture; by default each has its own.
        primary: the name of the comparison that was fixed beforehand, which is not corrected.
    """
    estimates = {
        name: _estimate(_Sample.of(np.asarray(first, float) - np.asarray(second, float), pictures))
        for name, (first, second) in pairs.items()
    }
    return corrected(estimates, primary)


def corrected(estimates: Mapping[str, tuple[Estimate, float]], primary: str = "") -> tuple[Comparison, ...]:
    """Return comparisons, each an estimate of a difference and its p, corrected by Holm but for the primary one."""
    rest = [name for name in estimates if name != primary]
    adjusted = dict(zip(rest, holm([estimates[name][1] for name in rest]), strict=True))
    return tuple(
        Comparison(name, estimate, p, float(adjusted.get(name, p)), name == primary)
        for name, (estimate, p) in estimates.items()
    )


def estimate_disagreement(distances: Floats, minus: Floats | None = None) -> tuple[Estimate, float]:
    """Return the mean over pairs of different pictures, its interval by resampling pictures, and p of its being 0.

    Args:
        distances: (N, N), symmetric: a number for each pair of pictures, NaN where there is none; the diagonal is not read.
        minus: (N, N): what is taken off, pair by pair, such as the distances for a control.
    """
    values = np.array(distances if minus is None else distances - minus, dtype=float)
    np.fill_diagonal(values, np.nan)
    known, zeroed = np.isfinite(values), np.nan_to_num(values)

    def pair_means(numbers: Integers, axis: int = -1) -> Floats:  # (..., N): the pictures of each resample
        counts = np.stack([(numbers == picture).sum(axis) for picture in range(len(values))], axis=-1).astype(float)
        pairs = np.einsum("...i,ij,...j->...", counts, known.astype(float), counts)
        total: Floats = np.einsum("...i,ij,...j->...", counts, zeroed, counts)
        return total / np.where(pairs > 0, pairs, np.nan)

    pairs, missing = len(values) * (len(values) - 1) // 2, int((~known).sum() - len(values)) // 2
    mean = float(zeroed.sum() / known.sum()) if known.any() else float("nan")
    enough = len(values) >= FEWEST_IN_PAIRS and known.any()
    low, high, p = _interval(np.arange(len(values)), pair_means) if enough else NOT_KNOWN
    return Estimate(mean, low, high, len(values) if known.any() else 0, pairs, missing), p


def holm(p_values: Sequence[float]) -> Floats:
    """Return p values by Holm's (1979) step-down correction: all false claims together stay below the level.

    Args:
        p_values: one for each comparison; NaN, where nothing was compared, stays NaN and counts for nothing.
    """
    p, adjusted = np.asarray(p_values, dtype=float), np.full(len(p_values), np.nan)
    order = np.argsort(p, kind="stable")[: int(np.isfinite(p).sum())]  # NaN is sorted to the end
    if len(order):
        factors = np.arange(len(order), 0, -1)
        adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


def picture_means(values: npt.ArrayLike, pictures: npt.ArrayLike | None = None) -> Floats:
    """Return the mean of each picture's known values, by the pictures' numbers; pictures without any are left out."""
    return _Sample.of(values, pictures).means


def p_text(p: float) -> str:
    """Return p as words: "p 0.012", "p < 0.001"."""
    return f"p {p:.3f}" if p >= 0.001 else "p < 0.001"


def interval_advice() -> str:
    """Return one line on why there are no intervals where SciPy is not installed; "" where it is."""
    try:
        require("scipy.stats", needed_by="an interval", extra="studies")
    except MissingPackageError as error:
        return f"No intervals: {error}"
    return ""


NOT_KNOWN = (float("nan"),) * 3


@dataclass(frozen=True, eq=False)
class _Sample:
    """The means of pictures, and what they are of."""

    means: Floats
    values: int
    missing: int

    @classmethod
    def of(cls, values: npt.ArrayLike, pictures: npt.ArrayLike | None) -> _Sample:
        numbers = np.asarray(values, dtype=float).ravel()
        groups = np.arange(len(numbers)) if pictures is None else np.asarray(pictures).ravel()
        known = np.isfinite(numbers)
        means = np.array([numbers[known & (groups == group)].mean() for group in np.unique(groups[known])])
        return cls(means, len(numbers), int((~known).sum()))


def _estimate(sample: _Sample) -> tuple[Estimate, float]:
    """Return the mean of a sample with its interval, and p of its being 0."""
    nothing = Estimate(float("nan"), float("nan"), float("nan"), len(sample.means), sample.values, sample.missing)
    if not len(sample.means):
        return nothing, float("nan")
    low, high, p = _interval(sample.means, np.mean) if len(sample.means) >= FEWEST else NOT_KNOWN
    return replace(nothing, mean=float(sample.means.mean()), low=low, high=high), p


def _interval(sample: npt.NDArray, statistic: Callable[..., npt.ArrayLike]) -> tuple[float, float, float]:
    """Return the 95 % interval of a statistic of pictures, and p of its being 0; NaN where SciPy is not installed."""
    try:
        stats = require("scipy.stats", needed_by="an interval", extra="studies")
    except MissingPackageError:
        return NOT_KNOWN
    result = stats.bootstrap(
        (sample,), statistic, n_resamples=RESAMPLES, method="percentile", vectorized=True, rng=np.random.default_rng(0)
    )
    resampled = result.bootstrap_distribution
    beyond = min((resampled <= 0).sum(), (resampled >= 0).sum())
    p = min(1.0, 2 * (int(beyond) + 1) / (len(resampled) + 1))
    return float(result.confidence_interval.low), float(result.confidence_interval.high), p
