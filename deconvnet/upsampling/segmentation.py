"""The result of `segment.run`: what nets that unpool differently reached, as numbers and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from ..render.tone import Pixels
from ..results import Result, json_key
from .panels import TITLE_POINTS, show_pixels

LABEL_COLOURS = {
    "background": "#f2f2f2", "thing": "#a9c1d9", "window": "#3b9ddd", "wheel": "#7b4fa3", "ear": "#f2a03d", "eye": "#d9352c",
    "line": "#1a1a1a",
}  # fmt: skip
SEED_MARKERS = ("o", "s", "^", "D", "v")


@dataclass(frozen=True, eq=False)
class SegmentationComparison(Result):
    """What nets reached that differ only in how they unpool.

    Attributes:
        unpoolings: U names, of "switch", "fixed" and "nearest".
        seeds: S of them.
        labels: the names of L labels.
        iou: (U, S, L), 0..1, NaN for a label that was not drawn.
        boundary: (U, S, L), the IoU of the borders alone, likewise.
        losses: (U, S, steps).
        pictures: (K, H, W, 3), 0..255, some of the test drawings.
        truth: (K, H, W), their labels.
        answers: (U, K, H, W), the labels by the nets of the first seed.
        parameters: how many each net has.
        settings: what `run` was asked for.
    """

    unpoolings: tuple[str, ...] = field(metadata=json_key("ways"))
    seeds: tuple[int, ...]
    labels: tuple[str, ...]
    iou: npt.NDArray[np.float64]
    boundary: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]
    pictures: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.int64]
    answers: npt.NDArray[np.int64]
    parameters: int
    settings: dict[str, Any]

    def measures(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the measures by name, each (U, S): means over labels, and the label of thin parts by itself."""
        return {
            "mean IoU": np.nanmean(self.iou, axis=2),
            "boundary IoU": np.nanmean(self.boundary, axis=2),
            "IoU of lines": self.iou[:, :, self.labels.index("line")],
        }

    def differences(self, first: str, second: str) -> dict[str, npt.NDArray[np.float64]]:
        """Return for each measure how much better the first unpooling is than the second, seed by seed, (S,)."""
        rows = [self.unpoolings.index(unpooling) for unpooling in (first, second)]
        return {name: values[rows[0]] - values[rows[1]] for name, values in self.measures().items()}

    def plot(self) -> Figure:
        """Plot test drawings with their labels by each net, and below them the measures of every seed."""
        rows, columns = len(self.pictures), 2 + len(self.unpoolings)
        figure = Figure(figsize=(1.35 * columns + 0.3, 1.35 * rows + 3.0), layout="constrained")
        halves: Any = figure.subfigures(2, 1, height_ratios=[1.35 * rows + 0.5, 2.5])
        above, below = halves
        self._plot_labels(above)
        self._plot_measures(below)
        return figure

    def _plot_labels(self, figure: SubFigure) -> None:
        """A row per drawing: the drawing, its true labels, and those of each net."""
        grid = figure.subplots(len(self.pictures), 2 + len(self.unpoolings), squeeze=False)
        for row, (picture, truth) in enumerate(zip(self.pictures, self.truth, strict=True)):
            labels = (_colour(labels, self.labels) for labels in (truth, *self.answers[:, row]))
            for axes, pixels in zip(grid[row], (picture, *labels), strict=True):
                show_pixels(axes, pixels)
        for axes, title in zip(grid[0], ("drawing", "truth", *self.unpoolings), strict=True):
            axes.set_title(title, fontsize=TITLE_POINTS + 1)
        handles = [
            Patch(facecolor=LABEL_COLOURS[label], edgecolor="#888888", linewidth=0.5, label=label) for label in self.labels
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=TITLE_POINTS, frameon=False)

    def _plot_measures(self, figure: SubFigure) -> None:
        """A panel per measure, with a marker per seed and a line at the mean."""
        measures = self.measures()
        steps = f"{self.losses.shape[2]:,} steps"
        trainings = f"1 training of {steps}" if len(self.seeds) == 1 else f"{len(self.seeds)} trainings of {steps}"
        figure.supxlabel(f"{trainings} for each: a mark for each seed, a line at their mean", fontsize=TITLE_POINTS)
        for axes, (name, values) in zip(figure.subplots(1, len(measures)), measures.items(), strict=True):
            for column, row in enumerate(values):
                for number, (value, marker) in enumerate(zip(row, SEED_MARKERS * len(row), strict=False)):
                    shift = 0.12 * (number - (len(row) - 1) / 2)
                    axes.plot(column + shift, value, marker, color="#333333", markersize=4)
                axes.plot([column - 0.3, column + 0.3], [row.mean()] * 2, color="#d9352c", linewidth=1.5)
            axes.set_xticks(range(len(self.unpoolings)), self.unpoolings, fontsize=TITLE_POINTS)
            axes.set_xlim(-0.5, len(self.unpoolings) - 0.5)
            axes.set_ylim(0, max(1.1 * float(np.nanmax(values, initial=0)), 0.05))  # differences beside what they differ from
            axes.tick_params(axis="y", labelsize=TITLE_POINTS)
            axes.set_title(name, fontsize=TITLE_POINTS + 1)
            axes.spines[["top", "right"]].set_visible(False)


def _colour(labels: npt.NDArray[np.int64], names: Sequence[str]) -> Pixels:
    """(H, W) labels -> (H, W, 3)."""
    palette = [[int(LABEL_COLOURS[name][start : start + 2], 16) for start in (1, 3, 5)] for name in names]
    return np.array(palette, np.uint8)[labels]
