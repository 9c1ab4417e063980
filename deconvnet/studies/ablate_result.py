"""What `ablate` measures, and its figure: a unit and a random signal by eight rules, and how alike they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..choices import Tone
from ..crops import cut_window
from ..render import apply_tone
from ..render.palette import BLUE, hex_text
from ..render.text import source_title
from ..results import PIXELS, Result, json_key
from .arrays import Floats, Integers, Pixels
from .figure import add_footer, joint_box, new_figure, open_axes, show_pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RULE_NAMES = {"FTT": "deconvnet", "TTT": "guided", "TTF": "gradient", "FFT": "no switches", "FFF": "filters alone"}


@dataclass(frozen=True, eq=False)
class Ablation(Result):
    """A unit's projection by R rules, and those of S random signals at its position; and by C other choices.

    Attributes:
        rules: (R,): the bits mask, switches, rectify.
        unit: the unit.
        activation: its activation.
        window: top, left, height, width of what is drawn.
        cosine: (R, R): the cosine of the unit's projections by two rules.
        correlation: (R, R): the correlation of their magnitudes.
        random_cosine: (R, S): the cosine of the unit's projection and each random signal's, by one rule.
        random_correlation: (R, S): the correlation of their magnitudes.
        pair_correlation: (R,): the mean correlation of the magnitudes of two random signals' projections (in files:
            randoms_alike).
        choices: (C,): options of the net that the paper leaves open, each set to its other value: "silent=first".
        choice_cosine: (C,): the cosine of the unit's projections by the deconvnet rule with and without that.
        choice_correlation: (C,): the correlation of their magnitudes.
        picture: (h, w, C), 0..255: what the net saw in the window.
        pixels: (R, 2, C, h, w), signed: the projections of the unit and of the first random signal.
        choice_pixels: (C, 2, C, h, w), signed: the same by the deconvnet rule with each other choice.
        settings: all that is needed to run the study again.
    """

    rules: tuple[str, ...]
    unit: str
    activation: float
    window: Integers
    cosine: Floats
    correlation: Floats
    random_cosine: Floats
    random_correlation: Floats
    pair_correlation: Floats = field(metadata=json_key("randoms_alike"))
    choices: tuple[str, ...]
    choice_cosine: Floats
    choice_correlation: Floats
    picture: Pixels = field(metadata=PIXELS)
    pixels: Floats = field(metadata=PIXELS)
    choice_pixels: Floats = field(metadata=PIXELS)
    settings: dict[str, Any]

    def plot(self, *, tone: Tone = "soft") -> Figure:
        """Draw the projections of the unit above those of a random signal, and below how alike they are.

        Args:
            tone: how the signed values of projections become pixels.
        """
        figure = new_figure(13.6, 6.6)
        above, below = figure.subfigures(2, 1, height_ratios=[3.1, 3.5])  # type: ignore[misc]
        _draw_projections(above, self, tone)
        matrices, bars = below.subfigures(1, 2, width_ratios=[7, 4])
        left, right = matrices.subplots(1, 2)
        _draw_matrix(left, self.cosine, self.rules, "unit: cosine of signed values")
        _draw_matrix(right, self.correlation, self.rules, "unit: correlation of |x|")
        _draw_bars(bars.subplots(), self)
        source = source_title(self.settings["picture"])
        signals = f"means of {self.random_correlation.shape[1]} signals in one picture, which say nothing of others"
        add_footer(figure, self.settings, f"{self.unit} of {source}", "bits: mask, switches, rectify", signals)
        return figure


def _draw_projections(figure: Any, result: Ablation, tone: Tone) -> None:
    """Draw the picture, and a column for each rule and each other choice: the unit above, a random signal below."""
    columns = [*result.rules, *result.choices]
    grid = figure.subplots(2, 1 + len(columns))
    pixels = np.concatenate([result.pixels, result.choice_pixels])
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    box = joint_box(result.pixels[:, 0])
    show_pixels(grid[0, 0], np.moveaxis(cut_window(np.moveaxis(result.picture, -1, 0), box), 0, -1))
    grid[0, 0].set_title("what the net saw\nthere", fontsize=7)
    grid[1, 0].set_visible(False)
    for col, name in enumerate(columns, 1):
        for row in (0, 1):
            grid[row, col].imshow(apply_tone([cut_window(pixels[col - 1, row], box)], tone)[0], interpolation="nearest")
        heading = "FTT but\n" + name if name in result.choices else f"{name}\n{RULE_NAMES.get(name, '')}"
        grid[0, col].set_title(heading, fontsize=8)
    for col, correlations in enumerate(result.random_correlation, 1):
        grid[1, col].set_xlabel(f"|x| alike {correlations.mean():.2f}", fontsize=7)
    for col, cosine in enumerate(result.choice_cosine, 1 + len(result.rules)):
        grid[0, col].set_xlabel(f"to FTT {cosine:.2f}", fontsize=7)
    grid[0, 1].set_ylabel("the unit", fontsize=8)
    grid[1, 1].set_ylabel("random signal", fontsize=8)


def _draw_matrix(axes: Axes, values: Floats, rules: tuple[str, ...], title: str) -> None:
    """Draw how alike the projections by two rules are, (R, R), with the numbers."""
    axes.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set_xticks(range(len(rules)), rules, fontsize=7, rotation=90)
    axes.set_yticks(range(len(rules)), rules, fontsize=7)
    for (row, col), number in np.ndenumerate(values):
        ink = "white" if abs(number) > 0.7 else "black"
        axes.text(col, row, f"{number:.2f}".replace("0.", "."), ha="center", va="center", fontsize=6, color=ink)
    axes.set_title(title, fontsize=8)


def _draw_bars(axes: Axes, result: Ablation) -> None:
    """Draw how alike the projections of the unit and of random signals are, by each rule."""
    x = np.arange(len(result.rules))
    axes.bar(x - 0.2, result.random_correlation.mean(1), 0.4, color=hex_text(BLUE), label="unit and random signal")
    axes.bar(x + 0.2, result.pair_correlation, 0.4, color=hex_text(BLUE, 0.65), label="two random signals")
    for number, correlations in zip(x, result.random_correlation, strict=True):
        axes.plot([number - 0.2] * len(correlations), correlations, ".", color="black", markersize=3)
    axes.axhline(0, color="0.6", linewidth=0.6)
    axes.set_xticks(x, result.rules, fontsize=7, rotation=90)
    axes.set_ylim(min(0.0, float(np.nanmin(result.random_correlation)) - 0.05), 1.2)
    axes.set_yticks(np.linspace(0, 1, 6))  # the legend stands above what a correlation can be
    axes.spines["left"].set_bounds(axes.get_ylim()[0], 1)
    axes.tick_params(axis="y", labelsize=7)
    axes.legend(fontsize=7, frameon=False, loc="upper right", ncols=2)
    axes.set_title("correlation of |x| (a dot for each signal)", fontsize=8)
    open_axes(axes)
