"""What `correspond` measures: the paper's Table 1, and its figure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..render.palette import colour_text
from ..render.table import table_text
from ..results import PIXELS, Result
from .arrays import Floats, Integers, Pixels
from .figure import FAINT, add_footer, new_figure
from .similarity import mean_known
from .statistics import Comparison, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANDOM, ON_OBJECT = "random", "on the object"  # the names of the controls
PICTURES_DRAWN = 6


@dataclass(frozen=True, eq=False)
class PartRow:
    """One row of the table: a part, or a control. Each dictionary has a value for each layer.

    Attributes:
        name: the part's name; "random", masks anywhere in the picture; or "on the object".
        means: the disagreement: the share of differing signs among the features that the masks of both pictures changed; the
            mean over pairs of pictures, with the interval over pictures. 0.5 is chance.
        distance: the Hamming distance of three signs, as a share of all features: the paper's own measure.
        changed: the share of the features, 0..1, that masking changes at all.
        disagreements: (P, P): the disagreement of each pair of pictures; of controls the mean over their masks.
    """

    name: str
    means: dict[str, Estimate]
    distance: dict[str, float]
    changed: dict[str, float]
    disagreements: dict[str, Floats]


@dataclass(frozen=True, eq=False)
class Correspondence(Result):
    """How alike masking a part moves the features of P pictures.

    Attributes:
        rows: a row for each part, and last the two controls.
        layers: where features were measured.
        comparisons: each part in each layer, less masks on the object of the same pictures that change as many features. The
            first part in the last layer was fixed beforehand, the others are corrected for their number.
        sources: the pictures' names.
        boxes: (P, 4) for each part, and for the object where it was given: top, left, height, width in the pixels that the
            net saw.
        pictures: (P, H, W, 3), 0..255: what the net saw.
        settings: all that is needed to run the study again.
    """

    rows: tuple[PartRow, ...]
    layers: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    sources: tuple[str, ...]
    boxes: dict[str, Integers]
    pictures: Pixels = field(metadata=PIXELS)
    settings: dict[str, Any]

    def table(self) -> str:
        """Return the paper's Table 1 as text: a row for each part and control, a column for each layer, with 95 % intervals."""
        rows = [("disagreement where both changed", *self.layers)]
        return table_text(rows + [(row.name, *(str(row.means[layer]) for layer in self.layers)) for row in self.rows])

    def summary(self) -> str:
        """Return the table, and each part compared with masks on the object that change as many features, as text."""
        heading = ("less masks on the object that change as much", "difference", "")
        comparisons = table_text([heading, *(comparison.cells() for comparison in self.comparisons)])
        return f"{self.table()}\n\n{comparisons}"

    def plot(self) -> Figure:
        """Draw the pictures with their masks, and below each layer's disagreement: pictures, the mean and its interval."""
        count = len(self.pictures)
        drawn = min(count, PICTURES_DRAWN)
        figure = new_figure(max(1.9 * drawn, 3.4 * len(self.layers), 6.0), 5.6)
        grid = figure.add_gridspec(2, 1, height_ratios=(2, 3.2))
        colours = {row.name: colour_text(index) for index, row in enumerate(self.rows)} | {RANDOM: FAINT, ON_OBJECT: FAINT}
        above: Any = grid[0].subgridspec(1, drawn).subplots(squeeze=False)
        for number, axes in enumerate(above[0]):
            _draw_picture(axes, self, number, colours)
        below: Any = grid[1].subgridspec(1, len(self.layers)).subplots(squeeze=False)
        for axes, layer in zip(below[0], self.layers, strict=True):
            _draw_disagreements(axes, self, layer, colours)
        more = f", {drawn} of them shown" if count > drawn else ""
        add_footer(
            figure, self.settings, f"{count} pictures{more}", "bars: means with 95 % intervals, dots: pictures, 0.5: chance"
        )
        return figure


def _draw_picture(axes: Axes, result: Correspondence, number: int, colours: Mapping[str, str]) -> None:
    """Draw a picture with the boxes of its parts, and dashed that of the object."""
    from matplotlib.patches import Rectangle

    axes.imshow(result.pictures[number])
    axes.set(xticks=[], yticks=[])
    for name, boxes in result.boxes.items():
        top, left, height, width = boxes[number].tolist()
        corner, style = (left - 0.5, top - 0.5), "-" if name in colours else "--"
        colour = colours.get(name, FAINT)
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=1.8, linestyle=style))


def _draw_disagreements(axes: Axes, result: Correspondence, layer: str, colours: Mapping[str, str]) -> None:
    for index, row in enumerate(result.rows):
        estimate, values = row.means[layer], row.disagreements[layer]
        off_diagonal = np.where(np.eye(len(values), dtype=bool), np.nan, values)
        by_picture = mean_known(off_diagonal, 1)
        axes.bar(index, estimate.mean, width=0.7, color=colours[row.name], alpha=0.35)
        axes.scatter(index + np.linspace(-0.22, 0.22, len(values)), by_picture, s=5, color=colours[row.name])
        axes.errorbar(index, estimate.mean, np.reshape(estimate.bars, (2, 1)), color="0.1", capsize=4, linewidth=1.3)
    axes.axhline(0.5, color="0.5", linewidth=0.8, linestyle="--")
    names = [textwrap.fill(row.name, 8, break_long_words=False) for row in result.rows]  # side by side they would touch
    axes.set_xticks(range(len(result.rows)), names, fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title(f"disagreement where both changed, {layer}", fontsize=9)
    axes.set_ylim(bottom=0)
