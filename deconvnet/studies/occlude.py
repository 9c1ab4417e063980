"""Occlusion (Zeiler & Fergus 2014, 4.2, Fig. 7): a square slides over the picture; what becomes of a map, and of the class?

The paper does not give the square's size, stride or grey. Here they are 27 pixels in steps of 7 where the short side is 224 (a
reproduction's choice), in proportion for other sizes, filled with the mean that the preprocessing subtracts. Squares lie wholly
inside the picture; the last of a row and of a column is flush with the edge, so that every pixel is covered, and each position
is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..axes import as_maps
from ..choices import STRONGEST_BY, StrongestBy
from ..crops import cut_window
from ..errors import OptionError, check_option
from ..inputs import PictureInput, PictureInputs, as_batch, as_list, only_picture, source_names
from ..net import DeconvNet
from ..progress import counting
from ..recording import Recording
from ..select import check_unit
from ..units import Unit
from .arrays import Floats, Integers
from .classes import class_number, class_probabilities
from .fill import Fill, fill_colour
from .forward import Forward, choose_channels, layer_maps, map_maxima, shown_pixels
from .occlude_result import Occlusion, OtherPicture
from .settings import study_settings

__all__ = ["Occlusion", "OtherPicture", "run", "square_starts"]

#: The square and the stride, in pixels, of a picture whose short side is `SHORT_SIDE` pixels.
SQUARE, STRIDE, SHORT_SIDE = 27, 7, 224
OTHERS_SHOWN = 3


def run(
    net: DeconvNet,
    picture: PictureInput,
    *,
    layer: str | None = None,
    channel: int | str | None = None,
    strongest_by: StrongestBy = "total",
    label: int | str | None = None,
    square: int | None = None,
    stride: int | None = None,
    fill: Fill = "mean",
    others: PictureInputs = (),
    batch: int | None = None,
) -> Occlusion:
    """Slide a square over a picture, and measure one map and one class at each position (Zeiler & Fergus 2014, 4.2).

    Args:
        net: the net to study.
        picture: a path, a PIL picture, a drawing, or an image (1, C, H, W) as the net expects it.
        layer: the map's layer; by default the last rectified one with maps.
        channel: the map, of the class scores also the name of a class; by default the strongest of the whole picture.
        strongest_by: what makes a map the strongest: its "total" activation, or its "max".
        label: the class, by number or name; by default the one that is the most probable to the net.
        square: the square's side in pixels; by default 27 where the short side is 224, in proportion for other sizes.
        stride: how many pixels lie between positions; by default 7 where the short side is 224, in proportion.
        fill: what fills the square: "mean", "picture", "black", "white", or a colour, 0..1 for each channel.
        others: pictures whose strongest units in the same map are shown beside it; the picture itself is passed over.
        batch: squares per forward pass; by default as many as the size of the maps allows.

    Returns:
        The map's total activation and the class's probability for each position, P rows and Q columns of them.

    Raises:
        PictureError: there is not exactly one picture, or it cannot be opened.
        UnknownLayerError: the net has no such layer.
        UnitError: the layer has no such channel.
        OptionError: another option's value is not possible.

        >>> occlude.run(net, "dog.jpg", square=27, stride=7).probabilities.shape
        (11, 11)
    """
    check_option("strongest_by", strongest_by, STRONGEST_BY)
    if batch is not None and batch < 1:
        raise OptionError(f"batch cannot be {batch}: it is squares per forward pass, 1 or more.")
    picture = only_picture(picture)
    recording = net.record(as_batch(net, picture), stop=False)
    layer, maps, numbers = choose_channels(net, recording, layer, None if channel is None else [channel])
    values = maps[0].float().cpu()
    [channel] = numbers or [int(_strengths(values, strongest_by).argmax())]
    check_unit(Unit(layer, channel), values.shape)
    squares = _place_squares(net, recording.images[0], square, stride, fill)
    number, probability = _find_class(net, recording.output, label)
    totals, probabilities, top_classes = _slide(net, recording, Unit(layer, channel), number, squares, batch)
    return Occlusion(
        picture=shown_pixels(net, recording.images[0]),
        tops=squares.tops,
        lefts=squares.lefts,
        totals=totals,
        probabilities=probabilities,
        top_classes=top_classes,
        total=float(values[channel].sum()),
        probability=probability,
        projection=net.project(recording, layer, channels=[channel], at="map").pixels[0].numpy(),
        window=np.array(net.project(recording, layer, channels=[channel]).windows[0].to_list()),
        others=_other_pictures(net, recording, Unit(layer, channel), others),
        names={} if number is None else _class_names(net, number, top_classes),
        settings=study_settings(
            net,
            "occlude",
            inputs=picture,
            picture=source_names(picture)[0],
            layer=layer,
            channel=channel,
            rule=net.choose_rule(recording, layer).rule,
            label=number,
            square=squares.side,
            stride=squares.stride,
            fill=fill,
            strongest_by=strongest_by,
        ),
    )


def square_starts(length: int, square: int, stride: int) -> Integers:
    """Return where squares begin along a side of `length` pixels: every `stride`, and once flush with its end.

    >>> square_starts(10, square=4, stride=4)
    array([0, 4, 6])
    """
    return np.unique([*range(0, length - square, stride), length - square])


@dataclass(frozen=True, eq=False)
class _Squares:
    """The squares that cover a picture: where they begin, P rows and Q columns of them, and what fills them."""

    tops: Integers  # (P,)
    lefts: Integers  # (Q,)
    side: int
    stride: int
    colour: Tensor  # (C, 1, 1)


def _place_squares(net: DeconvNet, image: Tensor, square: int | None, stride: int | None, fill: Fill) -> _Squares:
    height, width = image.shape[1:]
    side, stride = _default_sizes(square, stride, height, width)
    colour = fill_colour(net, image, fill)
    return _Squares(square_starts(height, side, stride), square_starts(width, side, stride), side, stride, colour)


def _default_sizes(square: int | None, stride: int | None, height: int, width: int) -> tuple[int, int]:
    """Return the square's side and the stride, those that are not given in proportion to the short side."""
    short = min(height, width)
    square = max(1, round(SQUARE * short / SHORT_SIDE)) if square is None else square
    stride = max(1, round(STRIDE * short / SHORT_SIDE)) if stride is None else stride
    if not 1 <= square <= short:
        raise OptionError(f"square cannot be {square}: it is pixels, 1 to {short}, the picture's short side.")
    if stride < 1:
        raise OptionError(f"stride cannot be {stride}: it is pixels, 1 or more.")
    return square, stride


def _strengths(maps: Tensor, by: StrongestBy) -> Tensor:
    return maps.sum((1, 2)) if by == "total" else maps.amax((1, 2))


def _find_class(net: DeconvNet, output: object, label: int | str | None) -> tuple[int | None, float | None]:
    """Return the number of the class to measure and its probability; None where the net is no classifier."""
    probabilities = class_probabilities(output)
    if probabilities is None:
        return None, None
    number = int(probabilities[0].argmax()) if label is None else class_number(net, label, probabilities.shape[1])
    return number, float(probabilities[0, number])


def _class_names(net: DeconvNet, label: int, top_classes: Integers | None) -> dict[str, str]:
    """Return the names of the label and of the most probable classes, by number."""
    numbers = {label, *np.unique([] if top_classes is None else top_classes).tolist()}
    return {str(number): net.loaded.class_name(number) for number in sorted(numbers)}


def _slide(
    net: DeconvNet, recording: Recording, unit: Unit, label: int | None, squares: _Squares, batch: int | None
) -> tuple[Floats, Floats | None, Integers | None]:
    """Run every position through the net: the totals, the label's probabilities, the most probable classes, (P, Q) each."""
    axes, forward = recording.axes(unit.layer), Forward(net, recording, [unit.layer])
    size = batch or forward.batch
    corners = [(int(top), int(left)) for top in squares.tops for left in squares.lefts]
    totals: list[Tensor] = []
    shares: list[Tensor] = []
    classes: list[Tensor] = []

    def total(layer: str, activations: Tensor) -> Tensor:
        return as_maps(activations, axes, layer)[:, unit.channel].sum((1, 2), dtype=torch.float32).cpu()

    image = recording.images.contiguous(memory_format=forward.engine.memory_format)
    with counting(len(corners), "occluding", "square") as counter:
        for first in range(0, len(corners), size):
            images = _covered(image, squares, corners[first : first + size])
            output, sums = forward(images, total)
            totals.append(sums[unit.layer])
            probabilities = class_probabilities(output)
            if probabilities is not None and label is not None:
                shares.append(probabilities[:, label])
                classes.append(probabilities.argmax(1))
            counter.update(len(images))
    shape = len(squares.tops), len(squares.lefts)
    grids: list[Any] = [torch.cat(parts).view(shape).numpy() if parts else None for parts in (totals, shares, classes)]
    return grids[0], grids[1], grids[2]


def _covered(image: Tensor, squares: _Squares, corners: Sequence[tuple[int, int]]) -> Tensor:
    """Return copies of an image (1, C, H, W), each with a square at one of the corners."""
    images = image.repeat(len(corners), 1, 1, 1)
    for number, (top, left) in enumerate(corners):
        images[number, :, top : top + squares.side, left : left + squares.side] = squares.colour
    return images


def _other_pictures(net: DeconvNet, recording: Recording, unit: Unit, others: PictureInputs) -> tuple[OtherPicture, ...]:
    """Find the map's strongest units in other pictures, and project them; the occluded one itself is left out."""
    if isinstance(others, Sequence) and not others:
        return ()
    pictures = as_list(others)
    images, sources = as_batch(net, pictures), source_names(pictures)
    maxima, positions = map_maxima(net, images, recording, [unit.layer])[unit.layer]
    maxima[(images == recording.images.to(images)).flatten(1).all(1).numpy(force=True)] = 0
    strongest = [int(number) for number in np.argsort(-maxima[:, unit.channel], kind="stable")[:OTHERS_SHOWN]]
    width = layer_maps(recording, unit.layer).shape[3]
    return tuple(
        _other_picture(
            net,
            images[number : number + 1],
            Unit(unit.layer, unit.channel, *divmod(int(positions[number, unit.channel]), width)),
            sources[number],
            float(maxima[number, unit.channel]),
        )
        for number in strongest
        if maxima[number, unit.channel] > 0
    )


def _other_picture(net: DeconvNet, image: Tensor, unit: Unit, source: str, activation: float) -> OtherPicture:
    recording = net.record(image, layers=[unit.layer])
    projection = net.project(recording, unit.layer, units=[unit])
    (box,) = projection.boxes
    pixels = np.moveaxis(shown_pixels(net, recording.images[0]), 2, 0)
    return OtherPicture(
        source,
        activation,
        pixels=np.moveaxis(cut_window(pixels, box), 0, 2),
        projection=cut_window(projection.pixels[0].numpy(), box),
    )
