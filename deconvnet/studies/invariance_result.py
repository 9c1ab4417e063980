"""What `invariance` measures, and its figure: the paper's Figure 5, a row for each transformation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ..choices import Distance
from ..render.palette import COLOURS, colour_text
from ..render.text import fit, source_title
from ..results import PIXELS, Result, json_key
from .arrays import Floats, Pixels
from .figure import add_footer, draw_tiles, fill_text, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The transformations, and what their values are numbers of.
KINDS = {"translation": "pixels", "scale": "ratio", "rotation": "degrees"}
DISTANCE_NAMES: dict[Distance, str] = {"relative": "relative distance", "rms": "RMS distance", "plain": "distance"}
LONGEST_KEY = 6  # pictures that are named beside the plots; more are named above all plots
Look: TypeAlias = "dict[str, str]"  # of a picture's lines and frame, by matplotlib's names
DASHES = ("-", "--", ":", "-.")  # of lines, where there are more of them than colours


@dataclass(frozen=True, eq=False)
class Sweep:
    """One kind of transformation at S values, for P pictures.

    Attributes:
        values: (S,): pixels down or to the right, ratios, or degrees counter-clockwise.
        distances: (P, S) for each layer: how far the features of the transformed picture are from those of the picture.
        probabilities: (P, S): the probability of the picture's class, 0..1 (in files: shares); None where the net is no
            classifier.
        shown: (P, H, W, 3), 0..255: each picture transformed to one of the values.
        shown_at: that value.
    """

    values: Floats
    distances: dict[str, Floats]
    probabilities: Floats | None = field(metadata=json_key("shares"))
    shown: Pixels = field(metadata=PIXELS)
    shown_at: float


@dataclass(frozen=True, eq=False)
class Invariance(Result):
    """How far features move when pictures do.

    Attributes:
        translation: the pictures moved along an axis.
        scale: the pictures enlarged about their centre.
        rotation: the pictures turned about their centre.
        sources: the pictures' names.
        labels: the number of each picture's class; empty where the net is no classifier.
        classes: the name of each picture's class.
        settings: all that is needed to run the study again.
    """

    translation: Sweep
    scale: Sweep
    rotation: Sweep
    sources: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    settings: dict[str, Any]

    def plot(self) -> Figure:
        """Draw the paper's figure: for each transformation examples, the distance in each layer, and P(class)."""
        columns = 1 + len(self.translation.distances) + (self.translation.probabilities is not None)
        figure = new_figure(3.3 * columns, 8.2)
        rows: Any = figure.subplots(len(KINDS), columns)
        looks = [
            {"color": colour_text(number), "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}
            for number in range(len(self.sources))
        ]
        for kind, row in zip(KINDS, rows, strict=True):
            _draw_sweep(row, self, kind, looks)
        _draw_key(rows[0, -1], self, looks)
        add_footer(figure, self.settings, f"border {fill_text(self.settings['fill'])}", self.settings["interpolation"])
        return figure


def _draw_sweep(row: Sequence[Axes], result: Invariance, kind: str, looks: Sequence[Look]) -> None:
    sweep: Sweep = getattr(result, kind)
    unit, distance = KINDS[kind], DISTANCE_NAMES[result.settings["distance"]]
    name = f"{result.settings['axis']} translation" if kind == "translation" else kind
    colours, dashes = [look["color"] for look in looks], [look["linestyle"] for look in looks]
    draw_tiles(row[0], list(sweep.shown), colours, dashes=dashes)
    row[0].set_title(f"{name}, here {sweep.shown_at:g}{'' if kind == 'scale' else f' {unit}'}", fontsize=9)
    for axes, (layer, distances) in zip(row[1:], sweep.distances.items(), strict=False):
        _draw_lines(axes, sweep.values, distances, looks, f"{distance}, {layer}")
        axes.set_ylim(bottom=0)
    if sweep.probabilities is not None:
        _draw_lines(row[-1], sweep.values, sweep.probabilities, looks, "P(class)")
        row[-1].set_ylim(-0.02, 1.02)
    for axes in row[1:]:
        axes.set_xlabel(f"{name} ({unit})", fontsize=8)


def _draw_lines(axes: Axes, values: Floats, lines: Iterable[Floats], looks: Sequence[Look], title: str) -> None:
    for line, look in zip(lines, looks, strict=True):
        axes.plot(values, line, **look, linewidth=1.3)  # type: ignore[arg-type]
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
    axes.margins(x=0.01)


def _draw_key(axes: Axes, result: Invariance, looks: Sequence[Look]) -> None:
    """Name the pictures, and their classes where they are known: in the last plot, or where they are many above all."""
    from matplotlib.lines import Line2D

    names = [source_title(source) for source in result.sources]
    known = result.classes or [""] * len(names)
    labels = [f"{kind} ({name})" if kind and kind not in name else name for kind, name in zip(known, names, strict=True)]
    labels = [fit(label, 15, 420, keep_end=True) for label in labels]
    handles = [Line2D([], [], label=label, **look) for label, look in zip(labels, looks, strict=True)]  # type: ignore[arg-type]
    if len(handles) <= LONGEST_KEY:
        axes.legend(handles=handles, fontsize=7, loc="best")
    else:
        figure: Any = axes.figure
        figure.legend(handles=handles, fontsize=7, loc="outside upper center", ncols=4, frameon=False)
