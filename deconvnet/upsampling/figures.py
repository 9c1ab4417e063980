"""Figures of what is learned or iterated: labels beside drawings, restorations, atoms with their codes, layers and switches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from ..render import apply_tone
from .adaptive import Layer
from .deblur import Restorations
from .segment import Comparison
from .sparse import Codes, Dictionary

SMALL = 7  # points
COLOURS = {
    "background": "#f2f2f2", "thing": "#a9c1d9", "window": "#3b9ddd", "wheel": "#7b4fa3", "ear": "#f2a03d", "eye": "#d9352c",
    "line": "#1a1a1a",
}  # fmt: skip
MARKS = ("o", "s", "^", "D", "v")


def plot_comparison(result: Comparison) -> Figure:
    """Show the first test drawings with each way's labels, and below them every seed's measures as a dot."""
    rows, columns = len(result.pictures), 2 + len(result.ways)
    figure = Figure(figsize=(1.35 * columns + 0.3, 1.35 * rows + 3.0), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=[1.35 * rows + 0.5, 2.5])
    above, below = halves
    grid = above.subplots(rows, columns, squeeze=False)
    for row, (picture, truth) in enumerate(zip(result.pictures, result.truth, strict=True)):
        shown = [picture, *(_coloured(labels, result.labels) for labels in (truth, *result.answers[:, row]))]
        for axes, pixels in zip(grid[row], shown, strict=True):
            _show(axes, pixels)
    for axes, title in zip(grid[0], ("drawing", "truth", *result.ways), strict=True):
        axes.set_title(title, fontsize=SMALL + 1)
    handles = [Patch(facecolor=COLOURS[label], edgecolor="#888888", linewidth=0.5, label=label) for label in result.labels]
    above.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=SMALL, frameon=False)
    _dots(below, result)
    return figure


def _dots(figure: Any, result: Comparison) -> None:
    """A panel for each measure, a dot for each seed, a line at the mean."""
    measures = result.measures()
    figure.supxlabel("a mark for each seed, a line at their mean", fontsize=SMALL)
    for axes, (name, values) in zip(figure.subplots(1, len(measures)), measures.items(), strict=True):
        for place, row in enumerate(values):
            for seed, (value, mark) in enumerate(zip(row, MARKS * len(row), strict=False)):
                axes.plot(place + 0.12 * (seed - (len(row) - 1) / 2), value, mark, color="#333333", markersize=4)
            axes.plot([place - 0.3, place + 0.3], [row.mean()] * 2, color="#d9352c", linewidth=1.5)
        axes.set_xticks(range(len(result.ways)), result.ways, fontsize=SMALL)
        axes.set_xlim(-0.5, len(result.ways) - 0.5)
        axes.tick_params(axis="y", labelsize=SMALL)
        axes.set_title(name, fontsize=SMALL + 1)
        axes.spines[["top", "right"]].set_visible(False)


def plot_restorations(result: Restorations) -> Figure:
    """Show the kernel, the sharp picture and every restoration, with decibels inside and over all."""
    panels = [("sharp", result.sharp[0]), *((_decibels(one), one.made[0]) for one in result.tried)]
    columns = math.ceil((len(panels) + 1) / 2)
    figure = Figure(figsize=(1.45 * columns, 3.6), layout="constrained")
    grid = figure.subplots(2, columns).flatten()
    _show(grid[0], _grey(result.blur.numpy()))
    grid[0].set_title(f"the blur,\n{result.blur.shape[0]} x {result.blur.shape[1]} pixels", fontsize=SMALL)
    for axes, (title, picture) in zip(grid[1:], panels, strict=False):
        _show(axes, _pixels(picture))
        axes.set_title(title, fontsize=SMALL)
    for axes in grid[1 + len(panels) :]:
        axes.set_axis_off()
    return figure


def _closeness(picture: Tensor, made: Tensor) -> str:
    """The peak signal-to-noise ratio of pictures in 0..1, in words."""
    error = float((picture - made.clamp(0, 1)).double().square().mean())
    return f"{-10 * math.log10(error):.1f} dB" if error else "exact"


def _decibels(one: Any) -> str:
    return f"{one.name}\n{one.psnr:.1f} dB, inside {one.inside:.1f}"


def plot_codes(picture: Tensor, smooth: Tensor, dictionary: Dictionary, codes: Codes) -> Figure:
    """Show a picture (C, H, W) in 0..1, its atoms, where they stand, and the picture that they and the smooth part make.

    The atoms are sorted by how much they are used; of the codes, the sum of |x| over atoms, and the maps of the first three.
    """
    use = codes.codes.abs().sum((0, 2, 3))
    order = use.argsort(descending=True)
    count, places = codes.codes[0].numel(), int((codes.codes[0] != 0).sum())
    panels = [
        ("picture", _pixels(picture)),
        ("its smooth part", _pixels(smooth)),
        (f"made of atoms\n{places:,} codes of {count:,}", apply_tone([codes.made[0].numpy()])[0]),
        (f"both together\n{_closeness(picture, smooth + codes.made[0])}", _pixels(smooth + codes.made[0])),
        ("all |codes|", _dark(codes.codes[0].abs().sum(0).numpy())),
        *((f"codes of atom {rank + 1}", _dark(codes.codes[0, index].abs().numpy())) for rank, index in enumerate(order[:3])),
    ]
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=[4, 7.5])
    left, right = halves
    _show(left.subplots(), draw_atoms(dictionary.atoms[order]))
    left.suptitle(f"{len(order)} atoms, the most used first", fontsize=SMALL + 1)
    for axes, (title, pixels) in zip(right.subplots(2, 4).flatten(), panels, strict=True):
        _show(axes, pixels)
        axes.set_title(title, fontsize=SMALL)
    return figure


def plot_layers(
    picture: Tensor, smooth: Tensor, layers: Sequence[Layer], filters: Tensor, swapped: Sequence[tuple[str, Tensor]]
) -> Figure:
    """Show a picture (C, H, W), what each layer makes of it, and what other switches would make of the same maps.

    `filters` are the first layer's; `swapped` are captions and what was reconstructed, (C, H, W), without the smooth part.
    """
    made = [(f"layer {number}", layer.made[0]) for number, layer in enumerate(layers, 1)]
    panels = [("picture", picture), ("its smooth part", smooth)]
    panels += [(caption, smooth + one) for caption, one in (*made, *swapped)]
    figure = Figure(figsize=(1.45 * (len(panels) + 1), 1.8), layout="constrained")
    grid = figure.subplots(1, len(panels) + 1)
    _show(grid[0], draw_atoms(filters))
    grid[0].set_title("filters of layer 1", fontsize=SMALL)
    for axes, (title, one) in zip(grid[1:], panels, strict=True):
        _show(axes, _pixels(one))
        axes.set_title(title if one is picture else f"{title}\n{_closeness(picture, one)}", fontsize=SMALL)
    return figure


def draw_atoms(atoms: Tensor) -> npt.NDArray[np.uint8]:
    """Draw atoms (M, C, h, w) as a page of squares, zero mid-grey, each on its own scale: (H, W, 3), 0..255."""
    tiles = apply_tone(list(atoms.detach().cpu().numpy()))
    columns = math.ceil(math.sqrt(len(tiles)))
    tall, wide = tiles[0].shape[0] + 1, tiles[0].shape[1] + 1
    page = np.full((math.ceil(len(tiles) / columns) * tall + 1, columns * wide + 1, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * tall + 1, index % columns * wide + 1
        page[top : top + tall - 1, left : left + wide - 1] = tile
    return page


def _coloured(labels: npt.NDArray[Any], names: Sequence[str]) -> npt.NDArray[np.uint8]:
    """(H, W) labels -> (H, W, 3)."""
    palette = np.array([[int(COLOURS[name][place : place + 2], 16) for place in (1, 3, 5)] for name in names], np.uint8)
    return palette[labels]


def _pixels(picture: Tensor) -> npt.NDArray[np.uint8]:
    """(C, H, W) in 0..1, what lies beyond clipped -> (H, W, 3), 0..255."""
    values = picture.detach().cpu().clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0).numpy()
    return np.rint(255 * values).astype(np.uint8)


def _grey(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(H, W), zero black, the largest white -> (H, W, 3)."""
    return apply_tone([values[None]], "positive", percentile=100)[0]


def _dark(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(H, W), zero white, the largest black: a few codes on paper."""
    return 255 - _grey(values)


def _show(axes: Axes, pixels: npt.NDArray[np.uint8]) -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#999999")
    axes.spines[:].set_linewidth(0.5)
