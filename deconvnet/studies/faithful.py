"""Does a projection point at what excites its unit? A score for each unit, by covering pixels.

The part of the window where a projection has most energy is covered with grey; so is an equal region, of the same shape, moved
to random places in the window. Score: how much more of the activation the first takes away than the others do, on average. 1
is all of it, 0 is no more than chance, below 0 is worse than chance. Beside it stand regions by the gradient, by guided
backpropagation, and the middle of the window: a unit hears its window's middle best, whatever a picture shows there, so a
projection that does no better than `centre` tells nothing new.

On the bundled drawings, whose parts are known, `ground_truth.py` also asks how much of the energy lies on the part that
excites the channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..choices import Tone
from ..drawings import Drawing, draw
from ..errors import OptionError
from ..inputs import PictureInputs, as_batch, as_list, source_names
from ..net import DeconvNet
from ..projection import choose_units
from .forward import net_maps
from .ground_truth import PartTruth, measure_truth
from .masking import best_region, energy, measure_drops, middle_region, moved
from .result import PIXELS, settings_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = npt.NDArray[Any]

RULES = ("deconvnet", "guided", "gradient")
METHODS = (*RULES, "centre")
DRAWINGS = 8  # where no picture is given


@dataclass(frozen=True)
class Faithful:
    """K units with a score each, the most faithful first."""

    units: tuple[str, ...]
    pictures: tuple[str, ...]  # (K,): the picture of each unit
    images: Values  # (K,): its number
    activations: Values  # (K,)
    windows: Values  # (K, 4): top, left, height, width
    methods: tuple[str, ...]
    scores: Values  # (K, methods): the drop less the mean drop by random regions; sorted by the first
    drops: Values  # (K, methods): the share of the activation that covering the region takes away
    random_drops: Values  # (K, methods, seeds): that by regions of the same shape, elsewhere
    area: float  # share of the window that is covered
    truth: PartTruth | None  # on drawings: the part that excites each channel, and the energy on it
    regions: Values = field(metadata=PIXELS)  # (K, H, W) bool: what the first method covers
    projections: Values = field(metadata=PIXELS)  # (K, C, H, W) of the first method
    seen: Values = field(metadata=PIXELS)  # (N, H, W, 3 or 1): what the net saw
    settings: dict[str, Any] = field(default_factory=dict)


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
    """Score units of a layer: the strongest of `channels`, or of the `top` strongest channels, in each picture.

    `area`: the share of the window (inside the picture) that is covered; `seeds`: how many random regions each is held
    against. Without pictures, eight bundled drawings, and their parts as ground truth; a `Drawing` may be given too.
    """
    _check(area, seeds)
    inputs = as_list([draw(seed=seed) for seed in range(DRAWINGS)] if pictures is None else pictures)
    sources, drawings = source_names(inputs), [picture for picture in inputs if isinstance(picture, Drawing)]
    recording = net.record(as_batch(net, inputs))
    layer, maps = net_maps(recording, layer)
    units = [
        unit
        for image in range(len(inputs))
        for unit in choose_units(maps[image], layer, channels=channels, top=top, image=image)
        if (unit.activation or 0) > 0
    ]
    if not units:
        raise OptionError(f"none of these channels of {layer!r} fires on these pictures: nothing could drop. Take others.")
    made = [net.project(recording, layer, units=units, rule=rule) for rule in RULES]
    pixels = [projection.pixels.numpy() for projection in made]
    frame, windows = recording.images.shape[2:], made[0].windows
    rng, images = np.random.default_rng(seed), recording.images
    found = []
    for number, unit in enumerate(units):
        inside = windows[number].clip(*frame)
        wanted = [best_region(energy(one[number]), inside, area) for one in pixels] + [
            middle_region(windows[number], frame, area)
        ]
        chance = [[moved(region, inside, rng) for _ in range(seeds)] for region in wanted]
        masks = np.stack([*wanted, *(one for some in chance for one in some)])
        drops = measure_drops(net, images[unit.image], masks, unit)
        found.append((drops[: len(METHODS)], drops[len(METHODS) :].reshape(len(METHODS), seeds), wanted[0]))
    drops, chances, regions = (np.stack(part) for part in zip(*found, strict=True))
    scores = drops - chances.mean(2)
    order = np.argsort(-scores[:, 0], kind="stable")
    drawn = len(drawings) == len(inputs)
    chosen, ordered = [units[number] for number in order], [windows[number] for number in order]
    return Faithful(
        units=tuple(str(unit) for unit in chosen),
        pictures=tuple(sources[unit.image] for unit in chosen),
        images=np.array([unit.image for unit in chosen]),
        activations=np.array([unit.activation for unit in chosen]),
        windows=np.array([window.to_list() for window in ordered]),
        methods=METHODS,
        scores=scores[order],
        drops=drops[order],
        random_drops=chances[order],
        area=area,
        truth=measure_truth(net, drawings, images, chosen, ordered, [one[order] for one in pixels]) if drawn else None,
        regions=regions[order],
        projections=pixels[0][order],
        seen=np.stack([net.loaded.denormalise(image, net.preprocess) for image in images]),
        settings=settings_of(net, "faithful", pictures=sources, layer=layer, top=top, area=area, seeds=seeds, seed=seed),
    )


def plot(result: Faithful, *, tone: Tone = "symmetric") -> Figure:
    """Draw the most and the least faithful units with what was covered, and all scores; on drawings, the ground truth too."""
    from .faithful_figure import draw_faithful

    return draw_faithful(result, tone)


def _check(area: float, seeds: int) -> None:
    if not 0 < area < 1:
        raise OptionError(f"area cannot be {area:g}: it is the share of the window to cover, above 0 and below 1.")
    if seeds < 2:
        raise OptionError(f"seeds cannot be {seeds}: two random regions, at least, have a spread.")
