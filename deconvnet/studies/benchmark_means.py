"""What `benchmark` makes of its values: means over pictures, what differs from the deconvnet, and trainings taken together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from ..errors import OptionError
from .arrays import Floats, Integers
from .benchmark_result import HEADINGS, Benchmark, Planted
from .contenders import DEFAULT
from .statistics import Comparison, Estimate, compare, corrected, estimate_mean

Values: TypeAlias = "dict[str, dict[str, Floats]]"  # contender -> measure -> (K,)

PRIMARY = f"occlusion: no net - {DEFAULT}"
MEASURES = HEADINGS[:-1]  # of the net itself


def mean_table(values: Values, images: Integers, cause: Planted | None) -> dict[str, dict[str, Estimate]]:
    """Return each measure's mean over pictures by each contender; measures of which nothing is known are left out."""
    means = {
        measure: {name: estimate_mean(row[measure], images) for name, row in values.items() if np.isfinite(row[measure]).any()}
        for measure in MEASURES
    }
    if cause is not None:
        means["planted"] = {name: estimate_mean(cause.shares[:, at]) for at, name in enumerate(cause.methods)}
    return {measure: row for measure, row in means.items() if row}


def compare_contenders(values: Values, images: Integers, cause: Planted | None) -> tuple[Comparison, ...]:
    """Compare every contender with the deconvnet by every measure, and correct all together."""
    pairs = {
        f"{measure}: {name} - {DEFAULT}": (row[measure], values[DEFAULT][measure])
        for measure in MEASURES
        for name, row in values.items()
        if name != DEFAULT and np.isfinite(row[measure]).any()
    }
    comparisons = [*compare(pairs, images, primary=PRIMARY)]
    if cause is not None:
        by_method = dict(zip(cause.methods, cause.shares.T, strict=True))
        comparisons += compare(
            {f"planted: {name} - {DEFAULT}": (row, by_method[DEFAULT]) for name, row in by_method.items() if name != DEFAULT}
        )
    return corrected({each.name: (each.difference, each.p) for each in comparisons}, PRIMARY)


def merge(results: Sequence[Benchmark]) -> Benchmark:
    """Take several trainings of one architecture together, measured on the same pictures.

    The picture stays the unit of analysis: its values by all trainings are averaged first, so that intervals are over pictures,
    of these trainings, and say nothing of others. A contender that makes another's pictures in some of the nets only has that
    one's values there. What is drawn, and a planted cause, are the first's.

    Args:
        results: one for each training.

    Returns:
        A result with the units of all.

    Raises:
        OptionError: there is no result, or they are not of the same pictures.

        >>> from deconvnet.studies import benchmark
        >>> once = benchmark.run(net, "cat.jpg", planted=False)
        >>> len(benchmark.merge([once, once]).units)
        2
    """
    if len({tuple(result.settings["picture_digests"]) for result in results}) != 1:
        raise OptionError(f"{len(results)} results to be taken together are not of the same pictures. Measure all on the same.")
    first = results[0]
    same = {name: twin for name, twin in first.same.items() if all(result.same.get(name) == twin for result in results)}
    names = [name for name in dict.fromkeys(name for result in results for name in result.rows()) if name not in same]
    parts = [_values_by(result, names) for result in results]
    images, joined = np.concatenate([result.images for result in results]), np.concatenate(parts)
    values: Values = {name: dict(zip(first.measures, joined[:, at].T, strict=True)) for at, name in enumerate(names)}
    return replace(
        first,
        units=tuple(unit for result in results for unit in result.units),
        pictures=tuple(picture for result in results for picture in result.pictures),
        images=images,
        activations=np.concatenate([result.activations for result in results]),
        contenders=tuple(names),
        values=joined,
        same=same,
        means=mean_table(values, images, first.planted),
        comparisons=compare_contenders(values, images, first.planted),
        settings={**first.settings, "trainings": [result.settings["weights"] for result in results]},
    )


def _values_by(result: Benchmark, names: Sequence[str]) -> Floats:
    """Return the values (K, names, measures) of contenders; NaN of those that a result lacks."""
    at = {name: number for number, name in enumerate(result.contenders)}
    twins = [result.same.get(name, name) for name in names]
    nothing = np.full((len(result.units), len(result.measures)), np.nan)
    return np.stack([result.values[:, at[twin]] if twin in at else nothing for twin in twins], axis=1)
