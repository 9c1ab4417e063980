"""What `faithful` measures, and its figure: the best and the worst units, all scores, and the ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..choices import Tone
from ..crops import cut_window, energy_boxes
from ..render import apply_tone
from ..render.palette import BLUE, GREEN, OLIVE, ORANGE, PURPLE, VERMILION, hex_text
from ..render.table import table_text
from ..results import PIXELS, Result, json_key
from ..units import Window
from .arrays import Floats, Integers, Mask, Pixels
from .figure import add_footer, new_figure, open_axes, show_pixels
from .ground_truth import PartTruth
from .statistics import Comparison, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "deconvnet": hex_text(BLUE),
    "guided": hex_text(PURPLE),
    "gradient": hex_text(GREEN),
    "centre": hex_text(VERMILION),
    "no net": hex_text(ORANGE),
    "random net": hex_text(OLIVE),
    "window": hex_text(VERMILION),
}
OUTLINE = "#ff3df2"  # on photographs and on greys: no colour of the palette stands out from both
UNITS_DRAWN = 5  # at each end


@dataclass(frozen=True, eq=False)
class Faithfulness(Result):
    """K units with a score each, the most faithful first.

    Attributes:
        units: (K,): the units.
        pictures: (K,): the name of each unit's picture.
        images: (K,): its number.
        activations: (K,): the units' activations.
        windows: (K, 4): top, left, height, width.
        methods: what chooses the region that is covered: a rule; "centre", the window's middle; or a null, "no net" or
            "random net" (`nulls.py`).
        scores: (K, methods): the drop less the mean drop by random regions; units are sorted by the first method's. NaN for a
            method whose projection is empty.
        drops: (K, methods): the share of the activation that covering the region takes away.
        random_drops: (K, methods, seeds): that by regions of the same shape, elsewhere.
        area: the share of the window that is covered.
        truth: on drawings, the part that excites each channel and the energy on it; None where a picture is no drawing.
        means: each method's mean score, over pictures.
        share_means: each method's mean share of the energy on the part that excites the channel; empty where no part is known.
        comparisons: methods in pairs, on the same units: by score and by that share. The first one was fixed beforehand, the
            others are corrected for their number.
        regions: (K, H, W): what the first method covers.
        projections: (K, C, H, W), signed: the projections by the first method.
        shown: (N, H, W, C), 0..255: what the net saw (in files: seen).
        settings: all that is needed to run the study again.
    """

    units: tuple[str, ...]
    pictures: tuple[str, ...]
    images: Integers
    activations: Floats
    windows: Integers
    methods: tuple[str, ...]
    scores: Floats
    drops: Floats
    random_drops: Floats
    area: float
    truth: PartTruth | None
    means: dict[str, Estimate]
    share_means: dict[str, Estimate]
    comparisons: tuple[Comparison, ...]
    regions: Mask = field(metadata=PIXELS)
    projections: Floats = field(metadata=PIXELS)
    shown: Pixels = field(metadata={**PIXELS, **json_key("seen")})
    settings: dict[str, Any]

    def table(self) -> str:
        """Return a row for each unit as text; on drawings with the part that excites it and the energy on it."""
        rows = [("unit", "picture", "score", *self.methods[1:], *(("part", "energy on it") if self.truth else ()))]
        for number, unit in enumerate(self.units):
            scores = ("empty" if np.isnan(score) else f"{score:+.2f}" for score in self.scores[number])
            rows.append((unit, self.pictures[number], *scores, *_truth_cells(self.truth, number)))
        return table_text(rows)

    def summary(self) -> str:
        """Return the means over pictures with their 95 % intervals, and the comparisons in pairs, as text."""
        heading = ("method", "score", *(("energy on the part",) if self.share_means else ()))
        names = list(dict.fromkeys((*self.methods, *self.share_means)))
        rows = [tuple(str(means[name]) if name in means else "" for means in self._means()) for name in names]
        pictures = len(np.unique(self.images))
        return "\n".join(
            (
                f"means over {pictures} pictures, {len(self.units)} units, with 95 % intervals",
                table_text([heading, *((name, *cells) for name, cells in zip(names, rows, strict=True))]),
                "",
                table_text([("in pairs", "difference", ""), *(comparison.cells() for comparison in self.comparisons)]),
            )
        )

    def _means(self) -> tuple[dict[str, Estimate], ...]:
        return (self.means, self.share_means) if self.share_means else (self.means,)

    def plot(self, *, tone: Tone = "soft") -> Figure:
        """Draw the most and the least faithful units with what was covered, and all scores; on drawings, the ground truth too.

        Args:
            tone: how the signed values of projections become pixels.
        """
        figure = new_figure(11.4, 6.2)
        above, below = figure.subfigures(2, 1, height_ratios=[1, 1])  # type: ignore[misc]
        _draw_units(above, self, tone)
        if self.truth:
            scores, truth = below.subplots(1, 2, width_ratios=[3, 2.3])
            _draw_truth(truth, self.truth, self.share_means)
        else:
            scores = below.subplots()
        _draw_scores(scores, self)
        units = f"{self.settings['layer']}, {len(self.units)} units"
        add_footer(figure, self.settings, units, f"covered: {self.area:.0%} of the window, in grey")
        return figure


def _truth_cells(truth: PartTruth | None, number: int) -> tuple[str, ...]:
    """Return the part that excites a unit and the energy on it, as words."""
    if truth is None:
        return ()
    return (truth.parts[number], f"{truth.shares[number, 0]:.0%}") if truth.parts[number] else ("-", "-")


def _draw_units(figure: Any, result: Faithfulness, tone: Tone) -> None:
    """Draw the units at both ends."""
    count = len(result.units)
    numbers = [*range(min(UNITS_DRAWN, count)), *range(max(UNITS_DRAWN, count - UNITS_DRAWN), count)]
    grid = figure.subplots(2, max(len(numbers), 2), squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
    boxes = _boxes(result, numbers)
    for column, number, box in zip(grid.T, numbers, boxes, strict=False):
        _draw_unit(column, result, number, box, tone)
    figure.suptitle(
        f"the {min(UNITS_DRAWN, count)} most faithful units, and the least: outlined is what is covered", fontsize=9
    )


def _boxes(result: Faithfulness, numbers: Sequence[int]) -> list[Window]:
    """Return where the projections of these units are, in boxes of one size."""
    frame = result.projections.shape[2:]
    windows = [Window(*map(int, result.windows[number])) for number in numbers]
    inside = zip(numbers, windows, strict=True)
    crops = [cut_window(result.projections[number], window.clip(*frame)) for number, window in inside]
    return energy_boxes(crops, windows, frame)


def _draw_unit(column: Sequence[Axes], result: Faithfulness, number: int, box: Window, tone: Tone) -> None:
    """Draw a unit's patch and its projection, with the region that was covered outlined."""
    pixels = np.moveaxis(result.shown[result.images[number]], -1, 0)
    show_pixels(column[0], np.moveaxis(cut_window(pixels, box), 0, -1))
    column[1].imshow(apply_tone([cut_window(result.projections[number], box)], tone)[0])
    region = cut_window(result.regions[number].astype(float), box)
    for axes in column:
        axes.contour(region, levels=[0.5], colors=[OUTLINE], linewidths=1.1)
    name = result.units[number].rpartition(":")[2]
    column[0].set_title(f"{name}\nscore {result.scores[number, 0]:+.2f}", fontsize=7)


def _draw_scores(axes: Axes, result: Faithfulness) -> None:
    """Draw a dot for each unit and method, sorted by the first method's score, with the spread of its random regions."""
    x = np.arange(len(result.units))
    spread = result.random_drops[:, 0].std(1)
    axes.bar(
        x, 2 * spread, 0.8, bottom=result.scores[:, 0] - spread, color=hex_text(BLUE, 0.85), label="spread of random regions"
    )
    for number, method in enumerate(result.methods):
        marker, size = ("o", 5.0) if number == 0 else (".", 4.0)
        label = f"{method}: {result.means[method]}"
        axes.plot(x, result.scores[:, number], marker, color=COLOURS[method], markersize=size, label=label)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set_title("score: drop by covering, less the mean drop by random regions; means with 95 % intervals", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    axes.set_xlabel("unit, the most faithful first", fontsize=7, labelpad=1)
    axes.tick_params(labelsize=7)
    axes.locator_params(axis="x", integer=True)
    open_axes(axes)


def _draw_truth(axes: Axes, truth: PartTruth, means: Mapping[str, Estimate]) -> None:
    """Draw a dot for each unit whose part is known, and the mean with its interval."""
    known = [number for number, part in enumerate(truth.parts) if part]
    jitter = np.linspace(-0.25, 0.25, max(len(known), 1))
    for number, method in enumerate(truth.methods):
        axes.plot(number + jitter, truth.shares[known, number], ".", color=COLOURS[method], markersize=3, alpha=0.6)
        estimate = means[method]
        if np.isfinite(estimate.mean):
            axes.errorbar(
                number, estimate.mean, np.reshape(estimate.bars, (2, 1)), fmt="_", color="black", markersize=16, capsize=4
            )
            axes.text(number, 1.03, f"{estimate.mean:.0%}", fontsize=7, ha="center")
    names = [{"window": "bare\nwindow"}.get(method, method.replace(" ", "\n")) for method in truth.methods]
    axes.set_xticks(range(len(names)), names, fontsize=7)
    axes.set(ylim=(0, 1.1), xlim=(-0.6, len(truth.methods) - 0.4), yticks=np.linspace(0, 1, 6))
    axes.set_title(
        f"energy on the part that excites the channel\n({len(known)} of {len(truth.parts)} units have one)", fontsize=8
    )
    axes.tick_params(labelsize=7)
    open_axes(axes)
