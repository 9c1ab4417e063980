"""What `benchmark` measures, and its figure: a row for each contender, a column for each measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..choices import Tone
from ..render import apply_tone
from ..render.palette import BLUE, FAINT, PALE, VERMILION, hex_text
from ..render.table import table_text
from ..render.text import source_title
from ..results import PIXELS, Result
from .arrays import Floats, Integers, Pixels
from .contenders import DEFAULT
from .figure import add_footer, new_figure, open_axes, show_pixels
from .nulls import NULLS
from .peers import TOOLS
from .statistics import Comparison, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The measures, in the order of tables and figures, those of covering pixels first and that of the small net last.
HEADINGS = ("occlusion", "insertion", "deletion", "on the part", "own", "selectivity", "learned", "planted")
LESS_IS_BETTER = ("deletion",)
COLUMNS = 4  # of measures in a printed table
SHORT = "as "  # begins a cell of a contender that makes another one's pictures
FEWEST_STARRED = 20  # pictures: of fewer, differences of one sign are called significant too soon


@dataclass(frozen=True, eq=False)
class Planted:
    """How much of each contender's energy lies on the part that decides the class, in a small net trained for this.

    Attributes:
        units: (K,): the score of the class of each drawing that the net classifies right.
        accuracy: the share of fresh drawings, 0..1, of which the net is right.
        methods: the contenders, the nulls, and "window": the part's share of the bare window's pixels.
        shares: (K, methods): the share of the energy in the window on the part; NaN where losing it costs the unit less than a
            tenth of its activation.
        same: contenders that make the same pictures in this net as another, but for rounding, and that one.
    """

    units: tuple[str, ...]
    accuracy: float
    methods: tuple[str, ...]
    shares: Floats
    same: dict[str, str]


@dataclass(frozen=True, eq=False)
class Benchmark(Result):
    """K units, each measured by every contender.

    Attributes:
        units: (K,): the units.
        pictures: (K,): the name of each unit's picture.
        images: (K,): its number.
        activations: (K,): the units' activations.
        contenders: the ways down, the nulls, other tools where they were asked for, and "window": the bare window's pixels.
        measures: the measures of this net; see `deconvnet.studies.benchmark`.
        values: (K, contenders, measures); NaN where a projection is empty, or nothing is measured.
        same: contenders that make the same pictures as another, but for rounding, and that one.
        planted: what was measured in the small net; None where that was left out.
        means: each measure's mean over pictures by each contender, "planted" among them.
        comparisons: each contender less the deconvnet, by each measure. One was fixed beforehand, by `occlusion`; the others
            are corrected for their number.
        patch: (h, w, 3), 0..255: what the net saw in the first unit's window.
        crops: (C, h, w), signed: the first unit's projection by each contender; of nulls and other tools the root of the
            energy.
        settings: all that is needed to run the study again.
    """

    units: tuple[str, ...]
    pictures: tuple[str, ...]
    images: Integers
    activations: Floats
    contenders: tuple[str, ...]
    measures: tuple[str, ...]
    values: Floats
    same: dict[str, str]
    planted: Planted | None
    means: dict[str, dict[str, Estimate]]
    comparisons: tuple[Comparison, ...]
    patch: Pixels = field(metadata=PIXELS)
    crops: dict[str, Floats] = field(metadata=PIXELS)
    settings: dict[str, Any]

    def rows(self) -> list[str]:
        """Return the contenders' names in the order of tables: the deconvnet, what is close to it, the nulls, other tools."""
        means = [name for measure in self.means.values() for name in measure]
        names = [name for name in dict.fromkeys([*self.contenders, *self.same, *means]) if name in means or name in self.same]
        last = [name for name in names if name in NULLS or name.startswith(TOOLS) or name == "window"]
        return [*(name for name in names if name not in last), *last]

    def compared(self, measure: str, name: str) -> Comparison | None:
        """Return the comparison of a contender with the deconvnet by a measure; None where there is none."""
        asked = f"{measure}: {name} - {DEFAULT}"
        return next((comparison for comparison in self.comparisons if comparison.name == asked), None)

    def differs(self, measure: str, name: str) -> bool:
        """Tell whether a contender differs from the deconvnet after the correction, for which there must be 20 pictures.

        A bootstrap of few pictures whose differences have one sign calls even tiny ones significant.
        """
        comparison = self.compared(measure, name)
        return bool(comparison and comparison.is_significant and comparison.difference.pictures >= FEWEST_STARRED)

    def cell(self, measure: str, name: str) -> str:
        """Return a mean with its interval as words, and a star where it differs from the deconvnet's after the correction."""
        estimate = self.means[measure].get(name)
        same = self.planted.same if measure == "planted" and self.planted else self.same
        if estimate is None:
            return f"{SHORT}{same[name]}" if name in same else "-"
        return f"{estimate}{'*' if self.differs(measure, name) else ''}"

    def table(self) -> str:
        """Return the means over pictures with their 95 % intervals as text, four measures at a time."""
        shown, names = list(self.means), self.rows()
        parts = []
        for first in range(0, len(shown), COLUMNS):
            measures = shown[first : first + COLUMNS]
            heading = ("", *(f"{name} (less is better)" if name in LESS_IS_BETTER else name for name in measures))
            parts.append(
                table_text([heading, *((name, *(self.cell(measure, name) for measure in measures)) for name in names)])
            )
        return "\n\n".join(parts)

    def summary(self) -> str:
        """Return what was fixed beforehand and what the stars mean, as text."""
        pictures = len(np.unique(self.images))
        lines = [
            f"means over {pictures} pictures, {len(self.units)} units of {self.settings['layer']}, with 95 % intervals",
            f"* differs from {DEFAULT}: p below 0.05, corrected by Holm for {len(self.comparisons) - 1} comparisons"
            f"; only where there are {FEWEST_STARRED} pictures",
            *("   ".join(comparison.cells()) for comparison in self.comparisons if comparison.primary),
        ]
        if self.planted:
            known, right = int(np.isfinite(self.planted.shares[:, 0]).sum()), len(self.planted.units)
            accuracy = f"{self.planted.accuracy:.0%} of fresh drawings"
            lines.append(f"planted: a small net, right on {accuracy}; {known} of {right} scores need the part")
        return "\n".join(lines)

    def plot(self, *, tone: Tone = "soft") -> Figure:
        """Draw a row for each contender: the first unit's projection, and a dot with its interval for each measure.

        Args:
            tone: how the signed values of projections become pixels.
        """
        names, shown = self.rows(), list(self.means)
        figure = new_figure(2.6 + 1.25 * len(shown), 1.2 + 0.42 * len(names))
        grid = figure.add_gridspec(len(names), 1 + len(shown), width_ratios=[0.9, *[1.6] * len(shown)], wspace=0.02, hspace=0.0)
        for number, name in enumerate(names):
            _draw_crop(figure.add_subplot(grid[number, 0]), self, name, tone)
        for column, measure in enumerate(shown):
            _draw_measure(figure.add_subplot(grid[:, 1 + column]), self, measure, names)
        pictures = len(np.unique(self.images))
        figure.suptitle(
            f"layer {self.settings['layer']}, {len(self.units)} units of {pictures} pictures: means and 95 % intervals;"
            f" filled: differs from {DEFAULT} after Holm's correction",
            fontsize=8,
        )
        add_footer(figure, self.settings, f"left: {self.units[0]} of {source_title(self.pictures[0])}")
        return figure


def _draw_crop(axes: Axes, result: Benchmark, name: str, tone: Tone) -> None:
    """Draw the first unit's projection with its contender's name beside it."""
    axes.set(xticks=[], yticks=[], frame_on=False)
    twin = f"\n({SHORT}{result.same[name]})" if name in result.same else ""
    axes.set_ylabel(name + twin, rotation=0, ha="right", va="center", fontsize=7)
    crop = result.crops.get(name, result.crops.get(result.same.get(name, "")))
    if name == "window":
        show_pixels(axes, result.patch)
    elif crop is not None:
        axes.imshow(apply_tone([crop], tone)[0])


def _draw_measure(axes: Axes, result: Benchmark, measure: str, names: Sequence[str]) -> None:
    """Draw a dot for each contender's mean, with its interval; a line marks the deconvnet's."""
    means = result.means[measure]
    axes.axvline(means[DEFAULT].mean, color=hex_text(BLUE), linewidth=0.8)
    for number, name in enumerate(names):
        if name in means and np.isfinite(means[name].mean):
            filled = name == DEFAULT or result.differs(measure, name)
            colour = hex_text(BLUE if name == DEFAULT else VERMILION if name in NULLS else FAINT)
            bars = np.reshape(means[name].bars, (2, 1))
            face = colour if filled else "white"
            axes.errorbar(
                means[name].mean, number, xerr=bars, fmt="o", color=colour, markerfacecolor=face, markersize=4, linewidth=1
            )
    axes.set(ylim=(len(names) - 0.5, -0.5), yticks=[])
    for number in range(len(names) - 1):
        axes.axhline(number + 0.5, color=hex_text(PALE), linewidth=0.4)
    axes.margins(x=0.08)
    axes.set_title(f"{measure}\n(less is better)" if measure in LESS_IS_BETTER else measure, fontsize=8)
    axes.tick_params(labelsize=6)
    axes.locator_params(axis="x", nbins=4)
    open_axes(axes)
    axes.spines["left"].set_visible(False)
