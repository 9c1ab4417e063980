"""Measure how much of projections is of their own pictures: docs/cannot-show-numbers.md, "How much of it is the picture".

python benchmarks/own_table.py
python benchmarks/own_table.py --model torchvision:squeezenet1_0 --weights squeezenet1_0.safetensors --photos photos/ \\
    --layer features.5 --layer features.12

Each picture is compared with the seven others that it is recorded with; the units are its strongest channels' strongest. The
mean over pictures stands with a 95 % interval from a bootstrap over them, and the number of empty projections if there are any.
With `--keep NAME` the numbers are kept in docs/data/own-NAME.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from critics_table import choose_pictures
from pages import heading, keep, row

import deconvnet
from deconvnet.inputs import PictureInput
from deconvnet.layers import choose_layers
from deconvnet.reach import pools_below
from deconvnet.studies.settings import study_settings
from deconvnet.studies.statistics import Estimate, estimate_mean

RULES = ("deconvnet", "guided", "gradient")
TOGETHER = 8  # pictures that are recorded at once


def own_cell(net: deconvnet.DeconvNet, batches: Sequence[deconvnet.Recording], layer: str, rule: str, top: int) -> Estimate:
    """Return own of a layer's strongest units by one rule, with its interval."""
    owns: list[float] = []
    for recording in batches:
        projection = net.project(recording, layer, rule=rule, top=top, own=True)
        for image in range(len(recording)):
            values = [own for own in projection.of_image(image).own or () if own is not None]
            owns += [*values, *[float("nan")] * (top - len(values))]
    return estimate_mean(owns, np.repeat(np.arange(len(owns) // top), top))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--weights", default="DEFAULT")
    parser.add_argument("--photos", help="a folder; without it, drawings")
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--top", type=int, default=3, help="units of each picture")
    parser.add_argument("--layer", action="append", help="may be repeated. [default: every rectified layer or block]")
    parser.add_argument("--keep", metavar="NAME", help="keep the numbers in docs/data, with this name")
    arguments = parser.parse_args()
    net = deconvnet.DeconvNet(deconvnet.load_model(arguments.model, weights=arguments.weights))
    pictures: list[PictureInput] = choose_pictures(arguments.photos, arguments.count)
    batches = [net.record(pictures[first : first + TOGETHER]) for first in range(0, len(pictures), TOGETHER)]
    print(f"{arguments.model}, {len(pictures)} pictures, {arguments.top} units each\n")
    print("\n".join(heading("layer", ["max pools below", "their reach, px", *RULES])))
    layers = {}
    for layer in arguments.layer or choose_layers(batches[0], None):
        pools = pools_below(batches[0].tape, batches[0].value(layer))
        cells = {rule: own_cell(net, batches, layer, rule, arguments.top) for rule in RULES}
        layers[layer] = {"pools": pools.count, "reach": pools.reach[0], **{rule: asdict(cells[rule]) for rule in RULES}}
        print(row(layer, [str(pools.count), str(pools.reach[0]), *map(str, cells.values())]), flush=True)
    if arguments.keep:
        settings = study_settings(net, "own_table", inputs=pictures, top=arguments.top, together=TOGETHER)
        keep(f"own-{arguments.keep}", {"layers": layers, "settings": settings}, of_photographs=bool(arguments.photos))


if __name__ == "__main__":
    main()
