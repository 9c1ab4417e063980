"""What the figures of all studies share: their paper, their footer, blocks of small pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..crops import energy_boxes
from ..images import to_rgb
from ..provenance import weights_text
from ..render.text import fit, printable, source_title, wrap
from ..results import DOTS_PER_INCH
from ..units import Window
from .arrays import Floats, Pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAINT = "0.45"  # the ink of notes


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of width x height inches, which needs neither a display nor pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def add_footer(figure: Figure, settings: Mapping[str, Any], *notes: str) -> None:
    """Write under a figure how it was made: the notes, the model, its weights, the version."""
    parts = [*notes, str(settings["model"]), weights_text(str(settings["weights"])), f"deconvnet {settings['version']}"]
    width = round(0.98 * figure.get_figwidth() * DOTS_PER_INCH)
    lines = wrap(" · ".join(parts), round(7 / 72 * DOTS_PER_INCH), width)  # 7 points; one line would run off a narrow figure
    figure.supxlabel("\n".join(lines), fontsize=7, color=FAINT, x=0.01, ha="left")
    _write_plainly(figure)
    figure.draw_without_rendering()  # axes of a fixed shape settle only when their layout starts from one that is nearly right


def _write_plainly(figure: Figure) -> None:
    """Draw names as they are: a "$" begins no formula, and a letter that the font lacks is written as its code.

    The numbers at ticks are left alone, which matplotlib itself writes as formulas.
    """
    from matplotlib.text import Text

    numbers = {id(text) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for text in axis.findobj(Text)}
    numbers -= {id(axis.label) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)}
    for text in figure.findobj(Text):
        if id(text) not in numbers:
            text.set_parse_math(False)
            text.set_text("\n".join(map(printable, text.get_text().split("\n"))))


def source_label(source: str, inches: float, points: int = 7) -> str:
    """Return a picture's name as a title so many inches wide: what does not fit is cut in the middle."""
    return fit(source_title(source), round(points / 72 * DOTS_PER_INCH), round(inches * DOTS_PER_INCH), keep_end=True)


def fill_text(fill: str | Sequence[float]) -> str:
    """Return a fill as a footer says it: its word, or the numbers of its colour."""
    return fill if isinstance(fill, str) else ",".join(f"{number:g}" for number in fill)


def joint_box(crops: Floats) -> Window:
    """Return the square that holds 95 % of the energy of projections (K, C, h, w) at one place, each as strong as any."""
    strengths = [np.sqrt(np.square(crop, dtype=np.float64).sum()) or 1 for crop in crops]
    together = np.concatenate([crop / strength for crop, strength in zip(crops, strengths, strict=True)])
    (box,) = energy_boxes([together], [Window(0, 0, *together.shape[1:])], together.shape[1:])
    return box


def show_pixels(axes: Axes, pixels: Pixels, **options: Any) -> None:
    """Show pixels (h, w, C) without ticks, any number of channels but three as grey."""
    axes.imshow(to_rgb(pixels), **options)
    axes.set(xticks=[], yticks=[])


def open_axes(axes: Axes) -> None:
    """Leave out the frame above and to the right of a plot."""
    axes.spines[["top", "right"]].set_visible(False)


def draw_tiles(
    axes: Axes, tiles: Sequence[Pixels], colours: Sequence[str], *, dashes: Sequence[str] = (), linewidth: float = 2.0
) -> None:
    """Draw small pictures (h, w, 3) of one size in a block that is nearly square, each framed in its colour and dashes."""
    from matplotlib.patches import Rectangle

    columns = math.ceil(math.sqrt(len(tiles)))
    ratio = tiles[0].shape[0] / tiles[0].shape[1]
    axes.set(xticks=[], yticks=[], frame_on=False)
    for number, (tile, colour) in enumerate(zip(tiles, colours, strict=True)):
        row, col = divmod(number, columns)
        left, right, bottom, top = col + 0.03, col + 0.97, (row + 0.97) * ratio, (row + 0.03) * ratio
        axes.imshow(tile, extent=(left, right, bottom, top), interpolation="nearest")
        look: dict[str, Any] = {"edgecolor": colour, "linewidth": linewidth, "linestyle": dashes[number] if dashes else "-"}
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **look))
    axes.set(xlim=(0, columns), ylim=(-(-len(tiles) // columns) * ratio, 0), aspect="equal")
