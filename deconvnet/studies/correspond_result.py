"""What `correspond` measures: the paper's Table 1, and its figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..render.palette import colour_text
from ..render.table import table_text
from ..results import PIXELS, Result
from .arrays import Floats, Integers, Pixels
from .figure import FAINT, add_footer, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANDOM = "random"  # the name of the control
PICTURES_DRAWN = 6


@dataclass(frozen=True, eq=False)
class PartRow:
    """One row of the table: a part, or random positions. Each dictionary has a value for each layer.

    Attributes:
        name: the part's name, or "random".
        mean: the Hamming distance of the signs of change, as a share of the features, 0..1; the mean over pairs of pictures.
        spread: the standard deviation of these distances.
        changed: the share of features, 0..1, that masking changes at all.
        distances: (masks, pairs): the distance for each mask and pair.
    """

    name: str
    mean: dict[str, float]
    spread: dict[str, float]
    changed: dict[str, float]
    distances: dict[str, Floats]


@dataclass(frozen=True, eq=False)
class Correspondence(Result):
    """How alike masking a part moves the features of P pictures.

    Attributes:
        rows: a row for each part, and last the control.
        layers: where features were measured.
        pairs: (pairs, 2): the numbers of the pictures that were compared.
        sources: the pictures' names.
        boxes: (P, 4) for each part: top, left, height, width in the pixels that the net saw.
        pictures: (P, H, W, 3), 0..255: what the net saw.
        settings: all that is needed to run the study again.
    """

    rows: tuple[PartRow, ...]
    layers: tuple[str, ...]
    pairs: Integers
    sources: tuple[str, ...]
    boxes: dict[str, Integers]
    pictures: Pixels = field(metadata=PIXELS)
    settings: dict[str, Any]

    def table(self) -> str:
        """Return the paper's Table 1 as text: a row for each part, a column for each layer, mean and standard deviation."""
        rows = [("mean feature sign change", *self.layers)]
        for row in self.rows:
            rows.append((row.name, *(f"{row.mean[layer]:.3f} ± {row.spread[layer]:.3f}" for layer in self.layers)))
        return table_text(rows)

    def plot(self) -> Figure:
        """Draw the pictures with their masks, and below each layer's distances: every pair, the mean and its spread."""
        count = len(self.pictures)
        drawn = min(count, PICTURES_DRAWN)
        figure = new_figure(max(1.9 * drawn, 3.4 * len(self.layers), 6.0), 5.6)
        grid = figure.add_gridspec(2, 1, height_ratios=(2, 3.2))
        colours = {row.name: colour_text(index) for index, row in enumerate(self.rows)} | {RANDOM: FAINT}
        above: Any = grid[0].subgridspec(1, drawn).subplots(squeeze=False)
        for number, axes in enumerate(above[0]):
            _draw_picture(axes, self, number, colours)
        below: Any = grid[1].subgridspec(1, len(self.layers)).subplots(squeeze=False)
        for axes, layer in zip(below[0], self.layers, strict=True):
            _draw_distances(axes, self, layer, colours)
        more = f" · {drawn} of {count} pictures shown" if count > drawn else ""
        notes = f"{len(self.pairs)} pairs of pictures{more}", "bars: mean, lines: one standard deviation, dots: pairs"
        add_footer(figure, self.settings, *notes)
        return figure


def _draw_picture(axes: Axes, result: Correspondence, number: int, colours: Mapping[str, str]) -> None:
    """Draw a picture with the boxes of its parts."""
    from matplotlib.patches import Rectangle

    axes.imshow(result.pictures[number])
    axes.set(xticks=[], yticks=[])
    for name, boxes in result.boxes.items():
        top, left, height, width = boxes[number].tolist()
        corner = left - 0.5, top - 0.5
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colours[name], linewidth=1.8))


def _draw_distances(axes: Axes, result: Correspondence, layer: str, colours: Mapping[str, str]) -> None:
    for index, row in enumerate(result.rows):
        values = row.distances[layer].mean(0)  # of random masks, a pair's mean over its trials
        axes.bar(index, row.mean[layer], width=0.7, color=colours[row.name], alpha=0.35)
        axes.errorbar(index, row.mean[layer], row.spread[layer], color="0.2", capsize=4, linewidth=1.2)
        axes.scatter(index + np.linspace(-0.22, 0.22, len(values)), values, s=9, color=colours[row.name])
    axes.set_xticks(range(len(result.rows)), [row.name for row in result.rows], fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title(f"sign change in {layer}", fontsize=9)
    axes.set_ylim(bottom=0)
