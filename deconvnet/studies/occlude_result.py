"""What `occlude` measures, and its figure: the paper's Figure 7, a row of panels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..choices import Tone
from ..render import apply_tone
from ..render.palette import colour_text
from ..render.text import number_text
from ..results import PIXELS, Result, json_key
from .arrays import Floats, Integers, Pixels
from .figure import add_footer, fill_text, new_figure, source_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

CLASSES_DRAWN = 6  # with a colour of their own


@dataclass(frozen=True, eq=False)
class OtherPicture:
    """The strongest unit of the same map in another picture.

    Attributes:
        source: the picture's name.
        activation: the unit's activation.
        pixels: (h, w, 3), 0..255: what the net saw in the unit's window.
        projection: (C, h, w), signed: the unit's projection there.
    """

    source: str
    activation: float
    pixels: Pixels = field(metadata=PIXELS)
    projection: Floats = field(metadata=PIXELS)


@dataclass(frozen=True, eq=False)
class Occlusion(Result):
    """What occluding each position does to one map and one class.

    Attributes:
        picture: (H, W, 3), 0..255: what the net saw.
        tops: (P,): the first row of the squares of each row of positions, in pixels.
        lefts: (Q,): the first column of the squares of each column of positions.
        totals: (P, Q): the map's total activation with the square there.
        probabilities: (P, Q): the probability of the class, 0..1 (in files: shares); None where the net is no classifier.
        top_classes: (P, Q): the number of the most probable class (in files: answers); None where the net is no classifier.
        total: the map's total activation of the whole picture.
        probability: the probability of the class for the whole picture (in files: share); None where the net is no classifier.
        projection: (C, H, W), signed: the projection of the whole map at once, all its units together, not of one unit.
        window: top, left, height, width of the pixels that the map's strongest unit sees.
        others: the map's strongest units in other pictures, the strongest first.
        names: the names of the classes in `top_classes` and of the label, by number.
        settings: all that is needed to run the study again.
    """

    picture: Pixels = field(metadata=PIXELS)
    tops: Integers
    lefts: Integers
    totals: Floats
    probabilities: Floats | None = field(metadata=json_key("shares"))
    top_classes: Integers | None = field(metadata=json_key("answers"))
    total: float
    probability: float | None = field(metadata=json_key("share"))
    projection: Floats = field(metadata=PIXELS)
    window: Integers
    others: tuple[OtherPicture, ...]
    names: dict[str, str]
    settings: dict[str, Any]

    def plot(self, *, tone: Tone = "soft") -> Figure:
        """Draw the paper's row: the picture, the map's total activation, its projection, P(class), the most probable class.

        Args:
            tone: how the signed values of projections become pixels.
        """
        columns = 3 if self.probabilities is None else 5
        heights = [3.1, 0.42, 1.9] if self.others else [3.1, 0.42]
        figure = new_figure(3.1 * columns, sum(heights) + 1.1)
        grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
        panels: Any = grid[0].subgridspec(1, columns).subplots()
        keys: Any = grid[1].subgridspec(1, columns).subplots()  # below each panel: what its colours mean
        for panel, key in zip(panels, keys, strict=True):
            panel.set(xticks=[], yticks=[])
            key.set_axis_off()
        _draw_row(self, panels, keys, tone)
        if self.others:
            below: Any = grid[2].subgridspec(1, 2 * len(self.others)).subplots()
            _draw_others(below, self.others, tone)
        settings = self.settings
        square = f"square {settings['square']} px, stride {settings['stride']} px, fill {fill_text(settings['fill'])}"
        add_footer(figure, settings, square)
        return figure


def _draw_row(result: Occlusion, panels: Sequence[Axes], keys: Sequence[Axes], tone: Tone) -> None:
    """Fill the panels, and below them what their colours mean."""
    settings = result.settings
    map_name = f"{settings['layer']}:{settings['channel']}"
    _draw_picture(panels[0], result)
    _draw_heat(panels[1], keys[1], result, result.totals)
    panels[1].set_title(f"total activation of\n{map_name} (whole: {number_text(result.total)})", fontsize=9)
    panels[2].imshow(apply_tone([result.projection], tone)[0])
    panels[2].set_title(f"projection of the whole map\n{map_name}", fontsize=9)
    panels[2].add_patch(_strongest_square(result))
    if result.probabilities is not None and result.top_classes is not None:
        _draw_heat(panels[3], keys[3], result, result.probabilities, highest=1)
        panels[3].set_title(f"P({result.names[str(settings['label'])]})\n(whole: {result.probability:.1%})", fontsize=9)
        _draw_classes(panels[4], keys[4], result, result.top_classes)


def _strongest_square(result: Occlusion, **options: Any) -> Rectangle:
    """Return the square that took most of the map away."""
    from matplotlib.patches import Rectangle

    row, col = np.unravel_index(result.totals.argmin(), result.totals.shape)
    corner, side = (result.lefts[col] - 0.5, result.tops[row] - 0.5), result.settings["square"]
    return Rectangle(corner, side, side, edgecolor="black", linewidth=1.5, **{"fill": False, **options})


def _draw_picture(axes: Axes, result: Occlusion) -> None:
    axes.imshow(result.picture)
    axes.add_patch(_strongest_square(result, fill=True, facecolor="0.5"))
    axes.set_title("picture, with the square where\nit takes most from the map", fontsize=9)


def _edges(starts: Integers, square: int, length: int) -> Floats:
    """Return where one position's cell ends and the next begins: half-way between centres; the outer ones reach the edge."""
    centres = starts + square / 2 - 0.5
    return np.concatenate([[-0.5], (centres[1:] + centres[:-1]) / 2, [length - 0.5]])


def _draw_cells(axes: Axes, result: Occlusion, values: Any, **options: Any) -> QuadMesh:
    """Colour a cell around the centre of each square by its value, (P, Q)."""
    height, width = result.picture.shape[:2]
    side = result.settings["square"]
    mesh = axes.pcolormesh(_edges(result.lefts, side, width), _edges(result.tops, side, height), values, **options)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
    return mesh


def _draw_heat(axes: Axes, key: Axes, result: Occlusion, values: Floats, highest: float | None = None) -> None:
    """Draw values as a heat map; `highest`: the scale is from 0 to that, not from the smallest to the largest value."""
    mesh = _draw_cells(axes, result, values, cmap="viridis", vmin=None if highest is None else 0, vmax=highest)
    bar: Any = axes.figure
    bar.colorbar(mesh, cax=key.inset_axes((0.1, 0.6, 0.8, 0.35)), orientation="horizontal").ax.tick_params(labelsize=7)


def _draw_classes(axes: Axes, key: Axes, result: Occlusion, classes: Integers) -> None:
    """Draw the most probable class at each position; the rarest classes share one grey."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    common = [number for number, _ in Counter(classes.ravel().tolist()).most_common()]
    named = common[:CLASSES_DRAWN] if len(common) <= CLASSES_DRAWN else common[: CLASSES_DRAWN - 1]
    colours = [*map(colour_text, range(len(named))), "0.7"]
    indices = {number: index for index, number in enumerate(named)}
    values = [[indices.get(number, len(named)) for number in row] for row in classes.tolist()]
    _draw_cells(axes, result, values, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5)
    axes.set_title("most probable class\n", fontsize=9)
    handles = [Patch(color=colour, label=result.names[str(number)]) for number, colour in zip(named, colours, strict=False)]
    handles += [Patch(color="0.7", label=f"{len(common) - len(named)} others")] if len(common) > len(named) else []
    key.legend(handles=handles, fontsize=7, loc="upper center", ncols=3, frameon=False, borderpad=0)


def _draw_others(panels: Sequence[Axes], others: Sequence[OtherPicture], tone: Tone) -> None:
    """Draw the map's strongest units in other pictures: patch and projection, side by side."""
    toned = apply_tone([other.projection for other in others], tone)
    for patch, projection, other, pixels in zip(panels[::2], panels[1::2], others, toned, strict=True):
        patch.imshow(other.pixels)
        figure: Any = patch.figure
        room = 0.9 * figure.get_figwidth() / len(panels)
        patch.set_title(f"same map in\n{source_label(other.source, room)}", fontsize=7)
        projection.imshow(pixels)
        projection.set_title(f"activation\n{number_text(other.activation)}", fontsize=7)
        for axes in (patch, projection):
            axes.set(xticks=[], yticks=[])
