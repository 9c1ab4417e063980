"""The figure of `faithful`: the best and the worst units with what was covered, all scores, and the ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..choices import Tone
from ..render import apply_tone
from ..units import Window
from .faithful import Faithful
from .ground_truth import PartTruth
from .result import add_footer, cut_window, new_figure, shown_window

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"deconvnet": "#1f4e79", "guided": "#6f9bc4", "gradient": "#b9c9da", "centre": "#e8743b", "window": "#e8743b"}
SHOWN = 5  # units at each end


def draw_faithful(result: Faithful, tone: Tone) -> Figure:
    """Draw patches with the covered region outlined, the projections below, then scores and ground truth."""
    figure = new_figure(11.4, 5.9)
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1])  # type: ignore[misc]
    count = len(result.units)
    numbers = list(range(min(SHOWN, count))) + list(range(max(SHOWN, count - SHOWN), count))
    grid = above.subplots(2, max(len(numbers), 2), squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
    for column, number in zip(grid.T, numbers, strict=False):
        _draw_unit(column, result, number, tone)
    above.suptitle(f"the {min(SHOWN, count)} most faithful units, and the least: outlined is what is covered", fontsize=9)
    axes = below.subplots(1, 2, squeeze=False, width_ratios=[3, 2])[0] if result.truth else [below.subplots()]
    _draw_scores(axes[0], result)
    if result.truth:
        _draw_truth(axes[1], result.truth)
    text = f"covered: {result.area:.0%} of the window, in grey"
    add_footer(figure, result.settings, f"{result.settings['layer']}, {count} units", text)
    return figure


def _draw_unit(column: Any, result: Faithful, number: int, tone: Tone) -> None:
    window = shown_window(Window(*map(int, result.windows[number])), result.projections.shape[1:])
    seen = np.moveaxis(result.seen[result.images[number]], -1, 0)
    patch = cut_window(seen, window, 127).transpose(1, 2, 0)
    region = cut_window(result.regions[number][None].astype(float), window)[0]
    column[0].imshow(np.repeat(patch, 3, axis=2) if patch.shape[2] == 1 else patch)
    column[1].imshow(apply_tone([cut_window(result.projections[number], window)], tone)[0])
    for axes, colour in ((column[0], "#ff3df2"), (column[1], "#ff3df2")):
        axes.contour(region, levels=[0.5], colors=[colour], linewidths=1.1)
    name = result.units[number].rpartition(":")[2]
    column[0].set_title(f"{name}\nscore {result.scores[number, 0]:+.2f}", fontsize=7)


def _draw_scores(axes: Any, result: Faithful) -> None:
    """A dot for each unit and method, sorted by the first method's score, with the spread of its random regions."""
    places = np.arange(len(result.units))
    spread = result.random_drops[:, 0].std(1)
    axes.bar(places, 2 * spread, 0.8, bottom=result.scores[:, 0] - spread, color="#dde6ee", label="spread of random regions")
    for number, method in enumerate(result.methods):
        label = f"{method}: mean {result.scores[:, number].mean():+.2f}"
        axes.plot(
            places, result.scores[:, number], "o" if number == 0 else ".", color=COLOURS[method], markersize=5, label=label
        )
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set_title("score: drop by covering, less the mean drop by random regions", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    axes.set_xlabel("unit, the most faithful first", fontsize=7, labelpad=1)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_truth(axes: Any, truth: PartTruth) -> None:
    """A dot for each unit whose part is known, and the mean."""
    known = [number for number, part in enumerate(truth.parts) if part]
    jitter = np.linspace(-0.25, 0.25, max(len(known), 1))
    for number, method in enumerate(truth.methods):
        shares = truth.shares[known, number]
        axes.plot(number + jitter, shares, ".", color=COLOURS[method], markersize=4)
        if known:
            axes.plot([number - 0.35, number + 0.35], [shares.mean()] * 2, color="black", linewidth=1.2)
            axes.text(number + 0.38, shares.mean(), f"{shares.mean():.0%}", fontsize=7, va="center")
    axes.set_xticks(range(len(truth.methods)), ["bare window" if one == "window" else one for one in truth.methods], fontsize=7)
    axes.set(ylim=(0, 1.02), xlim=(-0.6, len(truth.methods) - 0.2))
    axes.set_title(f"energy on the part that excites the channel ({len(known)} of {len(truth.parts)} units)", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
