"""Measure what silent pooling windows do: docs/cannot-show-numbers.md, "Silent windows".

python benchmarks/silent_windows.py
python benchmarks/silent_windows.py --model torchvision:squeezenet1_0 --weights squeezenet1_0.safetensors --photos photos/

Prints, each with a 95 % interval from a bootstrap over the pictures: the share of a signal's energy that stands at windows in
which something fired, at each max pool on its way down; the score of `deconvnet faithful`; and how well a map's projection
ranks the places where `deconvnet occlude` takes the map's activation (the paper's Fig. 7, c against b). SqueezeNet takes ten
minutes. With `--keep NAME` the numbers are kept in docs/data/silent-NAME.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from critics_table import choose_pictures
from pages import comparison, estimate, heading, keep, row
from scipy.stats import spearmanr

import deconvnet
from deconvnet.axes import from_maps
from deconvnet.choices import SILENTS, Silent
from deconvnet.inputs import PictureInput
from deconvnet.layers import last_layer
from deconvnet.mirror import walk_down
from deconvnet.models import LoadedModel
from deconvnet.projection import start_signal
from deconvnet.reach import is_max_pool
from deconvnet.select import choose_units
from deconvnet.studies import faithful, occlude
from deconvnet.studies.settings import study_settings
from deconvnet.studies.statistics import compare, estimate_mean

Floats = npt.NDArray[np.floating]


def fired_shares(loaded: LoadedModel, pictures: Sequence[PictureInput], top: int) -> dict[str, list[tuple[float, int]]]:
    """Return, for each max pool, the share of each signal's energy at windows in which something fired, and its picture."""
    net = deconvnet.DeconvNet(loaded, silent="first")
    shares: dict[str, list[tuple[float, int]]] = {}
    for image, picture in enumerate(pictures):
        recording = net.record(picture)
        layer = last_layer(recording)
        maps, tape, table = recording.stored_maps(layer), recording.tape, net.table("deconvnet")
        for unit in choose_units(maps[0], layer, top=top):
            signal = from_maps(start_signal(maps, [unit], "activation"), tape.axes[recording.value(layer)])
            signals = {recording.value(layer): signal}
            for call, number, below in walk_down(tape, recording.value(layer), signal, table, 0):
                if is_max_pool(call):
                    above = signals[call.outputs[0]]
                    fired = call.saved.switches < call.saved.places
                    share = float((above * fired).square().sum() / above.square().sum())
                    shares.setdefault(call.layer, []).append((share, image))
                signals[number] = below.clone()
    return shares


def occlusion_ranks(loaded: LoadedModel, pictures: Sequence[PictureInput], stride: int | None) -> dict[Silent, Floats]:
    """Return each picture's rank correlation of a map's projected energy in a square and what covering the square takes."""
    ranks: dict[Silent, list[float]] = {silent: [] for silent in SILENTS}
    for picture in pictures:
        result = occlude.run(deconvnet.DeconvNet(loaded), picture, stride=stride)
        side = result.settings["square"]
        for silent in SILENTS:
            net = deconvnet.DeconvNet(loaded, silent=silent)
            channel, layer = result.settings["channel"], result.settings["layer"]
            pixels = net.project(net.record(picture), layer, channels=[channel], at="map", rule="deconvnet").pixels[0].numpy()
            energy = np.square(pixels).sum(0)
            sums = [[energy[top : top + side, left : left + side].sum() for left in result.lefts] for top in result.tops]
            ranks[silent].append(float(spearmanr(np.ravel(sums), np.ravel(result.total - result.totals)).statistic))
    return {silent: np.array(values) for silent, values in ranks.items()}


def measure(loaded: LoadedModel, pictures: Sequence[PictureInput], options: argparse.Namespace) -> dict[str, Any]:
    """Return the shares of the energy at windows that fired, the scores of faithful, and the rank correlations."""
    shares = fired_shares(loaded, pictures, options.top)
    scores = {silent: faithful.run(deconvnet.DeconvNet(loaded, silent=silent), pictures, top=options.top) for silent in SILENTS}
    ranks = occlusion_ranks(loaded, pictures[: options.occluded], options.stride)
    [apart] = compare({"drop - first": (ranks["drop"], ranks["first"])}, primary="drop - first")
    details = {"top": options.top, "occluded": len(ranks["drop"]), "stride": options.stride}
    return {
        "fired": {layer: asdict(estimate_mean(*zip(*pairs, strict=True))) for layer, pairs in shares.items()},
        "scores": {silent: {name: asdict(mean) for name, mean in result.means.items()} for silent, result in scores.items()},
        "ranks": {silent: asdict(estimate_mean(values)) for silent, values in ranks.items()},
        "apart": asdict(apart),
        "settings": study_settings(deconvnet.DeconvNet(loaded), "silent_windows", inputs=pictures, **details),
    }


def share_rows(numbers: Mapping[str, Any]) -> list[str]:
    """Return the share of the energy at windows that fired, by max pool, from the top down."""
    rows = [row(layer, [str(estimate(mean))]) for layer, mean in numbers["fired"].items()]
    return [*heading("max pool", ["share of the energy at windows that fired"]), *rows]


def score_rows(numbers: Mapping[str, Any]) -> list[str]:
    """Return the scores of faithful, and the rank correlation with occlusion, by what silent windows do."""
    first, drop = numbers["scores"]["first"], numbers["scores"]["drop"]
    rows = [row(name, [str(estimate(first[name])), str(estimate(drop[name]))]) for name in drop]
    ranks = [str(estimate(numbers["ranks"][silent])) for silent in ("first", "drop")]
    name = f"rank correlation with occlusion, {numbers['settings']['occluded']} pictures"
    return [*heading("score of faithful", ["first", "drop"]), *rows, row(name, ranks)]


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--weights", default="DEFAULT")
    parser.add_argument("--photos", help="a folder; without it, drawings")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--occluded", type=int, default=16, help="pictures that are occluded, which takes longest")
    parser.add_argument("--stride", type=int, help="pixels from one square to the next. [default: occlude's own]")
    parser.add_argument("--top", type=int, default=2, help="units of each picture")
    parser.add_argument("--keep", metavar="NAME", help="keep the numbers in docs/data, with this name")
    arguments = parser.parse_args()
    loaded = deconvnet.load_model(arguments.model, weights=arguments.weights)
    pictures = choose_pictures(arguments.photos, arguments.count)
    numbers = measure(loaded, pictures, arguments)
    print(f"{arguments.model}, {len(pictures)} pictures\n")
    for table in (share_rows(numbers), score_rows(numbers)):
        print("\n".join(table), end="\n\n")
    print(" | ".join(comparison(numbers["apart"]).cells()))
    if arguments.keep:
        keep(f"silent-{arguments.keep}", numbers, of_photographs=bool(arguments.photos))


if __name__ == "__main__":
    main()
