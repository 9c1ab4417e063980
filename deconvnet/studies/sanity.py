"""Do projections change when the weights are made random? Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018.

Followed is one unit: the likeliest class's score, started by 1. Weights are made random on a copy of the model, block by block:
*cascading* from the top down, each block with all above it, and *independently*, one block with all others as trained.
Measured is how alike the new projection and the old are (`alike.py`): rank correlation of |x| and of signed values, SSIM, HOG.
A picture of what the net learned must change; one that stays shows the input. NaN: there is nothing to rank, as in the
gradient of a unit that no longer fires.

A trap: of a unit inside the net, the layers above it never enter the projection, so making them random changes nothing by
construction. So a score is followed, which has all layers below it; where `layer` names another, only the blocks at or below
it are made random, and the others are listed in `above`.

Held against each other: the deconvnet, guided backpropagation, the gradient; an edge detector that knows no net at all (Sobel
of the picture); and, so that the numbers can be read, random masks (`noise`), and the projections of other pictures (`others`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..choices import Tone
from ..drawings import draw
from ..errors import OptionError
from ..inputs import PictureInputs, as_batch, source_names
from ..net import DeconvNet
from ..optional import require
from ..projection import as_maps, choose_units
from ..recording import Recording
from ..units import Unit
from .forward import net_maps
from .reinitialise import blocks_above, reinitialised, weight_blocks
from .result import PIXELS, settings_of
from .selectivity import Selectivity, measure_selectivity
from .similarity import MEASURES, magnitude, mean_known, measure_all, measure_maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = npt.NDArray[Any]

RULES = ("deconvnet", "guided", "gradient")
WAYS = ("cascading", "independent")


@dataclass(frozen=True)
class Sanity:
    """N pictures, B blocks of weights (top first), three rules, four measures; each is the mean over seeds."""

    layer: str
    units: tuple[str, ...]  # (N,)
    blocks: tuple[str, ...]
    above: tuple[str, ...]  # layers that stand above the unit: no part of its projection
    rules: tuple[str, ...]
    ways: tuple[str, ...]
    measures: tuple[str, ...]
    alike: Values  # (ways, B, rules, N, measures): the old projection and the new one
    spread: Values  # the same shape: the deviation over seeds
    edges: Values  # (rules, N, measures): the trained net's projection and the picture's edges
    edges_random: Values  # (rules, N, measures): the projection of a net that is random all over, and the edges
    noise: Values  # (rules, N, measures): the projection and a mask of normal numbers
    others: Values  # (rules, N, measures): the projection and that of the next picture; NaN for one picture
    selectivity: Selectivity
    picture: Values = field(metadata=PIXELS)  # (H, W, 3 or 1), the first: what the net saw
    edge_map: Values = field(metadata=PIXELS)  # (H, W)
    pixels: Values = field(metadata=PIXELS)  # (rules, 1 + B, C, H, W): the first picture's, trained, then cascading
    settings: dict[str, Any] = field(default_factory=dict)


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
    """Make a net's weights random step by step and measure how a unit's projection changes; needs the extra `studies`.

    Without pictures, one bundled drawing. Without a layer, the net's last, the class scores; without a channel, the strongest.
    Selectivity compares the `top` strongest channels at the busiest place of the layer `select`, by default the last rectified
    one. `seeds`: how often each step is drawn anew.
    """
    require("scipy.stats", needed_by="sanity", extra="studies"), require("skimage.feature", needed_by="sanity", extra="studies")
    if seeds < 1 or top < 2:
        raise OptionError(f"seeds cannot be {seeds} with top {top}: at least 1 seed, and 2 channels to compare.")
    pictures = draw("cat", seed=5) if pictures is None else pictures
    recording = net.record(as_batch(net, pictures), stop=False)
    layer = layer or last_layer(recording)
    units = strongest(recording, layer, channel)
    blocks = weight_blocks(recording, layer)
    if not blocks:
        raise OptionError(f"below {layer!r} no layer has weights: nothing can be made random.")
    trained = _projections(net, recording, layer, units)  # (rules, N, C, H, W)
    alike = np.zeros((seeds, len(WAYS), len(blocks), len(RULES), len(recording), len(MEASURES)))
    shown, last = [trained[:, 0]], trained
    for number, way, step in np.ndindex(seeds, len(WAYS), len(blocks)):
        some = blocks[: step + 1] if WAYS[way] == "cascading" else blocks[step : step + 1]
        made = _random_projections(net, recording, layer, units, [path for _, paths in some for path in paths], seed + number)
        alike[number, way, step] = _compare(trained, made)
        if WAYS[way] == "cascading" and number == 0:
            shown.append(made[:, 0])
            last = made
    edges = np.stack([edge_map(image) for image in recording.images.float().cpu().numpy()])
    noise = np.random.default_rng(seed).standard_normal(trained.shape)
    select, maps = net_maps(recording, select)
    return Sanity(
        layer=layer,
        units=tuple(str(unit) for unit in units),
        blocks=tuple(name for name, _ in blocks),
        above=tuple(blocks_above(recording, layer, blocks)),
        rules=RULES,
        ways=WAYS,
        measures=MEASURES,
        alike=mean_known(alike, 0),
        spread=np.sqrt(mean_known(np.square(alike - mean_known(alike, 0)), 0)),
        edges=_against_edges(trained, edges),
        edges_random=_against_edges(last, edges),
        noise=_compare(trained, noise),
        others=_compare(trained, np.roll(trained, 1, axis=1)) if len(recording) > 1 else np.full((len(RULES), 1, 4), np.nan),
        selectivity=measure_selectivity(net, recording, select, maps, top),
        picture=net.loaded.denormalise(recording.images[0], net.preprocess),
        edge_map=edges[0],
        pixels=np.stack(shown, axis=1),
        settings=settings_of(
            net, "sanity", pictures=source_names(pictures), layer=layer, select=select, top=top, seeds=seeds, seed=seed
        ),
    )


def plot(result: Sanity, *, tone: Tone = "symmetric") -> Figure:
    """Draw the projections as the weights go, how alike they stay, and how alike those of different channels are."""
    from .sanity_figure import draw_sanity

    return draw_sanity(result, tone)


def last_layer(recording: Recording) -> str:
    """Return the layer that the net answers with: a class's score has every layer below it."""
    places = [place for place in recording.places().values() if place.value is not None]
    last = max(place.value or 0 for place in places)
    return min((place for place in places if place.value == last), key=lambda place: (-place.first, len(place.name))).name


def strongest(recording: Recording, layer: str, channel: int | None) -> list[Unit]:
    """Return a unit for each picture: the strongest of the layer, or of one channel."""
    maps = as_maps(recording.kept_activations(layer), recording.layout(layer), layer)
    channels = None if channel is None else [channel]
    return [choose_units(own, layer, channels=channels, top=1, image=image)[0] for image, own in enumerate(maps)]


def edge_map(image: Values) -> Values:
    """Return the Sobel edges (H, W) of an image (C, H, W): the strength of the gradient of its mean over channels."""
    edges: Values = require("skimage.filters", needed_by="the edge detector", extra="studies").sobel(image.mean(0))
    return edges


def _projections(net: DeconvNet, recording: Recording, layer: str, units: Sequence[Unit]) -> Values:
    """Project by each rule, in the whole frame: (rules, N, C, H, W)."""
    made = [net.project(recording, layer, units=units, rule=rule, start="one").pixels for rule in RULES]
    return np.stack([one.float().numpy() for one in made])


def _random_projections(
    net: DeconvNet, recording: Recording, layer: str, units: Sequence[Unit], paths: Sequence[str], seed: int
) -> Values:
    other = DeconvNet(reinitialised(net.model, paths, seed), rules=net.rules, overlap=net.overlap, lrn=net.lrn)
    return _projections(other, other.record(recording.images, layers=[layer]), layer, units)


def _compare(one: Values, other: Values) -> Values:
    """Measure (rules, N, C, H, W) against the same shape: (rules, N, measures)."""
    return np.array(
        [[list(measure_all(a, b).values()) for a, b in zip(*pair, strict=True)] for pair in zip(one, other, strict=True)]
    )


def _against_edges(made: Values, edges: Values) -> Values:
    return np.array(
        [[list(measure_maps(magnitude(a), edge).values()) for a, edge in zip(one, edges, strict=True)] for one in made]
    )
