"""Do projections change when the weights are made random? Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018.

One unit is followed in each picture: the score of the most probable class, started by 1. Where a net makes its scores by
averaging a map for each class, as SqueezeNet does, it is the strongest place of that map: from the score itself the signal
starts everywhere at once, and one rectification can leave none of it. Weights are made random on a copy of the model, block
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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..axes import from_maps
from ..choices import RuleName
from ..drawings import draw
from ..errors import OptionError
from ..inputs import PictureInputs, as_batch, source_names
from ..layers import output_layer
from ..mirror import project_value
from ..net import DeconvNet
from ..optional import require
from ..paper_names import full_name
from ..progress import counted
from ..projection import signal_dtype, start_signal
from ..recording import Recording
from ..rules import Table
from ..rules.conv import SavedConv
from ..rules.linear import SavedLinear
from ..select import choose_units
from ..units import Unit
from ..windowed import can_start, is_worthwhile, project_patches
from .arrays import Floats
from .classes import class_probabilities
from .forward import choose_layer, layer_maps
from .nulls import edge_map
from .reinitialise import layers_above, reinitialised, weight_blocks
from .sanity_result import Sanity
from .selectivity import Selectivity, measure_selectivity
from .settings import study_settings
from .similarity import MEASURES, Described, magnitude, mean_known
from .statistics import Comparison, Estimate, compare, estimate_mean

__all__ = ["Sanity", "Selectivity", "run"]

RULES: tuple[RuleName, ...] = ("deconvnet", "guided", "gradient")
ORDERS = ("cascading", "independent")
DRAWINGS = 50  # where no picture is given
TOGETHER = 8  # pictures in a recording: more leave the caches
PRIMARY = "upper half: deconvnet - gradient"


def run(
    net: DeconvNet,
    pictures: PictureInputs | None = None,
    *,
    layer: str | None = None,
    channel: int | None = None,
    select: str | None = None,
    top: int = 8,
    seeds: int = 5,
    seed: int = 0,
    independent: bool = True,
) -> Sanity:
    """Make a net's weights random step by step, and measure how a unit's projection changes; needs the extra `studies`.

    Args:
        net: the net to study, which stays as it is.
        pictures: one picture or several: paths, PIL pictures, drawings, or images (N, C, H, W) as the net expects them; by
            default fifty drawings.
        layer: the layer of the unit that is followed; by default the map of each class where the scores are its averages,
            else the scores of the classes.
        channel: the unit's channel; by default that of each picture's most probable class, in other layers the strongest.
        select: the layer whose channels are compared at one position; by default the last rectified one with maps.
        top: how many channels to compare there, 2 or more.
        seeds: how often the weights of each step are drawn, 1 or more; a picture's values are averaged over them.
        seed: of the first drawing of weights.
        independent: make each block random by itself too, which takes as long again; False leaves NaN there.

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
    pictures = [draw("cat", seed=5), *(draw(seed=number) for number in range(DRAWINGS - 1))] if pictures is None else pictures
    recording = net.record(as_batch(net, pictures), stop=False)
    asked, layer = layer, full_name(net.name, layer) if layer else class_layer(recording)
    units = _followed_units(recording, layer, channel, by_score=asked is None)
    blocks = weight_blocks(recording, layer)
    if not blocks:
        raise OptionError(f"no layer below {layer!r} has weights: nothing can be made random. Name a higher layer.")
    followed = _Followed(net, recording.images, layer, units)
    random = _randomise(
        followed, [paths for _, paths in blocks], range(seed, seed + seeds), ORDERS if independent else ORDERS[:1]
    )
    edges = [edge_map(image) for image in recording.images.float().cpu().numpy()]
    noise = np.random.default_rng(seed).standard_normal((len(units), *recording.images.shape[1:]))
    described_noise, described_edges = [*map(Described.of_projection, noise)], [*map(Described.of_map, edges)]
    controls = {
        "others": _compare_to_others(followed.trained),
        "noise": _compare(followed.trained, [described_noise] * len(RULES)),
        "edges": _compare_to_edges(followed.pixels, described_edges),
        "edges_random": _compare_to_edges(random.last, described_edges),
    }
    select, maps = choose_layer(recording, select)
    cascade, names = random.similarity[:, ORDERS.index("cascading")], [name for name, _ in blocks]
    return Sanity(
        layer=layer,
        units=tuple(str(unit) for unit in units),
        blocks=tuple(names),
        above=tuple(layers_above(recording, blocks)),
        rules=RULES,
        orders=ORDERS,
        measures=MEASURES,
        similarity=mean_known(random.similarity, 0),
        spread=np.sqrt(mean_known(np.square(random.similarity - mean_known(random.similarity, 0)), 0)),
        **controls,
        means=_means(cascade, names, controls),
        comparisons=_compare_rules(cascade, controls["others"]),
        selectivity=measure_selectivity(net, recording, select, maps, top),
        picture=net.loaded.denormalise(recording.images[0], net.preprocess),
        edge_map=edges[0],
        pixels=np.stack(random.first_picture, axis=1),
        settings=study_settings(
            net,
            "sanity",
            inputs=pictures,
            pictures=source_names(pictures),
            layer=layer,
            select=select,
            top=top,
            seeds=seeds,
            seed=seed,
        ),
    )


def class_layer(recording: Recording) -> str:
    """Return the layer of the maps whose averages are the scores of the classes; that of the scores where there is none.

    It is the layer with the filters, below any rectifier: from above one, gradient and guided backpropagation would have
    nothing to show wherever the unit does not fire in a random net.
    """
    tape, layer = recording.tape, output_layer(recording)
    layers = {record.number: name for name, record in recording.records().items()}
    value = recording.value(layer)
    while value in tape.makers:
        if tape.shapes[value][2:].numel() > 1 and value in layers and tape.map_axes(value)[0] == 1:
            layer = layers[value]
        call = tape.calls[tape.makers[value]]
        if isinstance(call.saved, (SavedConv, SavedLinear)) or len(call.inputs) != 1:
            break
        value = call.inputs[0]
    return layer


def _followed_units(recording: Recording, layer: str, channel: int | None, *, by_score: bool) -> list[Unit]:
    """Return a unit for each picture: the strongest of a channel, by default that of the most probable class."""
    maps = layer_maps(recording, layer)
    probabilities = class_probabilities(recording.output) if by_score and channel is None else None
    channels = [None if channel is None else [channel]] * len(maps)
    if probabilities is not None and probabilities.shape[1] == maps.shape[1]:
        channels = [[int(row.argmax())] for row in probabilities]
    return [choose_units(maps[image], layer, channels=channels[image], top=1, image=image)[0] for image in range(len(maps))]


class _Followed:
    """The units that are followed, and what compares any net's projections of them with the trained one's.

    Args:
        net: the trained net.
        images: (N, C, H, W).
        layer: the units' layer.
        units: N units, one of each image.
    """

    def __init__(self, net: DeconvNet, images: Tensor, layer: str, units: Sequence[Unit]) -> None:
        self.net, self.images, self.layer = net, images, layer
        self.batches = [units[first : first + TOGETHER] for first in range(0, len(units), TOGETHER)]
        self.pixels = self.projections([])  # (rules, N, C, H, W)
        self.trained = _describe(self.pixels)

    def projections(self, paths: Sequence[str], seed: int = 0) -> Floats:
        """Project the units by each rule, by a net some of whose modules are random, in the whole frame: (rules, N, C, H, W).

        One recording serves all rules: it is made by the gradient's, which saves the masks that the others need or ignore.
        """
        model = reinitialised(self.net.model, paths, seed) if paths else self.net.model
        net = DeconvNet(model, rules=self.net.table("gradient"), attention=self.net.attention)
        parts = []
        for units in self.batches:
            recording = net.record(self.images[units[0].image : units[-1].image + 1], layers=[self.layer])
            here = [replace(unit, image=number) for number, unit in enumerate(units)]
            parts.append(np.stack([_carry(recording, self.layer, here, net.table(rule)) for rule in RULES]))
        return np.concatenate(parts, axis=1)


def _carry(recording: Recording, layer: str, units: Sequence[Unit], table: Table) -> Floats:
    """Project units, each started by 1, by what a recording saved for all rules: in their windows, where units have any."""
    tape, value, rows = recording.tape, recording.value(layer), torch.tensor([unit.image for unit in units])
    maps = recording.stored_maps(layer)
    places = [(unit.channel, unit.row, unit.col) for unit in units if unit.row is not None and unit.col is not None]
    if can_start(tape, value) and len(places) == len(units) and is_worthwhile(tape, value, len(units)):
        starts = torch.ones(len(units), dtype=signal_dtype(maps), device=tape.device)
        pixels = project_patches(tape, value, places, starts, table, rows).frame()
    else:
        pixels = project_value(tape, value, from_maps(start_signal(maps, units, "one"), tape.axes[value]), table)
    numbers: Floats = pixels.float().cpu().numpy()
    return numbers


@dataclass(frozen=True, eq=False)
class _Randomised:
    """What making the weights random did."""

    similarity: Floats  # (seeds, orders, B, rules, N, measures): how alike the projections stay
    first_picture: list[Floats]  # 1 + B of (rules, C, H, W): its projections, trained, then at each step of the first cascade
    last: Floats  # (rules, N, C, H, W): all projections at the last of these steps, where all weights are random


def _randomise(followed: _Followed, blocks: Sequence[Sequence[str]], seeds: range, orders: Sequence[str]) -> _Randomised:
    """Make blocks of weights random, and compare the projections with the trained net's."""
    shape = len(seeds), len(ORDERS), len(blocks), len(RULES), len(followed.images), len(MEASURES)
    similarity, first_picture, last = np.full(shape, np.nan), [followed.pixels[:, 0]], followed.pixels
    steps = list(np.ndindex(len(seeds), len(orders), len(blocks)))
    for number, order, step in counted(steps, len(steps), "making weights random", "step"):
        cascading = orders[order] == "cascading"
        if step == 0 and not cascading:  # the top block alone is where both orders begin
            similarity[number, order, 0] = similarity[number, ORDERS.index("cascading"), 0]
            continue
        randomised = blocks[: step + 1] if cascading else blocks[step : step + 1]
        projections = followed.projections([path for block in randomised for path in block], seeds[number])
        similarity[number, order, step] = _compare(followed.trained, _describe(projections))
        if cascading and number == 0:
            first_picture.append(projections[:, 0])
            last = projections
    return _Randomised(similarity, first_picture, last)


def _describe(projections: Floats) -> list[list[Described]]:
    """Describe projections (rules, N, C, H, W), each by itself."""
    return [[Described.of_projection(pixels) for pixels in row] for row in projections]


def _compare(first: Sequence[Sequence[Described]], second: Sequence[Sequence[Described]]) -> Floats:
    """Measure what two nets give, pair by pair: (rules, N, measures)."""
    pairs = [zip(row, other, strict=True) for row, other in zip(first, second, strict=True)]
    return np.array([[list(one.compare(another).values()) for one, another in row] for row in pairs])


def _compare_to_others(trained: Sequence[Sequence[Described]]) -> Floats:
    """Measure each picture's projections against the next one's: (rules, N, measures), NaN where there is one only."""
    if len(trained[0]) == 1:
        return np.full((len(RULES), 1, len(MEASURES)), np.nan)
    return _compare(trained, [[*row[1:], row[0]] for row in trained])


def _means(cascade: Floats, blocks: Sequence[str], controls: Mapping[str, Floats]) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Return the means over pictures: of each step of the cascade (seeds, B, rules, N, measures), and of the controls."""
    rows = dict(zip(blocks, np.moveaxis(cascade, 1, 0), strict=True)) | {
        name: values[None] for name, values in controls.items()
    }
    return {
        name: {
            rule: {measure: _over_pictures(values[:, at, :, number]) for number, measure in enumerate(MEASURES)}
            for at, rule in enumerate(RULES)
        }
        for name, values in rows.items()
    }


def _over_pictures(values: Floats) -> Estimate:
    """Estimate the mean over pictures of values (seeds, N)."""
    return estimate_mean(values, np.broadcast_to(np.arange(values.shape[1]), values.shape))


def _compare_rules(cascade: Floats, others: Floats) -> tuple[Comparison, ...]:
    """Compare signed ranks in pairs: rules with each other, and each rule's with that of two different pictures."""
    signed = MEASURES.index("signed rank")
    middle, all_but_first = max(cascade.shape[1] // 2 - 1, 0), max(cascade.shape[1] - 2, 0)
    half = dict(zip(RULES, np.moveaxis(cascade[:, middle, :, :, signed], 1, 0), strict=True))  # (seeds, N) each
    rest = dict(zip(RULES, np.moveaxis(cascade[:, all_but_first, :, :, signed], 1, 0), strict=True))
    apart = dict(zip(RULES, others[:, :, signed], strict=True))
    pairs = {PRIMARY: (half["deconvnet"], half["gradient"])}
    pairs |= {
        f"upper half: {first} - {second}": (half[first], half[second])
        for first, second in (("guided", "gradient"), ("deconvnet", "guided"))
    }
    pairs |= {
        f"upper half: {rule} - another picture": (half[rule], np.broadcast_to(apart[rule], half[rule].shape)) for rule in RULES
    }
    pairs |= {
        f"all but the first: {rule} - another picture": (rest[rule], np.broadcast_to(apart[rule], rest[rule].shape))
        for rule in RULES
    }
    seeds, count = half["deconvnet"].shape
    flat = {name: (np.ravel(first), np.ravel(second)) for name, (first, second) in pairs.items()}
    return compare(flat, np.tile(np.arange(count), seeds), primary=PRIMARY)


def _compare_to_edges(projections: Floats, edges: Sequence[Described]) -> Floats:
    """Measure the magnitudes of projections (rules, N, C, H, W) against the pictures' edges: (rules, N, measures)."""
    magnitudes = [[Described.of_map(values) for values in row] for row in magnitude(projections)]
    return _compare(magnitudes, [edges] * len(RULES))
