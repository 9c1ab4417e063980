"""Occlusion (Zeiler & Fergus 2014, 4.2, Fig. 7): a square slides over the picture; what becomes of a map, and of the class?

The paper does not tell the square's size, stride or grey. Here: 27 pixels in steps of 7 at 224 (a reproduction's choice), in
proportion for other sizes, filled with the mean that the preprocessing subtracts. Squares lie wholly inside the picture; the
last of a row and of a column is flush with the edge, so that all pixels are covered, and each position is computed once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..choices import Tone
from ..errors import OptionError, check_option
from ..inputs import PictureInput, PictureInputs, as_batch, as_list, only_picture, source_names
from ..net import DeconvNet
from ..projection import PROGRESS_DELAY, as_maps, check_unit, default_layer
from ..recording import Recording
from ..render.tone import apply_tone
from ..units import Unit
from .forward import Forward, fill_colour, seen_pixels, strongest
from .result import (
    PIXELS,
    add_footer,
    class_shares,
    cut_window,
    new_figure,
    read_label,
    settings_of,
    shown_window,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The square and the stride in a picture whose short side is 224 pixels.
SQUARE, STRIDE, AT = 27, 7, 224


@dataclass(frozen=True)
class OtherPicture:
    """The strongest unit of the same map in another picture."""

    source: str
    activation: float
    pixels: np.ndarray[Any, Any] = field(metadata=PIXELS)  # (h, w, 3) uint8: the patch in the unit's window
    projection: np.ndarray[Any, Any] = field(metadata=PIXELS)  # (C, h, w) in the same window


@dataclass(frozen=True)
class Occlusion:
    """What occluding each place does. P rows and Q columns of positions; `tops` and `lefts` are the squares' corners."""

    picture: np.ndarray[Any, Any] = field(metadata=PIXELS)  # (H, W, 3) uint8: what the net saw
    tops: np.ndarray[Any, Any]  # (P,) pixels
    lefts: np.ndarray[Any, Any]  # (Q,) pixels
    totals: np.ndarray[Any, Any]  # (P, Q): the map's total activation with the square there
    shares: np.ndarray[Any, Any] | None  # (P, Q): P(class); None where the net is no classifier
    answers: np.ndarray[Any, Any] | None  # (P, Q): the likeliest class
    total: float  # of the whole picture
    share: float | None
    projection: np.ndarray[Any, Any] = field(metadata=PIXELS)  # (C, H, W): the map of the whole picture, signed
    window: np.ndarray[Any, Any]  # top, left, height, width of the pixels that the map's strongest unit sees
    others: tuple[OtherPicture, ...]
    names: dict[str, str]  # of the classes in `answers` and of the label, by number
    settings: dict[str, Any]


def run(
    net: DeconvNet,
    picture: PictureInput,
    *,
    layer: str | None = None,
    channel: int | None = None,
    strongest_by: str = "total",
    label: int | str | None = None,
    square: int | None = None,
    stride: int | None = None,
    fill: str | Sequence[float] = "mean",
    others: PictureInputs = (),
    batch: int | None = None,
) -> Occlusion:
    """Slide a square over a picture, and watch one map and one class.

    `layer`: by default the last rectified one with maps; `channel`: by default the strongest of the whole picture, by its
    "total" activation or its "max". `label`: a class's number or name, by default what the net says. `square`, `stride`:
    pixels. `fill`: "mean", "picture", "black", "white", or a colour, 0..1. `others`: pictures in which the same map's
    strongest units are looked for, to be shown beside it; the picture itself is passed over. `batch`: squares a forward pass.

        >>> occlude.run(net, "dog.jpg", square=27, stride=7).shares.shape
        (11, 11)
    """
    check_option("strongest_by", strongest_by, ("total", "max"))
    if batch is not None and batch < 1:
        raise OptionError(f"batch cannot be {batch}: it is squares a forward pass, 1 or more.")
    picture = only_picture(picture)
    recording = net.record(as_batch(net, picture), stop=False)
    layer = layer or default_layer(recording)
    maps = as_maps(recording.kept_activations(layer), recording.layout(layer), layer)[0].float().cpu()
    channel = int(_strength(maps, strongest_by).argmax()) if channel is None else channel
    check_unit(Unit(layer, channel), maps.shape)
    height, width = recording.images.shape[2:]
    square, stride = _sizes(square, stride, height, width)
    tops, lefts = positions(height, square, stride), positions(width, square, stride)
    before = class_shares(recording.output)
    number = None if before is None else _label(net, before, label)
    colour = fill_colour(net, recording.images[0], fill)
    totals, shares, answers = _slide(net, recording, layer, channel, number, (tops, lefts, square, colour), batch)
    seen = set() if answers is None or number is None else {number, *np.unique(answers).tolist()}
    projection = net.project(recording, layer, channels=[channel])
    settings = settings_of(net, "occlude", picture=source_names(picture)[0], layer=layer, channel=channel, label=number)
    return Occlusion(
        picture=seen_pixels(net, recording.images[0]),
        tops=tops,
        lefts=lefts,
        totals=totals,
        shares=shares,
        answers=answers,
        total=float(maps[channel].sum()),
        share=None if before is None or number is None else float(before[0, number]),
        projection=net.project(recording, layer, channels=[channel], unit="map").pixels[0].numpy(),
        window=np.array(projection.windows[0].to_list()),
        others=_others(net, recording, layer, channel, others),
        names={str(one): net.loaded.class_name(one) for one in sorted(seen)},
        settings=settings | {"square": square, "stride": stride, "fill": fill, "strongest_by": strongest_by},
    )


def positions(length: int, square: int, stride: int) -> np.ndarray[Any, Any]:
    """Return where squares begin along a side of `length` pixels: every `stride`, and once flush with its end.

    >>> positions(10, square=4, stride=4)
    array([0, 4, 6])
    """
    return np.unique([*range(0, length - square, stride), length - square])


def _sizes(square: int | None, stride: int | None, height: int, width: int) -> tuple[int, int]:
    short = min(height, width)
    square = max(1, round(SQUARE * short / AT)) if square is None else square
    stride = max(1, round(STRIDE * short / AT)) if stride is None else stride
    if not 1 <= square <= short:
        raise OptionError(f"square cannot be {square}: it is pixels, 1 to {short}, the picture's short side.")
    if stride < 1:
        raise OptionError(f"stride cannot be {stride}: it is pixels, 1 or more.")
    return square, stride


def _strength(maps: Tensor, by: str) -> Tensor:
    return maps.sum((1, 2)) if by == "total" else maps.amax((1, 2))


def _label(net: DeconvNet, shares: Tensor, label: int | str | None) -> int:
    return int(shares[0].argmax()) if label is None else read_label(net, label, shares.shape[1])


def _slide(
    net: DeconvNet, recording: Recording, layer: str, channel: int, label: int | None, squares: Any, batch: int | None
) -> tuple[np.ndarray[Any, Any], Any, Any]:
    """Run every position through the net, and keep three numbers of each."""
    tops, lefts, square, colour = squares
    layout, forward = recording.layout(layer), Forward(net, [layer], recording)
    size = batch or forward.batch
    places = [(int(top), int(left)) for top in tops for left in lefts]
    totals: list[Tensor] = []
    shares: list[Tensor] = []
    answers: list[Tensor] = []

    def total(name: str, activations: Tensor) -> Tensor:
        return as_maps(activations, layout, name)[:, channel].sum((1, 2), dtype=torch.float32).cpu()

    image = recording.images.contiguous(memory_format=forward.order)
    with tqdm(total=len(places), desc="occluding", unit="square", delay=PROGRESS_DELAY, leave=False, disable=None) as bar:
        for first in range(0, len(places), size):
            some = places[first : first + size]
            images = image.repeat(len(some), 1, 1, 1)
            for number, (top, left) in enumerate(some):
                images[number, :, top : top + square, left : left + square] = colour
            output, found = forward(images, total)
            totals.append(found[layer])
            likely = class_shares(output)
            if likely is not None and label is not None:
                shares.append(likely[:, label])
                answers.append(likely.argmax(1))
            bar.update(len(some))
    shape = (len(tops), len(lefts))
    if not shares:
        return torch.cat(totals).view(shape).numpy(), None, None
    return tuple(torch.cat(part).view(shape).numpy() for part in (totals, shares, answers))  # type: ignore[return-value]


def _others(
    net: DeconvNet, recording: Recording, layer: str, channel: int, others: PictureInputs, count: int = 3
) -> tuple[OtherPicture, ...]:
    """Find the map's strongest units in other pictures, and project them; the occluded one itself is left out."""
    if isinstance(others, Sequence) and not others:
        return ()
    pictures = as_list(others)
    images, sources = as_batch(net, pictures), source_names(pictures)
    values, places = strongest(net, images, recording, [layer])[layer]
    values[(images == recording.images.to(images)).flatten(1).all(1).numpy(force=True)] = 0
    best = [int(number) for number in np.argsort(-values[:, channel], kind="stable")[:count]]
    width = as_maps(recording.kept_activations(layer), recording.layout(layer), layer).shape[3]
    found = []
    for number in (number for number in best if values[number, channel] > 0):
        one = net.record(images[number : number + 1], layers=[layer])
        unit = (channel, *divmod(int(places[number, channel]), width))
        projection = net.project(one, layer, units=[unit])
        window = shown_window(projection.windows[0], projection.frame)
        seen = np.moveaxis(seen_pixels(net, one.images[0]), 2, 0)
        found.append(
            OtherPicture(
                sources[number],
                float(values[number, channel]),
                pixels=np.moveaxis(cut_window(seen, window, beyond=255), 0, 2),
                projection=cut_window(projection.pixels[0].numpy(), window),
            )
        )
    return tuple(found)


def plot(result: Occlusion, *, tone: Tone = "symmetric") -> Figure:
    """Draw the paper's row: the picture, the map's total activation, its projection, P(class), and the likeliest class."""
    panels, settings = 3 if result.shares is None else 5, result.settings
    heights = [3.1, 0.42, 1.9] if result.others else [3.1, 0.42]
    figure = new_figure(3.1 * panels, sum(heights) + 1.1)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    axes: Any = grid[0].subgridspec(1, panels).subplots()
    keys: Any = grid[1].subgridspec(1, panels).subplots()  # below each panel: what its colours mean
    for one, key in zip(axes, keys, strict=True):
        one.set(xticks=[], yticks=[])
        key.set_axis_off()
    _draw_picture(axes[0], result)
    map_name = f"{settings['layer']}, channel {settings['channel']}"
    _draw_map(axes[1], keys[1], result, result.totals, f"total activation of\n{map_name} (whole: {result.total:.4g})")
    axes[2].imshow(apply_tone([result.projection], tone)[0])
    axes[2].set_title(f"projection of\n{map_name}", fontsize=9)
    axes[2].add_patch(_square(result))
    if result.shares is not None:
        name = result.names[str(settings["label"])]
        _draw_map(axes[3], keys[3], result, result.shares, f"P({name})\n(whole: {result.share:.1%})", most=1)
        _draw_answers(axes[4], keys[4], result)
    if result.others:
        _draw_others(grid[2].subgridspec(1, 2 * len(result.others)).subplots(), result, tone)
    step = f"square {settings['square']} px, stride {settings['stride']} px, fill {_fill_text(settings['fill'])}"
    add_footer(figure, settings, step)
    return figure


def _fill_text(fill: Any) -> str:
    return fill if isinstance(fill, str) else ",".join(f"{part:g}" for part in fill)


def _square(result: Occlusion) -> Any:
    """Return the square where it took most of the map away."""
    from matplotlib.patches import Rectangle

    row, col = np.unravel_index(result.totals.argmin(), result.totals.shape)
    side = result.settings["square"]
    return Rectangle(
        (result.lefts[col] - 0.5, result.tops[row] - 0.5), side, side, fill=False, edgecolor="black", linewidth=1.5
    )


def _draw_picture(axes: Any, result: Occlusion) -> None:
    axes.imshow(result.picture)
    square = _square(result)
    square.set(fill=True, facecolor="0.5")
    axes.add_patch(square)
    axes.set_title("picture, with the square where\nit takes most from the map", fontsize=9)


def _edges(starts: np.ndarray[Any, Any], square: int, length: int) -> np.ndarray[Any, Any]:
    """Return where one position's cell ends and the next begins: half-way between centres; the outer ones reach the edge."""
    centres = starts + square / 2 - 0.5
    return np.concatenate([[-0.5], (centres[1:] + centres[:-1]) / 2, [length - 0.5]])


def _cells(axes: Any, result: Occlusion, values: Any, **how: Any) -> Any:
    height, width = result.picture.shape[:2]
    side = result.settings["square"]
    mesh = axes.pcolormesh(_edges(result.lefts, side, width), _edges(result.tops, side, height), values, **how)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
    return mesh


def _draw_map(axes: Any, key: Any, result: Occlusion, values: Any, title: str, most: float | None = None) -> None:
    mesh = _cells(axes, result, values, cmap="viridis", vmin=0 if most else None, vmax=most)
    axes.set_title(title, fontsize=9)
    inner = key.inset_axes((0.1, 0.6, 0.8, 0.35))
    axes.figure.colorbar(mesh, cax=inner, orientation="horizontal").ax.tick_params(labelsize=7)


def _draw_answers(axes: Any, key: Any, result: Occlusion, most: int = 6) -> None:
    """Draw the likeliest class of each position; the rarest share one grey."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    answers: Any = result.answers
    order = [number for number, _ in Counter(answers.ravel().tolist()).most_common()]
    named = order[:most] if len(order) <= most else order[: most - 1]
    colours = [*(f"C{at}" for at in range(len(named))), "0.7"]
    places = {number: at for at, number in enumerate(named)}
    indices = [[places.get(number, len(named)) for number in row] for row in answers.tolist()]
    _cells(axes, result, indices, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5)
    axes.set_title("likeliest class\n", fontsize=9)
    keys = [Patch(color=colour, label=result.names[str(number)]) for number, colour in zip(named, colours, strict=False)]
    keys += [Patch(color="0.7", label=f"{len(order) - len(named)} others")] if len(order) > len(named) else []
    key.legend(handles=keys, fontsize=7, loc="upper center", ncols=3, frameon=False, borderpad=0)


def _draw_others(axes: Any, result: Occlusion, tone: Tone) -> None:
    """Draw the map's strongest units in other pictures: patch and projection, side by side."""
    tones = apply_tone([other.projection for other in result.others], tone)
    for number, (other, toned) in enumerate(zip(result.others, tones, strict=True)):
        for one, shown in zip(axes[2 * number : 2 * number + 2], (other.pixels, toned), strict=True):
            one.imshow(shown)
            one.set(xticks=[], yticks=[])
        axes[2 * number].set_title(f"same map in {other.source[-22:]}", fontsize=7)
        axes[2 * number + 1].set_title(f"activation {other.activation:.4g}", fontsize=7)
