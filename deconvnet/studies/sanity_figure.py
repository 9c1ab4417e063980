"""The figure of `sanity`: a picture's projections as the weights go, the curves, and the projections of different channels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..choices import Tone
from ..render import apply_tone
from .result import add_footer, draw_tiles, new_figure
from .sanity import Sanity
from .similarity import mean_known

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"deconvnet": "#1f4e79", "guided": "#7b4fa3", "gradient": "#e8743b"}
STEPS = 8  # of a cascade that are drawn, the last among them


def draw_sanity(result: Sanity, tone: Tone) -> Figure:
    """Draw three rows of projections, four panels of curves, and the selectivity."""
    figure = new_figure(11.4, 9.8)
    above, middle, below = figure.subfigures(3, 1, height_ratios=[4.1, 3.1, 2.6])  # type: ignore[misc]
    _draw_cascade(above, result, tone)
    panels = middle.subplots(1, len(result.measures))
    for number, axes in enumerate(panels):
        _draw_curves(axes, result, number)
    handles, labels = panels[0].get_legend_handles_labels()
    middle.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=7, frameon=False)
    left, right = below.subplots(1, 2, width_ratios=[2.2, 3])
    _draw_selectivity(left, right, result, tone)
    pictures = (
        f"{len(result.settings['pictures'])} pictures"
        if len(result.units) > 1
        else os.path.basename(result.settings["pictures"][0])
    )
    note = f"followed: {result.units[0]}, and the like" if len(result.units) > 1 else f"followed: {result.units[0]}"
    add_footer(figure, result.settings, note, str(pictures))
    return figure


def _draw_cascade(figure: Any, result: Sanity, tone: Tone) -> None:
    steps = np.unique(np.linspace(0, len(result.blocks), min(STEPS, 1 + len(result.blocks))).round().astype(int))
    grid = figure.subplots(len(result.rules), 1 + len(steps))
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    picture = np.repeat(result.picture, 3, axis=2) if result.picture.shape[2] == 1 else result.picture
    grid[0, 0].imshow(picture)
    grid[0, 0].set_title("picture", fontsize=8)
    grid[1, 0].imshow(result.edge_map, cmap="Greys_r")
    grid[1, 0].set_title("its edges (Sobel)", fontsize=8)
    grid[2, 0].set_visible(False)
    for column, step in zip(grid.T[1:], steps, strict=True):
        column[0].set_title("trained" if step == 0 else f"random from\n{result.blocks[step - 1]} up", fontsize=8)
        for axes, made in zip(column, result.pixels[:, step], strict=True):
            axes.imshow(apply_tone([made], tone)[0])
    for axes, rule in zip(grid[:, 1], result.rules, strict=True):
        axes.set_ylabel(rule, fontsize=8)


def _draw_curves(axes: Any, result: Sanity, number: int) -> None:
    """Draw the mean over pictures at each step; a cascade begins at 1, the trained net against itself."""
    steps = range(len(result.blocks) + 1)
    for rule, name in enumerate(result.rules):
        cascade, single = mean_known(result.alike[:, :, rule, :, number], 2)
        axes.plot(steps, [1.0, *cascade], "o-", markersize=3, color=COLOURS[name], label=f"{name}, cascading")
        axes.plot(steps[1:], single, ".:", markersize=4, color=COLOURS[name], label="one block alone" if rule == 0 else None)
        noise = result.noise[rule, :, number].mean()
        axes.axhline(noise, color="0.6", linewidth=0.8, linestyle="--", label="random mask" if rule == 0 else None)
        edges = result.edges_random[rule, :, number].mean()
        if name == "deconvnet" and np.isfinite(edges):
            axes.axhline(edges, color="#2f8f5b", linewidth=0.8, label="edges, to deconvnet of a random net")
    axes.axhline(0, color="0.85", linewidth=0.6, zorder=0)
    axes.set_xticks(steps, ["trained", *result.blocks], fontsize=6, rotation=90)
    axes.set_ylim(min(-0.1, float(np.nanmin(result.alike[..., number])) - 0.05), 1.03)
    axes.tick_params(axis="y", labelsize=7)
    names = {"rank": "rank correlation of |x|", "signed rank": "rank correlation, signed", "ssim": "SSIM", "hog": "HOG"}
    axes.set_title(names[result.measures[number]], fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_selectivity(left: Any, right: Any, result: Sanity, tone: Tone) -> None:
    one = result.selectivity
    tiles = apply_tone(list(one.pixels), tone)
    draw_tiles(left, tiles, ["white"] * len(tiles), width=0.5)
    row, col = one.places[0]
    left.set_title(f"{len(tiles)} channels of {one.layer} at {row},{col}", fontsize=8)
    places = np.arange(len(one.rules))
    for shift, (values, name, colour) in enumerate(
        ((one.correlation, "correlation of |x|", "#3b6ea5"), (one.cosine, "cosine of signed values", "#b9c9da"))
    ):
        means = values.mean(0)
        right.bar(places + 0.38 * shift - 0.19, means, 0.36, color=colour, label=name)
        for place, mean in zip(places, means, strict=True):
            right.text(place + 0.38 * shift - 0.19, max(mean, 0) + 0.02, f"{mean:.2f}", ha="center", fontsize=7)
    right.axhline(0, color="0.6", linewidth=0.6)
    right.set_xticks(places, ["filters alone" if rule == "FFF" else rule for rule in one.rules], fontsize=8)
    right.set_ylim(min(0.0, float(one.cosine.mean(0).min()) - 0.05), 1.1)
    right.tick_params(axis="y", labelsize=7)
    right.legend(fontsize=7, frameon=False, ncols=2, loc="upper right")
    right.set_title("how alike the projections of two channels at one place are (mean over pairs)", fontsize=8)
    right.spines[["top", "right"]].set_visible(False)
