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
from .faithful_result import Faithfulness
from .forward import choose_layer
from .ground_truth import PartTruth, measure_truth
from .masking import energy, measure_drops, middle_region, randomly_moved, strongest_region
from .settings import study_settings

__all__ = ["Faithfulness", "PartTruth", "run"]

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
) -> Faithfulness:
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
        raise OptionError(f"seeds cannot be {seeds}: it is the number of random regions to compare with, 2 or more.")
    inputs = as_list([draw(seed=number) for number in range(DRAWINGS)] if pictures is None else pictures)
    sources = source_names(inputs)
    recording = net.record(as_batch(net, inputs))
    layer, maps = choose_layer(recording, layer)
    units = _firing_units(maps, layer, channels, top)
    projections = [net.project(recording, layer, units=units, rule=rule) for rule in RULES]
    windows, pixels = projections[0].windows, [projection.pixels.numpy() for projection in projections]
    rng = np.random.default_rng(seed)
    covered = [
        _cover(net, recording.images[unit.image], unit, window, values, area, seeds, rng)
        for unit, window, *values in zip(units, windows, *pixels, strict=True)
    ]
    covered.sort(key=lambda row: -row.scores[0])
    drawings = [picture for picture in inputs if isinstance(picture, Drawing)]
    return Faithfulness(
        units=tuple(str(row.unit) for row in covered),
        pictures=tuple(sources[row.unit.image] for row in covered),
        images=np.array([row.unit.image for row in covered]),
        activations=np.array([row.unit.activation for row in covered]),
        windows=np.array([row.window.to_list() for row in covered]),
        methods=METHODS,
        scores=np.stack([row.scores for row in covered]),
        drops=np.stack([row.drops for row in covered]),
        random_drops=np.stack([row.random_drops for row in covered]),
        area=area,
        truth=_measure_truth(net, drawings, recording.images, covered) if len(drawings) == len(inputs) else None,
        regions=np.stack([row.region for row in covered]),
        projections=np.stack([row.pixels[0] for row in covered]),
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
    """A unit, and what covering regions took from it."""

    unit: Unit
    window: Window
    pixels: Sequence[Floats]  # (C, H, W) by each rule: its projections
    region: Mask  # (H, W): the first method's
    drops: Floats  # (methods,)
    random_drops: Floats  # (methods, seeds)

    @property
    def scores(self) -> Floats:
        """(methods,): the drop less the mean drop by random regions."""
        scores: Floats = self.drops - self.random_drops.mean(1)
        return scores


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
    """Cover each method's region of an image (C, H, W), and regions of its shape elsewhere."""
    frame = image.shape[1:]
    inside = window.clip(*frame)
    regions = [strongest_region(energy(values), inside, area) for values in pixels] + [middle_region(window, frame, area)]
    elsewhere = [randomly_moved(region, inside, rng) for region in regions for _ in range(seeds)]
    drops = measure_drops(net, image, np.stack([*regions, *elsewhere]), unit)
    random_drops = drops[len(METHODS) :].reshape(len(METHODS), seeds)
    return _Covered(unit, window, pixels, regions[0], drops[: len(METHODS)], random_drops)


def _measure_truth(net: DeconvNet, drawings: Sequence[Drawing], images: Tensor, covered: Sequence[_Covered]) -> PartTruth:
    """Compare the units' projections with the parts of the drawings that excite them."""
    units, windows = [row.unit for row in covered], [row.window for row in covered]
    pixels = [np.stack(values) for values in zip(*(row.pixels for row in covered), strict=True)]
    return measure_truth(net, drawings, images, units, windows, pixels)
