"""Feature invariance (Zeiler & Fergus 2014, 4.1, Fig. 5): translate, scale and rotate pictures; how far do features move?

For each picture the Euclidean distance between the features of the picture and of its transform, in a low and a high layer, and
the probability of its class. The paper's ranges: -60 to 60 pixels of 224, scale 1 to 1.8, rotation 0 to 350 degrees. It tells
neither the steps, nor what fills the border, nor the interpolation, nor how distances were normalised: all are options here.
What is transformed is the picture that the net sees, after cropping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..errors import OptionError, check_option
from ..inputs import PictureInputs, as_batch, source_names
from ..net import DeconvNet
from ..projection import PROGRESS_DELAY
from .forward import FILLS, check_layers, features, fill_colour, seen_pixels
from .result import (
    PIXELS,
    add_footer,
    class_shares,
    draw_tiles,
    first_layer,
    new_figure,
    read_label,
    settings_of,
    top_layer,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The paper's range of translations, in pixels of a picture whose short side is 224.
FARTHEST, AT = 60, 224
KINDS = ("translation", "scale", "rotation")
UNITS = {"translation": "pixels", "scale": "ratio", "rotation": "degrees"}
DISTANCES = ("relative", "rms", "plain")


@dataclass(frozen=True)
class Sweep:
    """One kind of transformation at S values, for P pictures."""

    values: np.ndarray[Any, Any]  # (S,): pixels down or right, ratio, or degrees counter-clockwise
    distances: dict[str, np.ndarray[Any, Any]]  # layer -> (P, S)
    shares: np.ndarray[Any, Any] | None  # (P, S): P(class); None where the net is no classifier
    shown: np.ndarray[Any, Any] = field(metadata=PIXELS)  # (P, H, W, 3) uint8: each picture at one of the values
    shown_at: float


@dataclass(frozen=True)
class Invariance:
    """How far features move. `labels` and `classes`: of each picture; `sources`: its name."""

    translation: Sweep
    scale: Sweep
    rotation: Sweep
    sources: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    settings: dict[str, Any]


def run(
    net: DeconvNet,
    pictures: PictureInputs,
    *,
    layers: Sequence[str] | None = None,
    labels: Sequence[int | str] | None = None,
    axis: str = "vertical",
    values: Mapping[str, Sequence[float]] | None = None,
    distance: str = "relative",
    fill: str | Sequence[float] = "mean",
    interpolation: str = "bilinear",
) -> Invariance:
    """Transform pictures step by step, and measure how their features and the class's probability change.

    `layers`: by default the first rectified one and the last below the classifier (the paper's 1 and 7). `labels`: each
    picture's class, by default what the net says of it. `axis`: "vertical" or "horizontal" translation. `values`: of
    "translation" (pixels), "scale", "rotation" (degrees), where others than the paper's ranges are wanted. `distance`:
    "relative" to the length of the untransformed features, "rms" (root mean square over features) or "plain". `fill`: what
    comes in at the border: "mean", "picture", "black", "white", "edge" (the border goes on), or a colour. `interpolation`:
    "bilinear", "bicubic" or "nearest".

        >>> invariance.run(net, ["dog.jpg"]).rotation.values[:3]
        array([ 0., 10., 20.])
    """
    check_option("axis", axis, ("vertical", "horizontal"))
    check_option("distance", distance, DISTANCES)
    check_option("interpolation", interpolation, ("bilinear", "bicubic", "nearest"))
    images, sources = as_batch(net, pictures), source_names(pictures)
    recording = net.record(images[:1], stop=False)
    layers = list(dict.fromkeys(layers or [first_layer(recording), top_layer(recording)]))
    check_layers(recording, layers)
    swept = swept_values(images.shape[2:], values)
    numbers = _labels(net, [class_shares(next(features(net, image[None], [])).output) for image in images], labels)
    tilt = Transform(axis, interpolation, fill)
    total = len(images) * sum(map(len, swept.values()))
    with tqdm(total=total, desc="transforming", unit="picture", delay=PROGRESS_DELAY, leave=False, disable=None) as bar:
        sweeps = {kind: _sweep(net, images, layers, numbers, kind, swept[kind], tilt, distance, bar) for kind in KINDS}
    settings = settings_of(net, "invariance", pictures=sources, layers=list(layers), axis=axis, distance=distance)
    settings |= {"fill": fill, "interpolation": interpolation}
    classes = tuple(net.loaded.class_name(number) for number in numbers)
    return Invariance(**sweeps, sources=tuple(sources), labels=tuple(numbers), classes=classes, settings=settings)


def swept_values(size: Sequence[int], given: Mapping[str, Sequence[float]] | None = None) -> dict[str, np.ndarray[Any, Any]]:
    """Return the values of each kind for pictures of (H, W): the paper's ranges, translations in proportion, whole pixels."""
    far = round(FARTHEST * min(size) / AT)
    values = {
        "translation": np.unique(np.linspace(-far, far, 25).round()),
        "scale": np.linspace(1, 1.8, 17),
        "rotation": np.arange(0.0, 360.0, 10.0),
    }
    for kind, own in (given or {}).items():
        check_option("values", kind, KINDS)
        values[kind] = np.asarray(own, dtype=np.float64)
        if values[kind].ndim != 1 or not len(values[kind]) or not np.isfinite(values[kind]).all():
            raise OptionError(f"the values of {kind} must be a list of numbers, one or more.")
    if (values["scale"] <= 0).any():
        raise OptionError(f"scale cannot be {values['scale'].min():g}: it is a ratio above 0; 1 leaves the picture as it is.")
    return values


@dataclass(frozen=True)
class Transform:
    """How pictures are moved: along which axis, with which interpolation, and what comes in at the border."""

    axis: str = "vertical"
    interpolation: str = "bilinear"
    fill: str | Sequence[float] = "mean"

    def __call__(self, net: DeconvNet, image: Tensor, kind: str, values: Sequence[float]) -> Tensor:
        """Return an image (C, H, W), as the net expects it, transformed to each value: (S, C, H, W)."""
        places = torch.cat([self._places(kind, float(value), *image.shape[1:]) for value in values])
        image, device = image.cpu(), image.device  # in double precision, which not every device has
        edge = self.fill == "edge"
        if isinstance(self.fill, str):
            check_option("fill", self.fill, (*FILLS, "edge"))
        colour = fill_colour(net, image, "mean" if edge else self.fill).double()
        moved = F.grid_sample(
            (image.double() - colour).expand(len(values), *image.shape),
            places,
            mode=self.interpolation,
            padding_mode="border" if edge else "zeros",
            align_corners=False,
        )
        return (moved + colour).to(device, image.dtype)

    def _places(self, kind: str, value: float, height: int, width: int) -> Tensor:
        """Return where each pixel of the transform comes from, (1, H, W, 2) as `grid_sample` wants it, in double precision."""
        rows = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2
        cols = torch.arange(width, dtype=torch.float64)[None] - (width - 1) / 2
        if kind == "translation":
            rows, cols = (rows - value, cols) if self.axis == "vertical" else (rows, cols - value)
        elif kind == "scale":
            rows, cols = rows / value, cols / value
        else:  # counter-clockwise as seen, with rows that grow downwards
            cosine, sine = np.cos(np.radians(value)), np.sin(np.radians(value))
            rows, cols = cosine * rows + sine * cols, cosine * cols - sine * rows
        across, down = (2 * cols / width).expand(height, width), (2 * rows / height).expand(height, width)
        return torch.stack([across, down], 2)[None]


def _labels(net: DeconvNet, shares: Sequence[Tensor | None], labels: Sequence[int | str] | None) -> list[int]:
    """Return each picture's class, or nothing where the net is no classifier."""
    if any(share is None for share in shares):
        return []
    if labels is not None and len(labels) != len(shares):
        raise OptionError(f"labels must be one for each of the {len(shares)} pictures; found {len(labels)}.")
    if labels is None:
        return [int(share[0].argmax()) for share in shares if share is not None]
    return [read_label(net, label, share.shape[1]) for label, share in zip(labels, shares, strict=True) if share is not None]


def _sweep(
    net: DeconvNet,
    images: Tensor,
    layers: Sequence[str],
    labels: Sequence[int],
    kind: str,
    values: np.ndarray[Any, Any],
    transform: Transform,
    distance: str,
    bar: Any,
) -> Sweep:
    at = {"translation": 0.25, "scale": 0.75, "rotation": 0.1}[kind]  # far enough to be seen in the figure
    example = float(values[round(at * (len(values) - 1))])
    distances: dict[str, list[float]] = {layer: [] for layer in layers}
    shares: list[float] = []
    shown = []
    for number, image in enumerate(images):  # features are let go at once: those of all pictures may fill the memory
        still = next(features(net, image[None], layers)).layers
        for part in features(net, transform(net, image, kind, values.tolist()), layers):
            for layer, rows in distances.items():
                rows += _distance(part.layers[layer], still[layer], distance).tolist()
            likely = class_shares(part.output) if labels else None
            if likely is not None:
                shares += likely[:, labels[number]].tolist()
        shown.append(seen_pixels(net, transform(net, image, kind, [example])[0]))
        bar.update(len(values))
    table = len(images), len(values)
    return Sweep(
        values=values,
        distances={layer: np.array(rows).reshape(table) for layer, rows in distances.items()},
        shares=np.array(shares).reshape(table) if shares else None,
        shown=np.stack(shown),
        shown_at=example,
    )


def _distance(moved: Tensor, still: Tensor, how: str) -> Tensor:
    """Return the Euclidean distances (S,) of features (S, ...) to those of one picture (1, ...)."""
    still = still.cpu().double().flatten(1)
    plain = (moved.cpu().double().flatten(1) - still).norm(dim=1)
    if how == "relative":
        return plain / still.norm().clamp(min=1e-12)
    return plain / still.shape[1] ** 0.5 if how == "rms" else plain


def plot(result: Invariance) -> Figure:
    """Draw the paper's figure: a row a transformation; examples, the distance in each layer, and P(class)."""
    layers = list(result.translation.distances)
    columns = 1 + len(layers) + (result.translation.shares is not None)
    figure = new_figure(3.3 * columns, 8.2)
    axes: Any = figure.subplots(len(KINDS), columns)
    colours = [f"C{number % 10}" for number in range(len(result.sources))]
    axis = result.settings["axis"]
    for kind, row in zip(KINDS, axes, strict=True):
        sweep: Sweep = getattr(result, kind)
        name = f"{axis} translation" if kind == "translation" else kind
        draw_tiles(row[0], list(sweep.shown), colours)
        unit = "" if kind == "scale" else f" {UNITS[kind]}"
        row[0].set_title(f"{name}, here {sweep.shown_at:g}{unit}", fontsize=9)
        lines = list(sweep.distances.items())
        for one, (layer, distances) in zip(row[1:], lines, strict=False):
            _draw_lines(one, sweep.values, distances, colours, f"{_DISTANCE[result.settings['distance']]}, {layer}")
            one.set_ylim(bottom=0)
        if sweep.shares is not None:
            _draw_lines(row[-1], sweep.values, sweep.shares, colours, "P(class)")
            row[-1].set_ylim(-0.02, 1.02)
        for one in row[1:]:
            one.set_xlabel(f"{name} ({UNITS[kind]})", fontsize=8)
    _draw_key(axes[0, -1], result, colours)
    options = result.settings
    fill = options["fill"] if isinstance(options["fill"], str) else ",".join(f"{part:g}" for part in options["fill"])
    add_footer(figure, options, f"border {fill}", options["interpolation"])
    return figure


_DISTANCE = {"relative": "relative distance", "rms": "RMS distance", "plain": "distance"}


def _draw_lines(axes: Any, values: Any, rows: Any, colours: Sequence[str], title: str) -> None:
    for row, colour in zip(rows, colours, strict=True):
        axes.plot(values, row, color=colour, linewidth=1.3)
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
    axes.margins(x=0.01)


def _draw_key(axes: Any, result: Invariance, colours: Sequence[str], most: int = 10) -> None:
    """Name the pictures by their classes, below the first plot of probabilities."""
    if not result.classes or len(result.classes) > most:
        return
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], color=colour, label=name) for colour, name in zip(colours, result.classes, strict=True)]
    axes.legend(handles=keys, fontsize=7, loc="best")
