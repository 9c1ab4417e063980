"""Measure the numbers of docs/cannot-show-numbers.md: sanity, selectivity and faithfulness of tiny, or of a net on photographs.

python benchmarks/critics_table.py
python benchmarks/critics_table.py --model torchvision:squeezenet1_0 --weights squeezenet1_0.safetensors --photos photos/

Prints Markdown tables, each mean over pictures with its 95 % interval. With `--keep NAME` the numbers are kept in docs/data, as
faithful-NAME.json and sanity-NAME.json, from which benchmarks/regenerate.py writes the page.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from pages import heading, keep, row

import deconvnet
from deconvnet.drawings import draw
from deconvnet.images import find_pictures
from deconvnet.inputs import PictureInput
from deconvnet.results import to_json
from deconvnet.studies import faithful, sanity
from deconvnet.studies.statistics import Comparison, Estimate, estimate_mean


def choose_pictures(folder: str | None, count: int) -> list[PictureInput]:
    """Return drawings, or pictures spread evenly over a folder."""
    if folder is None:
        return [draw(seed=seed) for seed in range(count)]
    pictures: list[PictureInput] = [*find_pictures(folder)]
    return pictures[:: max(1, len(pictures) // count)][:count]


def sanity_rows(result: sanity.Sanity) -> list[str]:
    """Return how alike projections stay as blocks of weights become random, from the top down; signed rank first."""
    blocks, rows = result.depths[-1], []
    steps = {
        f"the top block ({result.blocks[0]})": result.blocks[0],
        f"the upper half ({blocks // 2} of {blocks})": result.blocks[result.depths.index(blocks // 2)],
        "all but the first": result.blocks[-2],
        "all": result.blocks[-1],
        "none: two pictures": "others",
        "none: and a random mask": "noise",
        "none: and the picture's edges": "edges",
        "all: and the picture's edges": "edges_random",
    }
    for measure in ("signed rank", "rank", "ssim", "hog"):
        rows += ["", *heading(f"{measure}; weights made random", result.rules)]
        for name, key in steps.items():
            rows.append(row(name, [str(result.means[key][rule][measure]) for rule in result.rules]))
    return rows + comparison_rows(result.comparisons)


def selectivity_rows(result: sanity.Sanity) -> list[str]:
    """Return how alike the projections of two channels at one position are, by each rule."""
    selectivity = result.selectivity
    rows = heading(f"two channels of {selectivity.layer} at one position", ("correlation of \\|x\\|", "signed cosine"))
    return rows + [
        row(rule, [str(selectivity.means[measure][rule]) for measure in ("correlation", "cosine")])
        for rule in selectivity.rules
    ]


def drop_means(result: faithful.Faithfulness) -> dict[str, list[Estimate]]:
    """Return what covering takes away, what covering random regions does, and the score, by each method."""
    return {
        method: [
            estimate_mean(result.drops[:, index], result.images),
            estimate_mean(result.random_drops[:, index].mean(1), result.images),
            result.means[method],
        ]
        for index, method in enumerate(result.methods)
    }


def faithful_rows(result: faithful.Faithfulness) -> list[str]:
    """Return what covering takes away, by each method, and on drawings the energy on the part that excites the channel."""
    rows = heading(f"{len(result.units)} units", ("drop", "by random regions", "score", "score above 0", "energy on the part"))
    drops = drop_means(result)
    for index, method in enumerate(result.methods):
        score = result.scores[:, index]
        above = estimate_mean(np.where(np.isnan(score), np.nan, score > 0), result.images)
        means = drops[method]
        share = result.share_means.get(method)
        rows.append(row(method, [*map(str, means), above.text(".0%"), share.text(".0%") if share else ""]))
    if "window" in result.share_means:
        rows.append(row("bare window", ["", "", "", "", result.share_means["window"].text(".0%")]))
    return rows + comparison_rows(result.comparisons)


def comparison_rows(comparisons: Sequence[Comparison]) -> list[str]:
    """Return comparisons in pairs."""
    return ["", *heading("in pairs", ("difference", "")), *(row(each.name, each.cells()[1:]) for each in comparisons)]


def sanity_numbers(result: sanity.Sanity) -> dict[str, Any]:
    """Return what the page says of sanity."""
    numbers = to_json(result)
    selectivity = {key: numbers["selectivity"][key] for key in ("layer", "rules", "means")}
    kept = {key: numbers[key] for key in ("blocks", "depths", "rules", "means", "comparisons", "settings")}
    return {**kept, "selectivity": selectivity}


def faithful_numbers(result: faithful.Faithfulness) -> dict[str, Any]:
    """Return what the page says of faithful."""
    numbers = to_json(result)
    drops = {method: [vars(mean) for mean in means] for method, means in drop_means(result).items()}
    kept = {key: numbers[key] for key in ("methods", "share_means", "comparisons", "settings")}
    return {**kept, "units": len(result.units), "drops": drops}


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--weights", default="DEFAULT")
    parser.add_argument("--photos", help="a folder; without it, drawings")
    parser.add_argument("--study", choices=("faithful", "sanity"), help="only this one")
    parser.add_argument("--count", type=int, help="pictures. [default: the study's own fifty drawings, or fifty photographs]")
    parser.add_argument("--top", type=int, default=2, help="units of each picture that faithful scores")
    parser.add_argument("--seeds", type=int, default=5, help="draws of random weights")
    parser.add_argument("--independent", action="store_true", help="in sanity, make each block random by itself too")
    parser.add_argument("--keep", metavar="NAME", help="keep the numbers in docs/data, with this name")
    parser.add_argument("--figures", help="begin the names of two figures with this")
    arguments = parser.parse_args()
    net = deconvnet.DeconvNet(deconvnet.load_model(arguments.model, weights=arguments.weights))
    own = arguments.photos is None and arguments.count is None
    pictures = None if own else choose_pictures(arguments.photos, arguments.count or 50)
    for study, options in (
        (faithful, {"top": arguments.top}),
        (sanity, {"seeds": arguments.seeds, "independent": arguments.independent}),
    ):
        name = study.__name__.rpartition(".")[2]
        if arguments.study in (None, name):
            result = study.run(net, pictures, **options)
            rows = faithful_rows(result) if study is faithful else [*sanity_rows(result), "", *selectivity_rows(result)]
            count = len(result.settings["pictures"])
            print("\n".join([f"\n{arguments.model}, {count} pictures: {result.settings['layer']}", *rows]), flush=True)
            if arguments.keep:
                numbers = faithful_numbers(result) if study is faithful else sanity_numbers(result)
                keep(f"{name}-{arguments.keep}", numbers, of_photographs=bool(arguments.photos))
            if arguments.figures:
                result.save(f"{arguments.figures}{name}.{'jpg' if study is sanity else 'png'}")


if __name__ == "__main__":
    main()
