"""Do projections change when the weights are made random? Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018.

One unit is followed: the score of the most probable class, started by 1. Weights are made random on a copy of the model, block
by block: *cascading* from the top down, each block with all above it, and *independently*, one block while all others stay
trained. How alike the new projection and the old one are is measured by rank correlation of |x| and of signed values, SSIM and
HOG (`similarity.py`). A picture of what the net learned must change; one that stays shows the input. NaN: there is nothing to
rank, as in the gradient of a unit that no longer fires.

A trap: the layers above a unit inside the net never enter its projection, so making them random changes nothing by
construction. Therefore a score is followed, which has all layers below it; where `layer` names another layer, only the blocks
at or below it are made random, and the others are listed in `above`.

Compared are the deconvnet, guided backpropagation and the gradient; an edge detector that knows no net at all (Sobel of the
picture); and, so that the numbers can be read, random masks (`noise`) and the projections of other pictures (`others`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..choices import RuleName
from ..drawings import draw
from ..errors import OptionError
from ..inputs import PictureInputs, as_batch, source_names
from ..layers import output_layer
from ..net import DeconvNet
from ..optional import require
from ..recording import Recording
from ..select import choose_units
from ..units import Unit
from .arrays import Floats
from .forward import choose_layer, layer_maps
from .reinitialise import layers_above, reinitialised, weight_blocks
from .sanity_result import Sanity
from .selectivity import Selectivity, measure_selectivity
from .settings import study_settings
from .similarity import MEASURES, compare_maps, compare_projections, magnitude, mean_known

__all__ = ["Sanity", "Selectivity", "run"]

RULES: tuple[RuleName, ...] = ("deconvnet", "guided", "gradient")
ORDERS = ("cascading", "independent")


def run(
    net: DeconvNet,
    pictures: PictureInputs | None = None,
    *,
    layer: str | None = None,
    channel: int | None = None,
    select: str | None = None,
    top: int = 8,
    seeds: int = 1,
    seed: int = 0,
) -> Sanity:
    """Make a net's weights random step by step, and measure how a unit's projection changes; needs the extra `studies`.

    Args:
        net: the net to study, which stays as it is.
        pictures: one picture or several: paths, PIL pictures, drawings, or images (N, C, H, W) as the net expects them; by
            default a drawing of a cat.
        layer: the layer of the unit that is followed; by default the net's last one, the scores of the classes.
        channel: the unit's channel; by default the strongest one of each picture.
        select: the layer whose channels are compared at one position; by default the last rectified one with maps.
        top: how many channels to compare there, 2 or more.
        seeds: how often the weights of each step are drawn, 1 or more; the results are means.
        seed: of the first drawing of weights.

    Returns:
        How alike the projections stay, by three rules and four measures.

    Raises:
        MissingPackageError: SciPy or scikit-image is not installed.
        PictureError: there is no picture, or one cannot be opened.
        UnknownLayerError: the net has no such layer.
        UnitError: the layer has no such channel.
        OptionError: `seeds` or `top` are not possible, or no layer below the unit has weights.

        >>> sanity.run(net, "cat.jpg").similarity.shape  # orders, blocks, rules, pictures, measures
        (2, 7, 3, 1, 4)
    """
    require("scipy.stats", needed_by="sanity", extra="studies")
    require("skimage.feature", needed_by="sanity", extra="studies")
    if seeds < 1:
        raise OptionError(f"seeds cannot be {seeds}: it is how often the weights are drawn, 1 or more.")
    if top < 2:
        raise OptionError(f"top cannot be {top}: it is the number of channels to compare, 2 or more.")
    pictures = draw("cat", seed=5) if pictures is None else pictures
    recording = net.record(as_batch(net, pictures), stop=False)
    layer = layer or output_layer(recording)
    units = _followed_units(recording, layer, channel)
    blocks = weight_blocks(recording, layer)
    if not blocks:
        raise OptionError(f"no layer below {layer!r} has weights: nothing can be made random. Name a higher layer.")
    trained = _projections(net, recording, layer, units)
    random = _randomise(net, recording, layer, units, [paths for _, paths in blocks], trained, range(seed, seed + seeds))
    edges = np.stack([edge_map(image) for image in recording.images.float().cpu().numpy()])
    noise = np.random.default_rng(seed).standard_normal(trained.shape)
    select, maps = choose_layer(recording, select)
    return Sanity(
        layer=layer,
        units=tuple(str(unit) for unit in units),
        blocks=tuple(name for name, _ in blocks),
        above=tuple(layers_above(recording, blocks)),
        rules=RULES,
        orders=ORDERS,
        measures=MEASURES,
        similarity=mean_known(random.similarity, 0),
        spread=np.sqrt(mean_known(np.square(random.similarity - mean_known(random.similarity, 0)), 0)),
        edges=_compare_to_edges(trained, edges),
        edges_random=_compare_to_edges(random.last, edges),
        noise=_compare(trained, noise),
        others=_compare_to_others(trained),
        selectivity=measure_selectivity(net, recording, select, maps, top),
        picture=net.loaded.denormalise(recording.images[0], net.preprocess),
        edge_map=edges[0],
        pixels=np.stack([trained[:, 0], *random.cascade], axis=1),
        settings=study_settings(
            net, "sanity", pictures=source_names(pictures), layer=layer, select=select, top=top, seeds=seeds, seed=seed
        ),
    )


def edge_map(image: Floats) -> Floats:
    """Return the Sobel edges (H, W) of an image (C, H, W): the strength of the gradient of its mean over channels."""
    edges: Floats = require("skimage.filters", needed_by="the edge detector", extra="studies").sobel(image.mean(0))
    return edges


def _followed_units(recording: Recording, layer: str, channel: int | None) -> list[Unit]:
    """Return a unit for each picture: the strongest of the layer, or of one channel."""
    channels = None if channel is None else [channel]
    maps = layer_maps(recording, layer)
    return [choose_units(maps[image], layer, channels=channels, top=1, image=image)[0] for image in range(len(maps))]


@dataclass(frozen=True, eq=False)
class _Randomised:
    """What making the weights random did."""

    similarity: Floats  # (seeds, orders, B, rules, N, measures): how alike the projections stay
    cascade: list[Floats]  # B of (rules, C, H, W): the first picture's projections at each step of the first seed's cascade
    last: Floats  # (rules, N, C, H, W): all projections at the last of these steps, where all weights are random


def _randomise(
    net: DeconvNet,
    recording: Recording,
    layer: str,
    units: Sequence[Unit],
    blocks: Sequence[Sequence[str]],
    trained: Floats,
    seeds: range,
) -> _Randomised:
    """Make blocks of weights random, and compare the projections with the trained net's."""
    similarity = np.zeros((len(seeds), len(ORDERS), len(blocks), len(RULES), len(units), len(MEASURES)))
    cascade, last = [], trained
    for number, order, step in np.ndindex(*similarity.shape[:3]):
        randomised = blocks[: step + 1] if ORDERS[order] == "cascading" else blocks[step : step + 1]
        paths = [path for block in randomised for path in block]
        projections = _random_projections(net, recording, layer, units, paths, seeds[number])
        similarity[number, order, step] = _compare(trained, projections)
        if ORDERS[order] == "cascading" and number == 0:
            cascade.append(projections[:, 0])
            last = projections
    return _Randomised(similarity, cascade, last)


def _projections(net: DeconvNet, recording: Recording, layer: str, units: Sequence[Unit]) -> Floats:
    """Project by each rule, in the whole frame: (rules, N, C, H, W)."""
    projections = [net.project(recording, layer, units=units, rule=rule, start="one").pixels for rule in RULES]
    return np.stack([pixels.float().numpy() for pixels in projections])


def _random_projections(
    net: DeconvNet, recording: Recording, layer: str, units: Sequence[Unit], paths: Sequence[str], seed: int
) -> Floats:
    """Project the same units by a copy of the net in which some modules are random."""
    changed = DeconvNet(
        reinitialised(net.model, paths, seed), rules=net.rules, overlap=net.overlap, lrn=net.lrn, silent=net.silent
    )
    return _projections(changed, changed.record(recording.images, layers=[layer]), layer, units)


def _compare(first: Floats, second: Floats) -> Floats:
    """Measure projections (rules, N, C, H, W) against others: (rules, N, measures)."""
    return _measure_each(first, second, compare_projections)


def _compare_to_others(projections: Floats) -> Floats:
    """Measure each picture's projections against the next one's: (rules, N, measures), NaN where there is one only."""
    if projections.shape[1] == 1:
        return np.full((len(RULES), 1, len(MEASURES)), np.nan)
    return _compare(projections, np.roll(projections, 1, axis=1))


def _compare_to_edges(projections: Floats, edges: Floats) -> Floats:
    """Measure the magnitudes of projections against edges (N, H, W): (rules, N, measures)."""
    magnitudes = magnitude(projections)
    return _measure_each(magnitudes, np.broadcast_to(edges, magnitudes.shape), compare_maps)


def _measure_each(first: Floats, second: Floats, compare: Callable[[Floats, Floats], dict[str, float]]) -> Floats:
    """Measure arrays (rules, N, ...) pair by pair: (rules, N, measures)."""
    measured = [list(compare(first[index], second[index]).values()) for index in np.ndindex(*first.shape[:2])]
    return np.array(measured).reshape(*first.shape[:2], len(MEASURES))
