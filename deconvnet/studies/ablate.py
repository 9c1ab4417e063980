"""Which of the three bits makes the picture? Mahendran & Vedaldi, "Salient deconvolutional networks", ECCV 2016.

A way down differs in three bits: the forward mask of each ReLU, the switches of each max pool, the rectification of what
travels down. All eight settings are drawn for one unit, and for a random positive signal in its place: |x| of normal numbers
in every channel at the unit's position. Where both pictures are alike, the picture tells of the switches and masks more than
of the unit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ..choices import Tone
from ..drawings import draw
from ..errors import OptionError
from ..inputs import PictureInput, as_batch, only_picture, source_names
from ..net import DeconvNet
from ..projection import choose_units, from_maps, mirror_type, unit_window
from ..render import apply_tone
from ..units import Unit
from .forward import net_maps
from .result import PIXELS, add_footer, cut_window, new_figure, settings_of, shown_window
from .similarity import correlation, cosine, magnitude, pair_mean, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = npt.NDArray[Any]

RULES = ("FTT", "TTT", "TTF", "FTF", "FFT", "TFT", "TFF", "FFF")
NAMES = {"FTT": "deconvnet", "TTT": "guided", "TTF": "gradient", "FFT": "no switches", "FFF": "filters alone"}


@dataclass(frozen=True)
class Ablation:
    """The eight settings R, each with the unit's signal and with S random ones. Alike: cosine (signed), correlation of |x|."""

    rules: tuple[str, ...]  # mask, switches, rectify
    unit: str
    activation: float
    window: Values  # (4,): top, left, height, width
    cosine: Values  # (R, R): how alike the unit's projections by two settings are
    correlation: Values  # (R, R), of magnitudes
    random_cosine: Values  # (R, S): the unit's projection against each random signal's, by one setting
    random_correlation: Values  # (R, S), of magnitudes
    randoms_alike: Values  # (R,): the mean correlation of two random signals' magnitudes
    picture: Values = field(metadata=PIXELS)  # (h, w, 3), what the net saw in the window
    pixels: Values = field(metadata=PIXELS)  # (R, 2, C, h, w): the unit's projection, and the first random signal's
    settings: dict[str, Any] = field(default_factory=dict)


def run(
    net: DeconvNet,
    picture: PictureInput | None = None,
    *,
    layer: str | None = None,
    channel: int | None = None,
    signals: int = 4,
    seed: int = 0,
) -> Ablation:
    """Project a unit, and `signals` random signals in its place, by all eight settings of mask, switches, rectify.

    Without a picture, a bundled drawing; without a layer, the last rectified one; without a channel, the strongest. The unit
    is the channel's strongest.
    """
    if signals < 2:
        raise OptionError(f"signals cannot be {signals}: two random ones are compared, at least.")
    picture = draw("cat", seed=5) if picture is None else only_picture(picture)
    recording = net.record(as_batch(net, picture).repeat(1 + signals, 1, 1, 1))
    layer, maps = net_maps(recording, layer)
    [unit] = choose_units(maps[0], layer, channels=None if channel is None else [channel], top=1)
    tape, value = recording.tape, recording.value(layer)
    window = shown_window(unit_window(tape, value, unit), recording.images.shape[1:])
    signal = from_maps(start_signals(maps, unit, signals, seed), tape.layouts[value])
    cut = [
        np.stack([cut_window(one, window) for one in net.project_signal(recording, layer, signal, rule=rule).cpu().numpy()])
        for rule in RULES
    ]
    units, sizes = [made[0] for made in cut], [magnitude(made) for made in cut]
    seen = net.loaded.denormalise(recording.images[0], net.preprocess)
    return Ablation(
        rules=RULES,
        unit=str(unit),
        activation=float(unit.activation or 0),
        window=np.array(window.to_list()),
        cosine=table(units, cosine),
        correlation=table([size[0] for size in sizes], correlation),
        random_cosine=np.array([[cosine(made[0], other) for other in made[1:]] for made in cut]),
        random_correlation=np.array([[correlation(size[0], other) for other in size[1:]] for size in sizes]),
        randoms_alike=np.array([pair_mean(table(list(size[1:]), correlation)) for size in sizes]),
        picture=cut_window(np.moveaxis(seen, -1, 0), window, 127).transpose(1, 2, 0),
        pixels=np.stack([made[:2] for made in cut]),
        settings=settings_of(
            net, "ablate", picture=source_names(picture)[0], layer=layer, unit=str(unit), signals=signals, seed=seed
        ),
    )


def start_signals(maps: torch.Tensor, unit: Unit, signals: int, seed: int) -> torch.Tensor:
    """Return (1 + S, C', H', W'): the unit's activation alone, then |normal numbers| in all channels at the unit's place."""
    start = torch.zeros((1 + signals, *maps.shape[1:]), dtype=mirror_type(maps), device=maps.device)
    row, col = unit.row or 0, unit.col or 0
    start[0, unit.channel, row, col] = float(unit.activation or 0)
    numbers = np.abs(np.random.default_rng(seed).standard_normal((signals, maps.shape[1])))
    start[1:, :, row, col] = torch.from_numpy(numbers).to(start)
    return start


def plot(result: Ablation, *, tone: Tone = "symmetric") -> Figure:
    """Draw the eight projections of the unit above those of a random signal, and below how alike they are."""
    figure = new_figure(11.4, 6.6)
    above, below = figure.subfigures(2, 1, height_ratios=[3.1, 3.5])  # type: ignore[misc]
    grid = above.subplots(2, 1 + len(result.rules))
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    picture = result.picture if result.picture.shape[-1] == 3 else np.repeat(result.picture, 3, axis=-1)
    grid[0, 0].imshow(picture)
    grid[0, 0].set_title("what the net saw\nin the unit's window", fontsize=7)
    grid[1, 0].set_visible(False)
    for col, rule in enumerate(result.rules, 1):
        for row in (0, 1):
            grid[row, col].imshow(apply_tone([result.pixels[col - 1, row]], tone)[0], interpolation="nearest")
        grid[0, col].set_title(f"{rule}\n{NAMES.get(rule, '')}", fontsize=8)
        grid[1, col].set_xlabel(f"|x| alike {result.random_correlation[col - 1].mean():.2f}", fontsize=7)
    grid[0, 1].set_ylabel("the unit", fontsize=8)
    grid[1, 1].set_ylabel("random signal", fontsize=8)
    _draw_tables(below, result)
    source = os.path.basename(result.settings["picture"])
    add_footer(figure, result.settings, f"{result.unit} of {source}", "bits: mask, switches, rectify")
    return figure


def _draw_tables(figure: Any, result: Ablation) -> None:
    tables, bars = figure.subfigures(1, 2, width_ratios=[7, 4])
    for axes, values, title in zip(
        tables.subplots(1, 2),
        (result.cosine, result.correlation),
        ("unit: cosine of signed values", "unit: correlation of |x|"),
        strict=True,
    ):
        axes.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
        ticks = range(len(result.rules))
        axes.set_xticks(ticks, result.rules, fontsize=7, rotation=90)
        axes.set_yticks(ticks, result.rules, fontsize=7)
        for row, line in enumerate(values):
            for col, number in enumerate(line):
                ink = "white" if abs(number) > 0.7 else "black"
                axes.text(col, row, f"{number:.2f}".replace("0.", "."), ha="center", va="center", fontsize=6, color=ink)
        axes.set_title(title, fontsize=8)
    axes = bars.subplots()
    places = np.arange(len(result.rules))
    axes.bar(places - 0.2, result.random_correlation.mean(1), 0.4, color="#3b6ea5", label="unit and random signal")
    axes.bar(places + 0.2, result.randoms_alike, 0.4, color="#b9c9da", label="two random signals")
    for place, line in zip(places, result.random_correlation, strict=True):
        axes.plot([place - 0.2] * len(line), line, ".", color="black", markersize=3)
    axes.axhline(0, color="0.6", linewidth=0.6)
    axes.set_xticks(places, result.rules, fontsize=7, rotation=90)
    axes.set_ylim(min(0.0, float(np.nanmin(result.random_correlation)) - 0.05), 1.2)
    axes.set_yticks(np.linspace(0, 1, 6))  # the legend stands above what a correlation can be
    axes.spines["left"].set_bounds(axes.get_ylim()[0], 1)
    axes.tick_params(axis="y", labelsize=7)
    axes.legend(fontsize=7, frameon=False, loc="upper right", ncols=2)
    axes.set_title("correlation of |x| (a dot for each signal)", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
