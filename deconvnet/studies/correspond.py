"""Correspondence (Zeiler & Fergus 2014, 4.3, Table 1): does the net relate the same part in different pictures?

The same part is masked in several pictures. In a layer, eps_i = x_i - x~_i is how masking it moved the features of picture i.
Where the net knows of the part, it moves them alike: the Hamming distance of sign(eps_i) and sign(eps_j), over all pairs, is
then lower than for masks at random places. The paper's printed numbers (0.07) are means over features and pairs, so that is
what stands here. A sign is one of three: features that do not change have none. Rounding is no change: below `tolerance`
times the largest feature of the picture, eps counts as 0.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..drawings import Drawing
from ..errors import OptionError, PictureError
from ..images import Preprocess, open_picture
from ..inputs import PictureInput, PictureInputs, as_batch, as_list, source_names
from ..net import DeconvNet
from ..projection import default_layer
from ..render.table import table_text
from ..units import Window
from .forward import check_layers, features, fill_colour, seen_pixels
from .result import FAINT, PIXELS, add_footer, new_figure, settings_of, top_layer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Part -> top, left, height, width, in pixels of a picture.
Boxes: TypeAlias = "Mapping[str, Window | Sequence[int]]"
RANDOM = "random"


@dataclass(frozen=True)
class Row:
    """One line of the table: a part, or random places. Of each layer:"""

    name: str
    mean: dict[str, float]  # Hamming distance as a share of the features, over all pairs of pictures
    spread: dict[str, float]  # its standard deviation
    changed: dict[str, float]  # the share of features that masking changes at all
    distances: dict[str, np.ndarray[Any, Any]]  # (masks, pairs)


@dataclass(frozen=True)
class Correspondence:
    """A row for each part, and last the control. `pairs`: which pictures, (pairs, 2)."""

    rows: tuple[Row, ...]
    layers: tuple[str, ...]
    pairs: np.ndarray[Any, Any]
    sources: tuple[str, ...]
    boxes: dict[str, np.ndarray[Any, Any]]  # part -> (P, 4): top, left, height, width in what the net saw
    pictures: np.ndarray[Any, Any] = field(metadata=PIXELS)  # (P, H, W, 3) uint8: what the net saw
    settings: dict[str, Any]


def run(
    net: DeconvNet,
    pictures: PictureInputs,
    parts: Sequence[Boxes],
    *,
    layers: Sequence[str] | None = None,
    fill: str | Sequence[float] = "mean",
    trials: int = 12,
    seed: int = 0,
    tolerance: float = 1e-5,
) -> Correspondence:
    """Mask the same part in all pictures, part by part, and compare how the features move.

    `parts`: for each picture {part: box}, a box being [top, left, height, width] in that picture's pixels (of a tensor: in
    the image's). All pictures must have the same parts. `layers`: by default the last rectified one with maps and the last
    below the classifier (the paper's 5 and 7). `fill`: what stands in the mask. `trials`: of random masks; each is as large
    as one of the parts in turn, and lies anywhere wholly inside the picture.

        >>> result = correspond.run(net, ["a.jpg", "b.jpg"], [{"nose": [90, 80, 30, 40]}, {"nose": [85, 99, 28, 36]}])
        >>> print(correspond.table(result))
        mean feature sign change  features.13    classifier.3
        nose                      0.237 ± 0.000  0.703 ± 0.000
        random                    0.340 ± 0.041  0.757 ± 0.055
    """
    inputs = as_list(pictures)
    sources = source_names(inputs)
    names = _same_parts(parts, sources)
    if trials < 1:
        raise OptionError(f"trials cannot be {trials}: it is the number of random masks of each picture, 1 or more.")
    images = as_batch(net, inputs)
    recording = net.record(images[:1], stop=False)
    chosen = list(dict.fromkeys(layers or (default_layer(recording), top_layer(recording))))
    check_layers(recording, chosen)
    boxes = [
        {name: _seen_box(net, picture, source, name, own[name], images.shape[2:]) for name in names}
        for picture, source, own in zip(inputs, sources, parts, strict=True)
    ]
    rng = np.random.default_rng(seed)
    control = [[_elsewhere(rng, own[names[trial % len(names)]], images.shape[2:]) for trial in range(trials)] for own in boxes]
    signs: dict[str, list[Tensor]] = {layer: [] for layer in chosen}
    for image, own, random in zip(images, boxes, control, strict=True):
        masks = [*own.values(), *random]
        for layer, values in _signs(net, image, masks, chosen, fill_colour(net, image, fill), tolerance).items():
            signs[layer].append(values)
    pairs = list(combinations(range(len(images)), 2))
    stacked = {layer: torch.stack(values, 1) for layer, values in signs.items()}  # (masks, P, F)
    groups = {**{name: slice(at, at + 1) for at, name in enumerate(names)}, RANDOM: slice(len(names), None)}
    settings = settings_of(net, "correspond", pictures=sources, layers=chosen, parts=names, fill=fill)
    return Correspondence(
        rows=tuple(
            _row(name, {layer: values[own] for layer, values in stacked.items()}, pairs) for name, own in groups.items()
        ),
        layers=tuple(chosen),
        pairs=np.array(pairs),
        sources=tuple(sources),
        boxes={name: np.array([own[name].to_list() for own in boxes]) for name in names},
        pictures=np.stack([seen_pixels(net, image) for image in images]),
        settings=settings | {"trials": trials, "seed": seed, "tolerance": tolerance},
    )


def read_boxes(path: str | os.PathLike[str]) -> tuple[list[Path], list[dict[str, list[int]]]]:
    """Read {picture: {part: [top, left, height, width]}} from a JSON file; pictures are found from its folder.

    Boxes are in pixels of the picture as it is shown, upright. Every picture has the same parts.

        {"dog1.jpg": {"right eye": [88, 60, 20, 26], "nose": [120, 84, 30, 34]},
         "dog2.jpg": {"right eye": [70, 95, 18, 24], "nose": [99, 120, 28, 30]}}
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"cannot read boxes from {str(path)!r}: {error.strerror}. Check the path.") from error
    except ValueError as error:
        raise OptionError(f"cannot read boxes from {str(path)!r}: it is not JSON ({error}).") from error
    wanted = 'Write {"picture.jpg": {"part": [top, left, height, width]}}'
    if not isinstance(content, dict) or not all(isinstance(parts, dict) and parts for parts in content.values()):
        raise OptionError(f"{str(path)!r} holds no boxes of parts. {wanted}.")
    for name, parts in content.items():
        for part, box in parts.items():
            if not (isinstance(box, list) and len(box) == 4 and all(type(side) is int for side in box)):
                raise OptionError(f"{str(path)!r}: the box of {part!r} in {name!r} is {box!r}. {wanted}, in whole pixels.")
    return [path.parent / name for name in content], list(content.values())


def boxes_of(drawing: Drawing, parts: Sequence[str]) -> dict[str, Window]:
    """Return the smallest boxes around parts of a drawing, which knows where they are seen."""
    found = {}
    for part in parts:
        if part not in drawing.parts:
            raise OptionError(f"this {drawing.name} shows no {part!r}. It shows {', '.join(sorted(drawing.parts))}.")
        rows, cols = np.nonzero(drawing.parts[part])
        top, left = int(rows.min()), int(cols.min())
        found[part] = Window(top, left, int(rows.max()) + 1 - top, int(cols.max()) + 1 - left)
    return found


def table(result: Correspondence) -> str:
    """Return the paper's Table 1: a row a part, a column a layer, the mean distance and its standard deviation."""
    rows = [("mean feature sign change", *result.layers)]
    for row in result.rows:
        rows.append((row.name, *(f"{row.mean[layer]:.3f} ± {row.spread[layer]:.3f}" for layer in result.layers)))
    return table_text(rows)


def _same_parts(parts: Sequence[Boxes], sources: Sequence[str]) -> list[str]:
    if len(parts) != len(sources):
        raise OptionError(f"parts must be one for each of the {len(sources)} pictures; found {len(parts)}.")
    if len(parts) < 2:
        raise OptionError(f"pictures are compared in pairs: give two or more; found {len(parts)}.")
    for source, own in zip(sources, parts, strict=True):
        different = sorted(set(own) ^ set(parts[0]))
        if different:
            raise OptionError(f"all pictures must have the same parts: {different[0]!r} is not in all of them ({source}).")
    if not parts[0] or RANDOM in parts[0]:
        raise OptionError(f"parts must have names, one or more, and none may be {RANDOM!r}: that is the control.")
    return list(parts[0])


def _seen_box(
    net: DeconvNet, picture: PictureInput, source: str, name: str, box: Window | Sequence[int], size: Sequence[int]
) -> Window:
    """Return a box of a picture's pixels in the pixels that the net sees, by sending a mask the picture's own way."""
    if not isinstance(box, Window) and len(box) != 4:
        raise OptionError(f"{name!r} in {source}: its box {list(box)} is not [top, left, height, width].")
    window = box if isinstance(box, Window) else Window(*box)
    height, width = size
    if not isinstance(picture, Tensor):
        if not isinstance(net.preprocess, Preprocess):
            raise PictureError(f"{net.name} has a preprocessing of its own kind: give images as a tensor, and boxes in them.")
        mask = Image.new("RGB", open_picture(picture.picture if isinstance(picture, Drawing) else picture).size)
        mask.paste((255, 255, 255), (window.left, window.top, window.right, window.bottom))
        rows, cols = np.nonzero(np.asarray(net.preprocess.crop_picture(mask).convert("L")) > 127)
        bounds = (rows.min(), cols.min(), np.ptp(rows) + 1, np.ptp(cols) + 1) if len(rows) else (0, 0, 0, 0)
        window = Window(*map(int, bounds))
    inside = window.clip(height, width)
    if not inside.height * inside.width:
        raise OptionError(f"{name!r} in {source}: its box {list(_numbers(box))} is not in what the net sees.")
    return inside


def _numbers(box: Window | Sequence[int]) -> Sequence[int]:
    return box.to_list() if isinstance(box, Window) else box


def _elsewhere(rng: np.random.Generator, like: Window, size: Sequence[int]) -> Window:
    top, left = rng.integers(size[0] - like.height + 1), rng.integers(size[1] - like.width + 1)
    return Window(int(top), int(left), like.height, like.width)


def _signs(
    net: DeconvNet, image: Tensor, masks: Sequence[Window], layers: Sequence[str], colour: Tensor, tolerance: float
) -> dict[str, Tensor]:
    """Return sign(x - x~) for each mask, (masks, F) int8, in each layer."""
    images = image.repeat(len(masks) + 1, 1, 1, 1)  # the first stays whole
    for masked, box in zip(images[1:], masks, strict=True):
        masked[:, box.top : box.bottom, box.left : box.right] = colour
    parts = list(features(net, images, layers))
    found = {}
    for layer in layers:
        values = torch.cat([part.layers[layer].flatten(1).float().cpu() for part in parts])
        change = values[:1] - values[1:]
        change[change.abs() <= tolerance * values[0].abs().max()] = 0
        found[layer] = change.sign().to(torch.int8)
    return found


def _row(name: str, signs: Mapping[str, Tensor], pairs: Sequence[tuple[int, int]]) -> Row:
    """Compare the pictures of each pair; signs: (masks, P, F) of each layer."""
    distances = {
        layer: torch.stack([(own[:, i] != own[:, j]).float().mean(1) for i, j in pairs], 1).numpy()
        for layer, own in signs.items()
    }
    return Row(
        name=name,
        mean={layer: float(values.mean()) for layer, values in distances.items()},
        spread={layer: float(values.std()) for layer, values in distances.items()},
        changed={layer: float((own != 0).float().mean()) for layer, own in signs.items()},
        distances=distances,
    )


def plot(result: Correspondence) -> Figure:
    """Draw the pictures with their masks, and below each layer's distances: every pair, the mean and its spread."""
    from matplotlib.patches import Rectangle

    count, most = len(result.pictures), 6
    shown = min(count, most)
    figure = new_figure(max(1.9 * shown, 3.4 * len(result.layers), 6.0), 5.6)
    grid = figure.add_gridspec(2, 1, height_ratios=(2, 3.2))
    colours = {row.name: f"C{at % 10}" for at, row in enumerate(result.rows)} | {RANDOM: FAINT}
    above: Any = grid[0].subgridspec(1, shown).subplots(squeeze=False)
    for at, axes in enumerate(above[0]):
        axes.imshow(result.pictures[at])
        axes.set(xticks=[], yticks=[])
        for name, boxes in result.boxes.items():
            top, left, height, width = boxes[at].tolist()
            axes.add_patch(
                Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=colours[name], linewidth=1.8)
            )
    below: Any = grid[1].subgridspec(1, len(result.layers)).subplots(squeeze=False)
    for axes, layer in zip(below[0], result.layers, strict=True):
        _draw_distances(axes, result, layer, colours)
    more = f" · {shown} of {count} pictures shown" if count > shown else ""
    notes = f"{len(result.pairs)} pairs of pictures{more}", "bars: mean, lines: one standard deviation, dots: pairs"
    add_footer(figure, result.settings, *notes)
    return figure


def _draw_distances(axes: Any, result: Correspondence, layer: str, colours: Mapping[str, str]) -> None:
    for at, row in enumerate(result.rows):
        values = row.distances[layer].mean(0)  # of random masks, a pair's mean over its trials
        axes.bar(at, row.mean[layer], width=0.7, color=colours[row.name], alpha=0.35)
        axes.errorbar(at, row.mean[layer], row.spread[layer], color="0.2", capsize=4, linewidth=1.2)
        axes.scatter(at + np.linspace(-0.22, 0.22, len(values)), values, s=9, color=colours[row.name])
    axes.set_xticks(range(len(result.rows)), [row.name for row in result.rows], fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title(f"sign change in {layer}", fontsize=9)
    axes.set_ylim(bottom=0)
