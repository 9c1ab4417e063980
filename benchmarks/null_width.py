"""Measure how the null without a net depends on how fast it fades: docs/cannot-show-numbers.md.

python benchmarks/null_width.py

Prints, for widths of the Gaussian in shares of the window's sides, how much of the energy of edges times Gaussian lies on the
part that excites a channel of tiny, and how much more of the deconvnet's; means over 50 drawings with 95 % intervals. Keeps the
numbers in docs/data/null-width.json.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from pages import comparison, estimate, keep, row

import deconvnet
from deconvnet.drawings import draw
from deconvnet.inputs import as_batch
from deconvnet.select import choose_units
from deconvnet.studies import nulls
from deconvnet.studies.ground_truth import measure_truth
from deconvnet.studies.masking import energy
from deconvnet.studies.settings import study_settings
from deconvnet.studies.statistics import compare, estimate_mean

LAYER, TOP = "features.13", 2
WIDTHS = (0.1, 0.125, 0.15, 0.2, 0.25, 0.33, 0.5)


def measure() -> dict[str, Any]:
    """Return, for each width, the share of the energy on the part, and how much more of the deconvnet's is there."""
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    drawings = [draw(seed=seed) for seed in range(50)]
    recording = net.record(as_batch(net, drawings))
    maps, images = recording.stored_maps(LAYER), recording.images.numpy()
    units = [unit for image in range(len(maps)) for unit in choose_units(maps[image], LAYER, top=TOP, image=image)]
    projection = net.project(recording, LAYER, units=units, rule="deconvnet")
    placed = list(zip(units, projection.windows, strict=True))
    energies = {"deconvnet": [energy(pixels) for pixels in projection.pixels.numpy()]}
    for width in WIDTHS:
        energies[f"{width:g}"] = [nulls.no_net_energy(images[unit.image], window, fading=width) for unit, window in placed]
    truth = measure_truth(net, drawings, recording.images, units, projection.windows, energies)
    shares, pictures = dict(zip(truth.methods, truth.shares.T, strict=True)), np.array([unit.image for unit in units])
    differences = compare({name: (shares["deconvnet"], shares[name]) for name in energies if name != "deconvnet"}, pictures)
    return {
        "shares": {name: asdict(estimate_mean(share, pictures)) for name, share in shares.items()},
        "comparisons": [asdict(difference) for difference in differences],
        "settings": study_settings(net, "null_width", inputs=drawings, layer=LAYER, top=TOP),
    }


def main() -> None:
    """Measure, keep the numbers, and print a table in Markdown."""
    numbers = measure()
    keep("null-width", numbers, of_photographs=False)
    print("| Gaussian | energy on the part | deconvnet less that | |\n|---|---|---|---|")
    for difference in map(comparison, numbers["comparisons"]):
        share = estimate(numbers["shares"][difference.name])
        print(row(difference.name, [share.text(".0%"), *difference.cells()[1:]]))


if __name__ == "__main__":
    main()
