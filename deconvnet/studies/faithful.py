"""Does a projection point at what excites its unit? A score for each unit, by covering pixels.

The part of the window where a projection has most energy is covered with grey; so is a region of the same shape, moved to
random positions in the window. The score is how much more of the activation the first takes away than the others do, on
average: 1 is all of it, 0 is no more than chance, below 0 is worse than chance. For comparison there are regions by the
gradient, by guided backpropagation, and the middle of the window: a unit responds most to its window's middle, whatever a
picture shows there, so a projection that does no better than `centre` says nothing more.

On the bundled drawings, whose parts are known, `ground_truth.py` also measures how much of the energy lies on the part that
excites the channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..choices import RuleName
from ..drawings import Drawing, draw
from ..errors import OptionError
from ..inputs import PictureInputs, as_batch, as_list, source_names
from ..net import DeconvNet
from ..select import choose_units
from ..units import Unit, Window
from .arrays import Floats, Mask
from .faithful_result import Faithful
from .forward import choose_layer
from .ground_truth import PartTruth, measure_truth
from .masking import energy, measure_drops, middle_region, randomly_moved, strongest_region
from .settings import study_settings

__all__ = ["Faithful", "PartTruth", "run"]

RULES: tuple[RuleName, ...] = ("deconvnet", "guided", "gradient")
METHODS = (*RULES, "centre")
DRAWINGS = 8  # where no picture is given


def run(
    net: DeconvNet,
    pictures: PictureInputs | None = None,
    *,
    layer: str | None = None,
    channels: Sequence[int] | None = None,
    top: int = 4,
    area: float = 0.1,
    seeds: int = 8,
    seed: int = 0,
) -> Faithful:
    """Score units of a layer by covering what their projections point at.

    Args:
        net: the net to study.
        pictures: one picture or several: paths, PIL pictures, drawings, or images (N, C, H, W) as the net expects them; by
            default eight bundled drawings. Where all are drawings, their parts serve as ground truth.
        layer: the units' layer; by default the last rectified one with maps.
        channels: the units' channels; by default the strongest ones of each picture.
        top: how many of the strongest.
        area: the share of the window (inside the picture) that is covered, above 0 and below 1.
        seeds: random regions that each region is compared with, 2 or more.
        seed: of the random regions.

    Returns:
        The units with their scores, the most faithful first: each channel's strongest unit in each picture, if it fires.

    Raises:
        PictureError: there is no picture, or one cannot be opened.
        UnknownLayerError: the net has no such layer.
        UnitError: the layer has no such channel.
        OptionError: `area`, `seeds` or `top` are not possible, or none of the channels fires.

        >>> faithful.run(net, "cat.jpg", top=2).scores.shape  # units, methods
        (2, 4)
    """
    if not 0 < area < 1:
        raise OptionError(f"area cannot be {area:g}: it is the share of the window to cover, above 0 and below 1.")
    if seeds < 2:
        raise OptionError(f"seeds cannot be {seeds}: two random regions, at least, have a spread.")
    inputs = as_list([draw(seed=number) for number in range(DRAWINGS)] if pictures is None else pictures)
    sources = source_names(inputs)
    recording = net.record(as_batch(net, inputs))
    layer, maps = choose_layer(recording, layer)
    units = _firing_units(maps, layer, channels, top)
    projections = [net.project(recording, layer, units=units, rule=rule) for rule in RULES]
    pixels, windows = [projection.pixels.numpy() for projection in projections], projections[0].windows
    rng = np.random.default_rng(seed)
    covered = [
        _cover(
            net, recording.images[unit.image], unit, windows[number], [values[number] for values in pixels], area, seeds, rng
        )
        for number, unit in enumerate(units)
    ]
    drops, random_drops = np.stack([row.drops for row in covered]), np.stack([row.random_drops for row in covered])
    scores = drops - random_drops.mean(2)
    order = np.argsort(-scores[:, 0], kind="stable")
    units, windows = [units[number] for number in order], [windows[number] for number in order]
    drawings = [picture for picture in inputs if isinstance(picture, Drawing)]
    are_drawings = len(drawings) == len(inputs)
    return Faithful(
        units=tuple(str(unit) for unit in units),
        pictures=tuple(sources[unit.image] for unit in units),
        images=np.array([unit.image for unit in units]),
        activations=np.array([unit.activation for unit in units]),
        windows=np.array([window.to_list() for window in windows]),
        methods=METHODS,
        scores=scores[order],
        drops=drops[order],
        random_drops=random_drops[order],
        area=area,
        truth=measure_truth(net, drawings, recording.images, units, windows, [values[order] for values in pixels])
        if are_drawings
        else None,
        regions=np.stack([covered[number].region for number in order]),
        projections=pixels[0][order],
        shown=np.stack([net.loaded.denormalise(image, net.preprocess) for image in recording.images]),
        settings=study_settings(net, "faithful", pictures=sources, layer=layer, top=top, area=area, seeds=seeds, seed=seed),
    )


def _firing_units(maps: Tensor, layer: str, channels: Sequence[int] | None, top: int) -> list[Unit]:
    """Return each channel's strongest unit in each picture, if it fires; maps: (N, C', H', W')."""
    units = [
        unit
        for image in range(len(maps))
        for unit in choose_units(maps[image], layer, channels=channels, top=top, image=image)
        if (unit.activation or 0) > 0
    ]
    if not units:
        raise OptionError(f"none of these channels of {layer!r} fires on these pictures: nothing could drop. Take others.")
    return units


@dataclass(frozen=True, eq=False)
class _Covered:
    """What covering regions took from one unit."""

    drops: Floats  # (methods,)
    random_drops: Floats  # (methods, seeds)
    region: Mask  # (H, W): the first method's


def _cover(
    net: DeconvNet,
    image: Tensor,
    unit: Unit,
    window: Window,
    pixels: Sequence[Floats],
    area: float,
    seeds: int,
    rng: np.random.Generator,
) -> _Covered:
    """Cover each method's region of an image (C, H, W), and regions of its shape elsewhere; pixels: (C, H, W) by each rule."""
    frame = image.shape[1:]
    inside = window.clip(*frame)
    regions = [strongest_region(energy(values), inside, area) for values in pixels] + [middle_region(window, frame, area)]
    elsewhere = [randomly_moved(region, inside, rng) for region in regions for _ in range(seeds)]
    drops = measure_drops(net, image, np.stack([*regions, *elsewhere]), unit)
    return _Covered(drops[: len(METHODS)], drops[len(METHODS) :].reshape(len(METHODS), seeds), regions[0])
