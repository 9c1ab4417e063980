"""Does a projection point at what excites its unit? A score for each unit, by covering pixels.

The part of the window where a projection has most energy is covered with grey; so is a region of the same shape, moved to
random positions in the window. The score is how much more of the activation the first takes away than the others do, on
average: 1 is all of it, 0 is no more than chance, below 0 is worse than chance. For comparison there are regions by the
gradient, by guided backpropagation, and the middle of the window: a unit responds most to its window's middle, whatever a
picture shows there, so a projection that does no better than `centre` says nothing more. Two more regions are nulls: by edges
alone, with no net at all, and by a net with random filters (`nulls.py`).

A projection that is empty covers nothing: its score is NaN, and is counted. The comparison that decides was fixed beforehand:
whether the deconvnet scores more than the middle; all others are corrected by Holm (`statistics.py`).

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
from ..progress import counted
from ..units import Unit, Window
from .arrays import Floats, Integers, Mask
from .faithful_result import Faithfulness
from .firing import firing_units
from .forward import choose_channels
from .ground_truth import PartTruth, measure_truth
from .masking import energy, measure_drops, middle_region, randomly_moved, strongest_region
from .nulls import NULLS, null_energies
from .settings import study_settings
from .statistics import Comparison, Estimate, compare, estimate_mean

__all__ = ["Faithfulness", "PartTruth", "run"]

RULES: tuple[RuleName, ...] = ("deconvnet", "guided", "gradient")
METHODS = (*RULES, "centre", *NULLS)
DRAWINGS = 50  # where no picture is given
PRIMARY = "score: deconvnet - centre"
#: What is compared, by score and, where the truth is known, by the share of the energy on the part that excites the channel.
SCORES_COMPARED = (
    ("deconvnet", "centre"),
    ("deconvnet", "no net"),
    ("deconvnet", "random net"),
    ("deconvnet", "guided"),
    ("deconvnet", "gradient"),
    ("guided", "centre"),
    ("gradient", "centre"),
)
SHARES_COMPARED = (
    ("deconvnet", "no net"),
    ("deconvnet", "random net"),
    ("deconvnet", "guided"),
    ("deconvnet", "gradient"),
    ("guided", "no net"),
    ("gradient", "no net"),
)


def run(
    net: DeconvNet,
    pictures: PictureInputs | None = None,
    *,
    layer: str | None = None,
    channels: Sequence[int | str] | None = None,
    top: int = 2,
    area: float = 0.1,
    seeds: int = 8,
    seed: int = 0,
) -> Faithfulness:
    """Score units of a layer by covering what their projections point at.

    Args:
        net: the net to study.
        pictures: one picture or several: paths, PIL pictures, drawings, or images (N, C, H, W) as the net expects them; by
            default fifty bundled drawings. Where all are drawings, their parts serve as ground truth.
        layer: the units' layer; by default the last rectified one with maps.
        channels: the units' channels, of the class scores also names of classes; by default the strongest ones of each picture.
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
        (2, 6)
    """
    if not 0 < area < 1:
        raise OptionError(f"area cannot be {area:g}: it is the share of the window to cover, above 0 and below 1.")
    if seeds < 2:
        raise OptionError(f"seeds cannot be {seeds}: it is the number of random regions to compare with, 2 or more.")
    inputs = as_list([draw(seed=number) for number in range(DRAWINGS)] if pictures is None else pictures)
    sources = source_names(inputs)
    recording = net.record(as_batch(net, inputs))
    layer, maps, numbers = choose_channels(net, recording, layer, channels)
    units = firing_units(maps, layer, numbers, top)
    projections = [net.project(recording, layer, units=units, rule=rule) for rule in RULES]
    windows = projections[0].windows
    energies: dict[str, Sequence[Floats]] = {
        rule: [energy(pixels) for pixels in projection.pixels.numpy()]
        for rule, projection in zip(RULES, projections, strict=True)
    }
    energies.update(null_energies(net, recording, layer, units, windows, seed=seed))
    rng = np.random.default_rng(seed)
    covered = [
        _cover(net, recording.images[unit.image], unit, window, values, area, seeds, rng)
        for unit, window, *values in counted(
            zip(units, windows, *energies.values(), strict=True), len(units), "covering", "unit"
        )
    ]
    drawings = [picture for picture in inputs if isinstance(picture, Drawing)]
    known = len(drawings) == len(inputs)
    truth = measure_truth(net, drawings, recording.images, units, windows, energies) if known else None
    order = sorted(range(len(units)), key=lambda number: -np.nan_to_num(covered[number].scores[0], nan=-np.inf))
    covered, truth = [covered[number] for number in order], truth and truth.sorted(order)
    images, scores = np.array([row.unit.image for row in covered]), np.stack([row.scores for row in covered])
    return Faithfulness(
        units=tuple(str(row.unit) for row in covered),
        pictures=tuple(sources[image] for image in images),
        images=images,
        activations=np.array([row.unit.activation for row in covered]),
        windows=np.array([row.window.to_list() for row in covered]),
        methods=METHODS,
        scores=scores,
        drops=np.stack([row.drops for row in covered]),
        random_drops=np.stack([row.random_drops for row in covered]),
        area=area,
        truth=truth,
        means={method: estimate_mean(scores[:, number], images) for number, method in enumerate(METHODS)},
        share_means=_share_means(truth, images),
        comparisons=_compare_methods(scores, truth, images),
        regions=np.stack([row.region for row in covered]),
        projections=projections[0].pixels.numpy()[order],
        shown=np.stack([net.loaded.denormalise(image, net.preprocess) for image in recording.images]),
        settings=study_settings(
            net, "faithful", inputs=inputs, pictures=sources, layer=layer, top=top, area=area, seeds=seeds, seed=seed
        ),
    )


@dataclass(frozen=True, eq=False)
class _Covered:
    """A unit, and what covering regions took from it; NaN for a method whose projection is empty."""

    unit: Unit
    window: Window
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
    energies: Sequence[Floats],
    area: float,
    seeds: int,
    rng: np.random.Generator,
) -> _Covered:
    """Cover the region of each method, with its energy (H, W), in an image (C, H, W), and regions of its shape elsewhere."""
    frame = image.shape[1:]
    inside = window.clip(*frame)
    by_method = dict(zip((method for method in METHODS if method != "centre"), energies, strict=True))
    regions = [
        middle_region(window, frame, area) if method == "centre" else strongest_region(by_method[method], inside, area)
        for method in METHODS
    ]
    elsewhere = [randomly_moved(region, inside, rng) for region in regions for _ in range(seeds)]
    drops = measure_drops(net, image, np.stack([*regions, *elsewhere]), unit)
    empty = [method != "centre" and not by_method[method].any() for method in METHODS]
    drops[: len(METHODS)][empty] = np.nan
    random_drops = drops[len(METHODS) :].reshape(len(METHODS), seeds)
    return _Covered(unit, window, regions[0] & (not empty[0]), drops[: len(METHODS)], random_drops)


def _share_means(truth: PartTruth | None, images: Integers) -> dict[str, Estimate]:
    """Return the mean share of the energy on the part, by each method; nothing where no part is known."""
    if truth is None:
        return {}
    return {method: estimate_mean(truth.shares[:, number], images) for number, method in enumerate(truth.methods)}


def _compare_methods(scores: Floats, truth: PartTruth | None, images: Integers) -> tuple[Comparison, ...]:
    """Compare scores and, where they are known, shares of the energy in pairs of methods."""
    by_score = dict(zip(METHODS, scores.T, strict=True))
    pairs = {f"score: {first} - {second}": (by_score[first], by_score[second]) for first, second in SCORES_COMPARED}
    if truth is not None:
        by_share = dict(zip(truth.methods, truth.shares.T, strict=True))
        pairs |= {f"on the part: {first} - {second}": (by_share[first], by_share[second]) for first, second in SHARES_COMPARED}
    return compare(pairs, images, primary=PRIMARY)
