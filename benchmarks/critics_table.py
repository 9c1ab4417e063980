"""Measure the numbers of docs/cannot-show.md: sanity, selectivity and faithfulness of tiny, or of a net on your photographs.

python benchmarks/critics_table.py
python benchmarks/critics_table.py --model torchvision:squeezenet1_0 --weights squeezenet1_0.safetensors --photos photos/

Prints Markdown tables. Tiny on 20 drawings takes a minute, SqueezeNet on 20 photographs about six.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

import deconvnet
from deconvnet.drawings import draw
from deconvnet.images import find_pictures
from deconvnet.inputs import PictureInput
from deconvnet.studies import faithful, sanity
from deconvnet.studies.similarity import mean_known


def choose_pictures(folder: str | None, count: int) -> list[PictureInput]:
    """Return drawings, or pictures spread evenly over a folder."""
    if folder is None:
        return [draw(seed=seed) for seed in range(count)]
    pictures: list[PictureInput] = [*find_pictures(folder)]
    return pictures[:: max(1, len(pictures) // count)][:count]


def sanity_rows(result: sanity.Sanity) -> list[str]:
    """Return how alike projections stay with the top block of weights random, with half of them, with all."""
    rows = ["| weights made random | rule | rank of \\|x\\| | signed rank | SSIM | HOG |", "|---|---|---|---|---|---|"]
    blocks = len(result.blocks)
    for step, name in (
        (0, "the top block"),
        (blocks // 2 - 1, "the upper half"),
        (blocks - 2, "all but the first"),
        (blocks - 1, "all"),
    ):
        for rule, label in enumerate(result.rules):
            rows.append(row(name, label, mean_known(result.similarity[0, step, rule], 0)))
    for rule, label in enumerate(result.rules):
        rows.append(row("none: another picture", label, result.others[rule].mean(0)))
        rows.append(row("none: against a random mask", label, result.noise[rule].mean(0)))
        rows.append(row("none: against the picture's edges", label, result.edges[rule].mean(0)))
        rows.append(row("all: against the picture's edges", label, result.edges_random[rule].mean(0)))
    return rows


def selectivity_rows(result: sanity.Sanity) -> list[str]:
    """Return how alike the projections of two channels at one position are, by each rule."""
    selectivity = result.selectivity
    rows = [
        f"| two channels of {selectivity.layer} at one position | correlation of \\|x\\| | signed cosine |",
        "|---|---|---|",
    ]
    return rows + [
        row(rule, None, [selectivity.correlation[:, index].mean(), selectivity.cosine[:, index].mean()])
        for index, rule in enumerate(selectivity.rules)
    ]


def faithful_rows(result: faithful.Faithfulness) -> list[str]:
    """Return what covering takes away, by each method, and on drawings the energy on the part that excites the channel."""
    rows = [f"| {len(result.units)} units | drop | by random regions | score | score above 0 |", "|---|---|---|---|---|"]
    for index, method in enumerate(result.methods):
        chance, score = result.random_drops[:, index].mean(), result.scores[:, index]
        rows.append(row(method, None, [result.drops[:, index].mean(), chance, score.mean(), (score > 0).mean()]))
    better = (result.scores[:, 0] > result.scores[:, -1]).mean()
    rows.append(f"\ndeconvnet beats the window's middle in {better:.0%} of the units")
    if result.truth:
        known = sum(map(bool, result.truth.parts))
        means = zip(result.truth.methods, mean_known(result.truth.shares, 0), strict=True)
        shares = ", ".join(f"{method} {share:.1%}" for method, share in means)
        rows.append(f"energy on the exciting part ({known} units): {shares}")
    return rows


def row(name: str, label: str | None, numbers: Any) -> str:
    """Return a row of a table in Markdown."""
    cells = [name, *([label] if label else []), *("" if np.isnan(number) else f"{number:.2f}" for number in numbers)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--weights", default="DEFAULT")
    parser.add_argument("--photos", help="a folder; without it, drawings")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--top", type=int, default=2, help="units of each picture that faithful scores")
    parser.add_argument("--figures", help="begin the names of two figures with this")
    arguments = parser.parse_args()
    net = deconvnet.DeconvNet(deconvnet.load_model(arguments.model, weights=arguments.weights))
    pictures = choose_pictures(arguments.photos, arguments.count)
    for study, options in ((faithful, {"top": arguments.top}), (sanity, {})):
        result = study.run(net, pictures, **options)
        rows = faithful_rows(result) if study is faithful else [*sanity_rows(result), "", *selectivity_rows(result)]
        heading = f"\n{arguments.model}, {len(pictures)} pictures: {json.dumps(result.settings['layer'])}"
        print("\n".join([heading, *rows]), flush=True)
        if arguments.figures:
            name = study.__name__.rpartition(".")[2]
            result.save(f"{arguments.figures}{name}.png")


if __name__ == "__main__":
    main()
