"""What all studies share: a result's numbers as JSON or arrays, its figure on disk, and what they ask of a net."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from ..errors import OptionError, did_you_mean
from ..images import Preprocess
from ..projection import rectified_values
from ..render.text import printable
from ..results import PIXELS as PIXELS
from ..results import save_figure as save_figure
from ..results import to_arrays as to_arrays
from ..results import to_json as to_json
from ..rules import Same
from ..units import Window
from ..version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..net import DeconvNet
    from ..recording import Recording

FAINT = "0.45"  # the ink of notes
FILTERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)  # layers with filters


def settings_of(net: DeconvNet, study: str, **asked: Any) -> dict[str, Any]:
    """Return the settings that a result ends in: the study, what it was asked, of which model with which weights."""
    preprocess = dataclasses.asdict(net.preprocess) if isinstance(net.preprocess, Preprocess) else None
    about = {"study": study, "model": net.name, "weights": net.loaded.weights_hash(), "preprocess": preprocess}
    return {**about, **asked, "overlap": net.overlap, "lrn": net.lrn, "version": __version__}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of width x height inches, which needs neither a display nor pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def add_footer(figure: Figure, settings: Mapping[str, Any], *notes: str) -> None:
    """Write under a figure how it was made: notes, model, weights, version."""
    kind, _, digest = str(settings["weights"]).partition(":")
    weights = f"weights {kind} {digest[:8]}" if digest else f"{kind} weights"
    text = " · ".join([*notes, str(settings["model"]), weights, f"deconvnet {settings['version']}"])
    figure.supxlabel(printable(text), fontsize=7, color=FAINT, x=0.01, ha="left")
    figure.draw_without_rendering()  # axes of a fixed shape settle only when their layout starts from one that is nearly right


def draw_tiles(axes: Any, tiles: Sequence[Any], colours: Sequence[Any], *, width: float = 2.0) -> None:
    """Draw small pictures (h, w, 3) of one size in a block that is nearly square, each framed in its colour."""
    from matplotlib.patches import Rectangle

    across = math.ceil(math.sqrt(len(tiles)))
    tall = tiles[0].shape[0] / tiles[0].shape[1]
    axes.set(xticks=[], yticks=[], frame_on=False)
    for number, (tile, colour) in enumerate(zip(tiles, colours, strict=True)):
        row, col = divmod(number, across)
        left, right, bottom, top = col + 0.03, col + 0.97, (row + 0.97) * tall, (row + 0.03) * tall
        axes.imshow(tile, extent=(left, right, bottom, top), interpolation="nearest")
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=width))
    axes.set(xlim=(0, across), ylim=(-(-len(tiles) // across) * tall, 0), aspect="equal")


def class_shares(output: Any) -> Tensor | None:
    """Return the probabilities (N, K) in double precision that a classifier's output tells; None where it is no classifier's.

    Scores go through a softmax, unless they are not negative and each row adds up to one already.
    """
    if not isinstance(output, Tensor) or output.dim() != 2 or output.shape[1] < 2:
        return None
    scores = output.detach().cpu().double()  # in this order: Apple's GPUs have no double precision
    already = (scores >= 0).all() and ((scores.sum(1) - 1).abs() < 1e-3).all()
    return scores if already else scores.softmax(1)


def read_label(net: DeconvNet, label: int | str, count: int) -> int:
    """Return a class's number, given that or its name; `count`: how many classes there are."""
    names = net.loaded.classes
    number = int(label) if str(label).isdigit() else {name.lower(): at for at, name in enumerate(names)}.get(str(label).lower())
    if number is None:
        hint = did_you_mean(str(label), names) or (" Give its number." if not names else "")
        raise OptionError(f"{net.name} has no class {label!r}.{hint}")
    if number >= count:
        raise OptionError(f"{net.name} has no class {number}: it has {count}, numbered from 0.")
    return number


def shown_window(window: Window, frame: Sequence[int]) -> Window:
    """Return what is drawn of a projection: its window, or the frame (C, H, W) where the window is as high or wide as that."""
    height, width = frame[1:]
    return Window(0, 0, height, width) if window.height >= height or window.width >= width else window


def cut_window(values: Any, window: Window, beyond: float = 0) -> Any:
    """Cut a window out of an array (C, H, W) -> (C, h, w); `beyond` stands outside the frame."""
    inside = window.clip(*values.shape[1:])
    cut = np.full((len(values), window.height, window.width), beyond, dtype=values.dtype)
    top, left = inside.top - window.top, inside.left - window.left
    cut[:, top : top + inside.height, left : left + inside.width] = values[
        :, inside.top : inside.bottom, inside.left : inside.right
    ]
    return cut


def first_layer(recording: Recording) -> str:
    """Return the first rectified layer with maps: where the paper measures "layer 1"."""
    tape, rectified = recording.tape, rectified_values(recording.tape)
    places = [(place.value, name) for name, place in recording.places().items() if place.value in rectified]
    names = [name for value, name in sorted(places, key=lambda pair: (pair[0] or 0, -len(pair[1]))) if _has_maps(tape, value)]
    if not names:
        raise OptionError(f"{recording.name} has no rectified layer with maps. Name the layers: see deconvnet layers.")
    return names[0]


def top_layer(recording: Recording) -> str:
    """Return the last rectified layer that another layer with filters stands on: where the paper measures "layer 7"."""
    places = recording.places()
    filters = [name for name, module in recording.model.named_modules() if isinstance(module, FILTERS)]
    last = max((places[name].first for name in filters if name in places), default=0)
    tape, rectified = recording.tape, rectified_values(recording.tape)
    below = [place.value for place in places.values() if place.value in rectified and place.last <= last]
    if not below:
        raise OptionError(
            f"{recording.name} has no rectified layer below its last filters. Name the layers: see deconvnet layers."
        )
    value: int = max(below)
    while isinstance(tape.table.get(tape.calls[tape.makers[value]].func), Same):  # dropout hands on what it gets
        value = tape.calls[tape.makers[value]].inputs[0]
    same = [place for place in places.values() if place.value == value]
    same = [place for place in same if place.first or place.last == 1] or same  # not the whole trunk of the net
    return min((place.name for place in same), key=len)


def _has_maps(tape: Any, value: int | None) -> bool:
    return tape.layouts[value or 0][1] is not None
