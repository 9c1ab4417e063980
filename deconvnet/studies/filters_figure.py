"""The figure of `filters`: filters, their RMS and frequencies, second-layer projections beside patches, and their spectrum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..choices import Tone
from ..render import apply_tone
from .filters import CAP, Filters
from .result import add_footer, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BANDS = ("#c9d8e6", "#6f9bc4", "#1f4e79")


def draw_filters(result: Filters, tone: Tone) -> Figure:
    """Draw the filters as the paper's Figure 6 does, with what is measured of them beside."""
    figure = new_figure(11.4, 7.2)
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1])  # type: ignore[misc]
    left, middle, right = above.subplots(1, 3, width_ratios=[3, 3.4, 3.4])
    _mosaic(left, apply_tone(list(result.filters), tone))
    left.set_title(f"{len(result.filters)} filters of {result.layer}, each on its own scale", fontsize=8)
    _draw_rms(middle, result)
    _draw_bands(right, result)
    one, two, three = below.subplots(1, 3, width_ratios=[3.2, 3.2, 3.4])
    _mosaic(one, apply_tone(list(result.projections), tone))
    one.set_title(f"projections of {len(result.units)} units of {result.second}", fontsize=8)
    _mosaic(two, [np.repeat(patch, 3, axis=2) if patch.shape[2] == 1 else patch for patch in result.patches])
    two.set_title("what the net saw there", fontsize=8)
    _draw_spectrum(three, result)
    dead = f"{len(result.faint)} faint, {len(result.silent)} silent on {len(result.settings['pictures'])} pictures"
    add_footer(figure, result.settings, dead, f"largest RMS {result.dominance:.1f} times the median")
    return figure


def _mosaic(axes: Any, tiles: list[Any]) -> None:
    """Lay tiles of one size out in a block, a pixel of white between them."""
    across = math.ceil(math.sqrt(len(tiles)))
    height, width = (side + 1 + side // 20 for side in tiles[0].shape[:2])
    block = np.full((-(-len(tiles) // across) * height, across * width, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        row, col = number // across * height, number % across * width
        block[row : row + tile.shape[0], col : col + tile.shape[1]] = tile
    axes.imshow(block, interpolation="nearest")
    axes.set_axis_off()


def _draw_rms(axes: Any, result: Filters) -> None:
    ordered = np.sort(result.rms)[::-1]
    axes.plot(range(1, len(ordered) + 1), ordered, ".-", color="#3b6ea5", markersize=4, linewidth=0.8)
    axes.axhline(np.median(ordered), color="0.5", linewidth=0.8, linestyle="--", label="median")
    if CAP / 3 < ordered[0] < 10 * CAP:  # else the net's pixels are on another scale than the paper's
        axes.axhline(CAP, color="#b3402e", linewidth=0.8, label=f"the paper's cap {CAP}: {len(result.over_cap)} above")
    axes.set_ylim(0, None)
    axes.legend(fontsize=7, frameon=False)
    axes.set_title("RMS of each filter, sorted", fontsize=8)
    _plain(axes, "filter, strongest first", "")


def _draw_bands(axes: Any, result: Filters) -> None:
    order = np.argsort(result.shares @ np.arange(3), kind="stable")
    low, high = result.bands
    names = (f"below {low:g}", f"{low:g} to {high:g}", f"above {high:g} cycles a pixel")
    floor = np.zeros(len(order))
    for band, (name, colour) in enumerate(zip(names, BANDS, strict=True)):
        part = result.shares[order, band]
        axes.bar(range(1, len(order) + 1), part, 1.0, bottom=floor, color=colour, label=f"{name}: mean {part.mean():.0%}")
        floor = floor + part
    axes.set(ylim=(0, 1), xlim=(0.5, len(order) + 0.5))
    axes.set_title("energy at low, middle and high frequencies", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    _plain(axes, "filter, lowest frequencies first", "share of energy")


def _draw_spectrum(axes: Any, result: Filters) -> None:
    """Show the mean spectrum of the projections, with the squares that `measure_grid` counts."""
    from matplotlib.patches import Rectangle

    values = np.log10(np.maximum(result.spectrum, result.spectrum.max() * 1e-4))
    axes.imshow(values, extent=(-0.5, 0.5, 0.5, -0.5), cmap="Greys_r", interpolation="nearest")
    down, across = result.stride
    for row in range(-(down // 2), down // 2 + 1):
        for col in range(-(across // 2), across // 2 + 1):
            if row or col:
                corner = (col / across - 1 / (8 * across), row / down - 1 / (8 * down))
                axes.add_patch(Rectangle(corner, 0.25 / across, 0.25 / down, fill=False, edgecolor="#e8743b", linewidth=1))
    axes.set(xlim=(-0.5, 0.5), ylim=(0.5, -0.5))
    text = f"spectrum of the projections; in the squares (stride {down}):\n{result.grid.mean():.1%} of the energy, "
    axes.set_title(text + f"of the patches {result.patch_grid.mean():.1%}, of noise {result.flat_grid:.1%}", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("cycles per pixel", fontsize=7)


def _plain(axes: Any, across: str, up: str) -> None:
    axes.tick_params(labelsize=7)
    axes.set_xlabel(across, fontsize=7)
    axes.set_ylabel(up, fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)
