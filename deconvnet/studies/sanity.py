"""Do projections change when the weights are made random? Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018.

One unit is followed in each picture: the score of the most probable class, started by 1. Where a net makes its scores by
averaging a map for each class, as SqueezeNet does, it is the strongest place of that map: from the score itself the signal
starts everywhere at once, and one rectification can leave none of it. Weights are made random on a copy of the model, block
by block: *cascading* from the top down, each block with all above it, and *independently*, one block while all others stay
trained. How alike the new projection and the old one are is measured by rank correlation of |x| and of signed values, SSIM and
HOG (`similarity.py`), inside the unit's window (`followed.py`). A picture of what the net learned must change; one that stays
shows the input. NaN: there is nothing to rank, as in the gradient of a unit that no longer fires.

What takes long is one pass up and three ways down for each step, draw of weights and picture. So by default the cascade looks
after five groups of blocks, which are named in the result: the top block, the upper half, all but the first and all are among
them, and the weights there are those that a look after each block would find (`steps=None`, with more of them between).

A trap: the layers above a unit inside the net never enter its projection, so making them random changes nothing by
construction. Therefore a score is followed, which has all layers below it; where `layer` names another layer, only the blocks
at or below it are made random, and the others are listed in `above`.

Compared are the deconvnet, guided backpropagation and the gradient; an edge detector that knows no net at all (Sobel of the
picture); and, so that the numbers can be read, random masks (`noise`) and the projections of other pictures (`others`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from ..drawings import draw
from ..errors import OptionError
from ..inputs import PictureInputs, as_batch, source_names
from ..named_channels import channel_numbers, class_map_layer
from ..net import DeconvNet
from ..optional import require
from ..paper_names import full_name
from ..progress import counted
from ..recording import Recording
from ..select import choose_units
from ..units import Unit
from .arrays import Floats
from .classes import class_probabilities
from .followed import RULES, Followed
from .forward import choose_layer, layer_maps
from .nulls import edge_map
from .reinitialise import group_blocks, layers_above, reinitialise_in_steps, reinitialised, weight_blocks
from .sanity_result import Sanity
from .selectivity import Selectivity, measure_selectivity
from .settings import study_settings
from .similarity import MEASURES, Described, mean_known
from .statistics import Comparison, Estimate, compare, estimate_mean

__all__ = ["Sanity", "Selectivity", "run"]

ORDERS = ("cascading", "independent")
DRAWINGS = 50  # where no picture is given
FEWEST_STEPS = 4  # the top block, the upper half, all but the first, all
PRIMARY = "upper half: deconvnet - gradient"


def run(
    net: DeconvNet,
    pictures: PictureInputs | None = None,
    *,
    layer: str | None = None,
    channel: int | str | None = None,
    select: str | None = None,
    top: int = 8,
    seeds: int = 3,
    seed: int = 0,
    steps: int | None = 5,
    independent: bool = False,
) -> Sanity:
    """Make a net's weights random step by step, and measure how a unit's projection changes; needs the extra `studies`.

    Args:
        net: the net to study, which stays as it is.
        pictures: one picture or several: paths, PIL pictures, drawings, or images (N, C, H, W) as the net expects them; by
            default fifty drawings.
        layer: the layer of the unit that is followed; by default the map of each class where the scores are its averages,
            else the scores of the classes.
        channel: the unit's channel, of the class scores also the name of a class; by default that of each picture's most
            probable class, in other layers the strongest.
        select: the layer whose channels are compared at one position; by default the last rectified one with maps.
        top: how many channels to compare there, 2 or more.
        seeds: how often the weights of each step are drawn, 1 or more; a picture's values are averaged over them.
        seed: of the first drawing of weights.
        steps: the most steps of the cascade, 4 or more: blocks are taken together; None: a step for each block.
        independent: make the blocks of each step random by themselves too, which takes as long again; False leaves NaN there.

    Returns:
        How alike the projections stay, by three rules and four measures.

    Raises:
        MissingPackageError: SciPy or scikit-image is not installed.
        PictureError: there is no picture, or one cannot be opened.
        UnknownLayerError: the net has no such layer.
        UnitError: the layer has no such channel.
        OptionError: `seeds`, `top` or `steps` are not possible, or no layer below the unit has weights.

        >>> sanity.run(net, "cat.jpg").similarity.shape  # orders, steps, rules, pictures, measures
        (2, 5, 3, 1, 4)
    """
    require("scipy.stats", needed_by="sanity", extra="studies")
    require("skimage.feature", needed_by="sanity", extra="studies")
    if seeds < 1:
        raise OptionError(f"seeds cannot be {seeds}: it is how often the weights are drawn, 1 or more.")
    if top < 2:
        raise OptionError(f"top cannot be {top}: it is the number of channels to compare, 2 or more.")
    if steps is not None and steps < FEWEST_STEPS:
        raise OptionError(f"steps cannot be {steps}: it is the most steps of the cascade, {FEWEST_STEPS} or more.")
    pictures = [draw("cat", seed=5), *(draw(seed=number) for number in range(DRAWINGS - 1))] if pictures is None else pictures
    recording = net.record(as_batch(net, pictures), stop=False)
    asked, layer = layer, full_name(net.name, layer) if layer else class_map_layer(recording)
    number = None if channel is None else channel_numbers(net.loaded, recording, layer, [channel])[0]
    units = _followed_units(recording, layer, number, by_score=asked is None)
    blocks = weight_blocks(recording, layer)
    if not blocks:
        raise OptionError(f"no layer below {layer!r} has weights: nothing can be made random. Name a higher layer.")
    depths = group_blocks(len(blocks), steps)
    groups = [
        [path for _, paths in blocks[first:last] for path in paths] for first, last in zip([0, *depths], depths, strict=False)
    ]
    select, maps = choose_layer(recording, select)  # before the work, which takes its time
    followed = Followed(net, recording, layer, units)
    random = _randomise(followed, groups, range(seed, seed + seeds), ORDERS if independent else ORDERS[:1])
    edges = [edge_map(image) for image in recording.images.float().cpu().numpy()]
    noise = np.random.default_rng(seed).standard_normal((len(units), *recording.images.shape[1:]))
    described_noise, described_edges = followed.describe(noise[None]) * len(RULES), [followed.describe_maps(edges)] * len(RULES)
    controls = {
        "others": _compare_to_others(followed),
        "noise": _compare(followed.trained, described_noise),
        "edges": _compare(followed.describe_magnitudes(followed.pixels), described_edges),
        "edges_random": _compare(followed.describe_magnitudes(random.last), described_edges),
    }
    cascade, names = random.similarity[:, ORDERS.index("cascading")], [blocks[depth - 1][0] for depth in depths]
    return Sanity(
        layer=layer,
        units=tuple(str(unit) for unit in units),
        windows=tuple(followed.inside),
        blocks=tuple(names),
        depths=tuple(depths),
        above=tuple(layers_above(recording, blocks)),
        rules=RULES,
        orders=ORDERS,
        measures=MEASURES,
        similarity=mean_known(random.similarity, 0),
        spread=np.sqrt(mean_known(np.square(random.similarity - mean_known(random.similarity, 0)), 0)),
        **controls,
        means=_means(cascade, names, controls),
        comparisons=_compare_rules(cascade, controls["others"], depths),
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
            steps=steps,
        ),
    )


def _followed_units(recording: Recording, layer: str, channel: int | None, *, by_score: bool) -> list[Unit]:
    """Return a unit for each picture: the strongest of a channel, by default that of the most probable class."""
    maps = layer_maps(recording, layer)
    probabilities = class_probabilities(recording.output) if by_score and channel is None else None
    channels = [None if channel is None else [channel]] * len(maps)
    if probabilities is not None and probabilities.shape[1] == maps.shape[1]:
        channels = [[int(row.argmax())] for row in probabilities]
    return [choose_units(maps[image], layer, channels=channels[image], top=1, image=image)[0] for image in range(len(maps))]


@dataclass(frozen=True, eq=False)
class _Randomised:
    """What making the weights random did."""

    similarity: Floats  # (seeds, orders, B, rules, N, measures): how alike the projections stay
    first_picture: list[Floats]  # 1 + B of (rules, C, H, W): its projections, trained, then at each step of the first cascade
    last: Floats  # (rules, N, C, H, W): all projections at the last of these steps, where all weights are random


def _randomise(followed: Followed, groups: Sequence[Sequence[str]], seeds: range, orders: Sequence[str]) -> _Randomised:
    """Make groups of modules random, and compare the projections with the trained net's."""
    shape = len(seeds), len(ORDERS), len(groups), len(RULES), len(followed.images), len(MEASURES)
    similarity, first_picture, last = np.full(shape, np.nan), [followed.pixels[:, 0]], followed.pixels
    steps = list(np.ndindex(len(seeds), len(orders), len(groups)))
    nets = (net for seed in seeds for order in orders for net in _random_nets(followed.net.model, groups, seed, order))
    for (number, order, step), net in counted(zip(steps, nets, strict=True), len(steps), "making weights random", "step"):
        if net is None:  # the top block alone is where both orders begin
            similarity[number, order, 0] = similarity[number, ORDERS.index("cascading"), 0]
            continue
        projections = followed.projections(net)
        similarity[number, order, step] = _compare(followed.trained, followed.describe(projections))
        if orders[order] == "cascading" and number == 0:
            first_picture.append(projections[:, 0])
            last = projections
    return _Randomised(similarity, first_picture, last)


def _random_nets(model: nn.Module, groups: Sequence[Sequence[str]], seed: int, order: str) -> Iterator[nn.Module | None]:
    """Yield the model with groups of modules random: each with all before it, or alone; None for the first one alone."""
    if order == "cascading":
        yield from reinitialise_in_steps(model, groups, seed)
    else:
        yield None
        yield from (reinitialised(model, paths, seed) for paths in groups[1:])


def _compare(first: Sequence[Sequence[Described]], second: Sequence[Sequence[Described]]) -> Floats:
    """Measure what two nets give, pair by pair: (rules, N, measures)."""
    pairs = [zip(row, other, strict=True) for row, other in zip(first, second, strict=True)]
    return np.array([[list(one.compare(another).values()) for one, another in row] for row in pairs])


def _compare_to_others(followed: Followed) -> Floats:
    """Measure each picture's projections against the next one's: (rules, N, measures), NaN where there is one only."""
    if len(followed.images) == 1:
        return np.full((len(RULES), 1, len(MEASURES)), np.nan)
    return _compare(*followed.describe_next())


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


def _compare_rules(cascade: Floats, others: Floats, depths: Sequence[int]) -> tuple[Comparison, ...]:
    """Compare signed ranks in pairs: rules with each other, and each rule's with that of two different pictures."""
    signed = MEASURES.index("signed rank")
    middle, all_but_first = depths.index(max(depths[-1] // 2, 1)), max(len(depths) - 2, 0)
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
