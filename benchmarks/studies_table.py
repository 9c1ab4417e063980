"""Measure the numbers of docs/studies.md: correspond, filters, ablate and invariance of tiny, and filters of other nets.

python benchmarks/studies_table.py
python benchmarks/studies_table.py --filters squeezenet --model torchvision:squeezenet1_0 --weights squeezenet1_0.safetensors \\
    --photos photos/

Keeps them in docs/data. The second measures the first filters of one net on 50 photographs; without `--photos`, on 12 drawings
of 256 pixels, or in tiny's own size.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from critics_table import choose_pictures
from pages import keep

import deconvnet
from deconvnet.cli import deconvnet as command_group
from deconvnet.drawings import draw
from deconvnet.inputs import PictureInput
from deconvnet.results import to_json
from deconvnet.studies import filters

DRAWINGS, PHOTOS, SIDE = 12, 50, 256


def command_numbers(name: str) -> dict[str, Any]:
    """Return the numbers that a command of a study writes, on tiny and its own drawings."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "numbers.json")
        command_group.main([name, "--json", str(path), "--out", str(Path(folder, "figure.png"))], standalone_mode=False)
        numbers: dict[str, Any] = json.loads(path.read_text())
    return numbers


def correspond_numbers() -> dict[str, Any]:
    """Return the disagreement of each part and control in each layer, and the comparisons."""
    numbers = command_numbers("correspond")
    rows = [{"name": row["name"], "means": row["means"]} for row in numbers["rows"]]
    return {"rows": rows, **{key: numbers[key] for key in ("layers", "comparisons", "settings")}}


def ablate_numbers() -> dict[str, Any]:
    """Return how alike a unit's picture and those of random signals are, by rule, and the cosine to it of each other choice."""
    numbers = command_numbers("ablate")
    means = [float(np.mean(values)) for values in numbers["random_correlation"]]
    return {
        "random_correlation": dict(zip(numbers["rules"], means, strict=True)),
        "choice_cosine": dict(zip(numbers["choices"], numbers["choice_cosine"], strict=True)),
        "settings": numbers["settings"],
    }


def invariance_numbers() -> dict[str, Any]:
    """Return the probability of each picture's class at each angle."""
    numbers = command_numbers("invariance")
    rotation = dict(zip(numbers["classes"], numbers["rotation"]["shares"], strict=True))
    return {"angles": numbers["rotation"]["values"], "rotation": rotation, "settings": numbers["settings"]}


def filters_numbers(net: deconvnet.DeconvNet, pictures: list[PictureInput]) -> dict[str, Any]:
    """Return what is said of a net's first filters, and of its second layer's projections."""
    result = filters.run(net, pictures)
    numbers = to_json(result)
    kept = ("stride", "dominance", "faint", "silent", "noise_shares", "grid_mean", "patch_grid_mean", "flat_grid", "settings")
    return {**{key: numbers[key] for key in kept}, "shares": result.shares.mean(0).tolist(), "pictures": len(pictures)}


def main() -> None:
    """Measure, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filters", metavar="NAME", help="measure first filters only, and keep them with this name")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--weights", default="DEFAULT")
    parser.add_argument("--photos", help="a folder; without it, drawings")
    arguments = parser.parse_args()
    if arguments.filters:
        net = deconvnet.DeconvNet(deconvnet.load_model(arguments.model, weights=arguments.weights))
        pictures = choose_pictures(arguments.photos, PHOTOS) if arguments.photos else drawings(arguments.model)
        keep(f"filters-{arguments.filters}", filters_numbers(net, pictures), of_photographs=bool(arguments.photos))
        return
    for study, measure in (("correspond", correspond_numbers), ("ablate", ablate_numbers), ("invariance", invariance_numbers)):
        keep(study, measure(), of_photographs=False)


def drawings(model: str) -> list[PictureInput]:
    """Return the first drawings, in tiny's size or as large as others take them."""
    return [draw(seed=seed) if model == "tiny" else draw(seed=seed, size=SIDE) for seed in range(DRAWINGS)]


if __name__ == "__main__":
    main()
