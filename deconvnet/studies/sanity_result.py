"""What `sanity` measures, and its figure: projections as the weights become random, and how alike they stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..choices import Tone
from ..crops import cut_window
from ..render import apply_tone
from ..render.palette import BLUE, GREEN, OLIVE, PURPLE, hex_text
from ..render.table import table_text
from ..render.text import source_title
from ..results import PIXELS, Result, json_key
from ..units import Window
from .arrays import Floats, Pixels
from .figure import add_footer, draw_tiles, joint_box, new_figure, open_axes, show_pixels
from .selectivity import Selectivity
from .similarity import mean_known
from .statistics import Comparison, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"deconvnet": hex_text(BLUE), "guided": hex_text(PURPLE), "gradient": hex_text(GREEN)}
MEASURE_NAMES = {
    "rank": "rank correlation of |x|",
    "signed rank": "rank correlation, signed",
    "ssim": "SSIM",
    "hog": "HOG",
}
CONTROL_NAMES = {
    "others": "trained: another picture",
    "noise": "trained: a random mask",
    "edges": "trained: the picture's edges",
    "edges_random": "all random: the picture's edges",
}
STEPS_DRAWN = 8  # of a cascade, the last one among them

NOTHING = "nothing left"  # on an empty projection


@dataclass(frozen=True, eq=False)
class Sanity(Result):
    """How alike the projections of N pictures stay, inside the units' windows, while weights become random in B steps.

    There are three rules R and four measures M; a picture's numbers are means over seeds, NaN with nothing to compare.

    Attributes:
        layer: the layer of the units that are followed.
        units: (N,): the unit in each picture.
        windows: (N,): the part of each unit's window inside the picture, where all is measured; it is zero outside.
        blocks: (B,): the steps, from the top down, by the lowest block of weights of each.
        depths: (B,): how many blocks of weights are random by then in the cascade.
        above: the layers above the units, which are no part of their projections.
        rules: (R,): the rules.
        orders: "cascading", from the top down, and "independent", the blocks of one step alone (in files: ways).
        measures: (M,): the measures of how alike two projections are.
        similarity: (orders, B, R, N, M): the projections of the trained net and of the random one (in files: alike). NaN for
            an order that was not asked for.
        spread: (orders, B, R, N, M): the standard deviation over seeds.
        edges: (R, N, M): the projection of the trained net and the picture's edges.
        edges_random: (R, N, M): the projection of a net all of whose weights are random, and the edges.
        noise: (R, N, M): the projection and a mask of normal numbers.
        others: (R, N, M): the projection and that of the next picture, unit upon unit; NaN where there is one picture only.
        means: by step of the cascade or control, rule and measure: the mean over pictures. Controls are "others", "noise",
            "edges" and "edges_random", as above.
        comparisons: rules in pairs, and with what two different pictures have in common, by signed rank. The first one was
            fixed beforehand, the others are corrected for their number.
        selectivity: how alike the projections of different channels at one position are.
        picture: (H, W, C), 0..255: what the net saw of the first picture.
        edge_map: (H, W): the first picture's Sobel edges.
        pixels: (R, 1 + B, C, H, W), signed: the first picture's projections, trained, then cascading.
        settings: all that is needed to run the study again.
    """

    layer: str
    units: tuple[str, ...]
    windows: tuple[Window, ...]
    blocks: tuple[str, ...]
    depths: tuple[int, ...]
    above: tuple[str, ...]
    rules: tuple[str, ...]
    orders: tuple[str, ...] = field(metadata=json_key("ways"))
    measures: tuple[str, ...]
    similarity: Floats = field(metadata=json_key("alike"))
    spread: Floats
    edges: Floats
    edges_random: Floats
    noise: Floats
    others: Floats
    means: dict[str, dict[str, dict[str, Estimate]]]
    comparisons: tuple[Comparison, ...]
    selectivity: Selectivity
    picture: Pixels = field(metadata=PIXELS)
    edge_map: Floats = field(metadata=PIXELS)
    pixels: Floats = field(metadata=PIXELS)
    settings: dict[str, Any]

    def table(self, measure: str = "signed rank") -> str:
        """Return how alike projections stay by one measure: the means over pictures with their 95 % intervals, as text.

        Args:
            measure: one of `measures`.
        """
        names = {name: f"random from {name} up" for name in self.blocks} | CONTROL_NAMES
        heading = (f"{MEASURE_NAMES[measure]}: weights", *self.rules)
        estimates = {name: [self.means[name][rule][measure] for rule in self.rules] for name in self.means}
        known = {name: row for name, row in estimates.items() if any(each.pictures for each in row)}
        return table_text([heading, *((names[name], *map(str, row)) for name, row in known.items())])

    def summary(self) -> str:
        """Return the means over pictures with their 95 % intervals, the comparisons in pairs and the selectivity, as text."""
        pictures, seeds = len(self.units), self.settings["seeds"]
        return "\n".join(
            (
                f"means over {_counted(pictures, 'picture')}, {_counted(seeds, 'draw')} of weights each, with 95 % intervals",
                f"measured inside each unit's window, {self._window_shares()} of the picture; {self._steps()}",
                self.table(),
                "",
                table_text([("in pairs", "difference", ""), *(comparison.cells() for comparison in self.comparisons)]),
                "",
                self.selectivity.table(),
            )
        )

    def _window_shares(self) -> str:
        """Return how much of the picture the windows are: "54 to 69 %"."""
        height, width = self.picture.shape[:2]
        shares = [round(100 * window.height * window.width / (height * width)) for window in self.windows]
        return f"{shares[0]} %" if len(set(shares)) == 1 else f"{min(shares)} to {max(shares)} %"

    def _steps(self) -> str:
        """Return how many steps there are, and how to have one for each block where they are fewer."""
        steps, blocks = len(self.depths), self.depths[-1]
        return f"{blocks} blocks of weights in {steps} steps" + (f" (all: --steps {blocks})" if steps < blocks else "")

    def plot(self, *, tone: Tone = "soft") -> Figure:
        """Draw the projections as the weights go, how alike they stay, and how alike those of different channels are.

        Args:
            tone: how the signed values of projections become pixels.
        """
        figure = new_figure(11.4, 9.8)
        above, middle, below = figure.subfigures(3, 1, height_ratios=[4.1, 3.1, 2.6])  # type: ignore[misc]
        _draw_cascade(above, self, tone)
        panels = middle.subplots(1, len(self.measures))
        for number, axes in enumerate(panels):
            _draw_curves(axes, self, number)
        handles, labels = panels[0].get_legend_handles_labels()
        middle.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=7, frameon=False)
        left, right = below.subplots(1, 2, width_ratios=[2.2, 3])
        _draw_channels(left, self.selectivity, tone)
        _draw_selectivity(right, self.selectivity)
        add_footer(figure, self.settings, *_notes(self.units, self.settings["pictures"]))
        return figure


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _notes(units: Sequence[str], sources: Sequence[str]) -> tuple[str, str]:
    """Return which units of which pictures were followed."""
    if len(units) > 1:
        return f"followed: {units[0]}, and the like", f"{len(sources)} pictures"
    return f"followed: {units[0]}", source_title(sources[0])


def _draw_cascade(figure: Any, result: Sanity, tone: Tone) -> None:
    """Draw the picture, its edges, and a row of projections for each rule."""
    steps = np.unique(np.linspace(0, len(result.blocks), min(STEPS_DRAWN, 1 + len(result.blocks))).round().astype(int))
    grid = figure.subplots(len(result.rules), 1 + len(steps))
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    show_pixels(grid[0, 0], result.picture)
    grid[0, 0].set_title("picture", fontsize=8)
    grid[1, 0].imshow(result.edge_map, cmap="Greys_r")
    grid[1, 0].set_title("its edges (Sobel)", fontsize=8)
    grid[2, 0].set_visible(False)
    for column, step in zip(grid.T[1:], steps, strict=True):
        column[0].set_title("trained" if step == 0 else f"random from\n{result.blocks[step - 1]} up", fontsize=8)
        for axes, projection in zip(column, result.pixels[:, step], strict=True):
            axes.imshow(apply_tone([projection], tone)[0])
            if not projection.any():
                axes.text(0.5, 0.5, NOTHING, transform=axes.transAxes, ha="center", va="center", fontsize=7)
    for axes, rule in zip(grid[:, 1], result.rules, strict=True):
        axes.set_ylabel(rule, fontsize=8)


def _draw_curves(axes: Axes, result: Sanity, number: int) -> None:
    """Draw the mean over pictures at each step, with its interval; a cascade begins at 1, the trained net against itself."""
    steps, measure = range(len(result.blocks) + 1), result.measures[number]
    for rule, name in enumerate(result.rules):
        estimates = [result.means[block][name][measure] for block in result.blocks]
        single = mean_known(result.similarity[1, :, rule, :, number], 1)
        means, bars = [each.mean for each in estimates], np.array([each.bars for each in estimates])
        axes.plot(steps, [1.0, *means], "o-", markersize=3, color=COLOURS[name], label=f"{name}, cascading")
        axes.fill_between(steps[1:], means - bars[:, 0], means + bars[:, 1], color=COLOURS[name], alpha=0.2, linewidth=0)
        if np.isfinite(single).any():
            label = "one block alone" if rule == 0 else None
            axes.plot(steps[1:], single, ".:", markersize=4, color=COLOURS[name], label=label)
        noise = result.means["noise"][name][measure].mean
        axes.axhline(noise, color="0.6", linewidth=0.8, linestyle="--", label="random mask" if rule == 0 else None)
        if name == "deconvnet":
            _draw_level(axes, result, "edges_random", number, "edges, to deconvnet of a random net", color=hex_text(OLIVE))
            _draw_level(axes, result, "others", number, "deconvnet of another picture", color="0.3", linestyle="-.")
    axes.axhline(0, color="0.85", linewidth=0.6, zorder=0)
    axes.set_xticks(steps, ["trained", *result.blocks], fontsize=6, rotation=90)
    axes.set_ylim(min(-0.1, float(np.nanmin(result.similarity[..., number])) - 0.05), 1.03)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title(MEASURE_NAMES[measure], fontsize=8)
    open_axes(axes)


def _draw_level(axes: Axes, result: Sanity, control: str, number: int, label: str, **style: Any) -> None:
    """Draw a control of the deconvnet as a level line, where there is one."""
    mean = result.means[control]["deconvnet"][result.measures[number]].mean
    if np.isfinite(mean):
        axes.axhline(mean, linewidth=0.8, label=label, **style)


def _draw_channels(axes: Axes, selectivity: Selectivity, tone: Tone) -> None:
    """Draw the projections of different channels at one position."""
    box = joint_box(selectivity.pixels)
    tiles = apply_tone([cut_window(pixels, box) for pixels in selectivity.pixels], tone)
    draw_tiles(axes, tiles, ["white"] * len(tiles), linewidth=0.5)
    row, col = selectivity.positions[0]
    axes.set_title(f"{len(tiles)} channels of {selectivity.layer} at {row},{col}", fontsize=8)


def _draw_selectivity(axes: Axes, selectivity: Selectivity) -> None:
    """Draw how alike they are, by each rule, with the intervals of the means over pictures."""
    x = np.arange(len(selectivity.rules))
    bars = (
        ("correlation", "correlation of |x|", hex_text(BLUE)),
        ("cosine", "cosine of signed values", hex_text(BLUE, 0.65)),
    )
    for number, (measure, name, colour) in enumerate(bars):
        estimates = [selectivity.means[measure][rule] for rule in selectivity.rules]
        means, centres = np.array([each.mean for each in estimates]), x + 0.38 * number - 0.19
        reach = np.array([each.bars for each in estimates]).T
        axes.bar(centres, means, 0.36, yerr=reach, capsize=3, error_kw={"linewidth": 0.9}, color=colour, label=name)
        for centre, mean, above in zip(centres, means, reach[1], strict=True):
            axes.text(centre, max(mean, 0) + above + 0.02, f"{mean:.2f}", ha="center", fontsize=7)
    axes.axhline(0, color="0.6", linewidth=0.6)
    axes.set_xticks(x, ["filters alone" if rule == "FFF" else rule for rule in selectivity.rules], fontsize=8)
    axes.set_ylim(min(0.0, float(np.nanmin(mean_known(selectivity.cosine, 0))) - 0.05), 1.15)
    axes.tick_params(axis="y", labelsize=7)
    axes.legend(fontsize=7, frameon=False, ncols=2, loc="upper right")
    axes.set_title("how alike the projections of two channels at one place are (mean over pairs)", fontsize=8)
    open_axes(axes)
