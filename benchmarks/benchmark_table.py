"""Measure the numbers of docs/benchmark.md.

python benchmarks/benchmark_table.py --name tiny
python benchmarks/benchmark_table.py --name squeezenet --model torchvision:squeezenet1_0 --weights squeezenet1_0.safetensors \\
    --photos photos/ --count 20

Keeps the means and the comparisons of each net in docs/data/benchmark-NAME.json, of drawings also the figure in docs/pictures.
`benchmarks/regenerate.py --write` writes the tables of the page from them.
"""

from __future__ import annotations

import argparse
from typing import Any

from critics_table import choose_pictures
from pages import DOCS, Tables, estimate, heading, keep, row

import deconvnet
from deconvnet.studies import benchmark
from deconvnet.studies.statistics import LEVEL, p_text

KEPT = ("contenders", "same", "means", "comparisons", "settings")
COLUMNS = 4  # of measures in a table
DEFAULT = "deconvnet"


def measure(arguments: argparse.Namespace) -> None:
    """Run the benchmark, and keep its numbers and its figure."""
    net = deconvnet.DeconvNet(deconvnet.load_model(arguments.model, weights=arguments.weights))
    pictures = choose_pictures(arguments.photos, arguments.count) if arguments.photos else None
    result = benchmark.run(net, pictures, planted=pictures is None, peers=True)
    numbers = result.to_json()
    kept = {key: numbers[key] for key in KEPT}
    if numbers["planted"]:
        kept["planted"] = {key: numbers["planted"][key] for key in ("accuracy", "same")}
    keep(f"benchmark-{arguments.name}", kept, of_photographs=bool(arguments.photos))
    if not arguments.photos:
        result.save(DOCS / "pictures" / f"benchmark-{arguments.name}.png")
    print(f"{result.table()}\n\n{result.summary()}")


def means_table(data: dict[str, Any], measures: list[str]) -> list[str]:
    """Return the means of some measures in Markdown, a star at what differs from the deconvnet after the correction."""
    holm = {comparison["name"]: comparison["holm"] for comparison in data["comparisons"]}
    tables, same = [data["means"][name] for name in measures], data["same"]
    names = dict.fromkeys([*same, *(name for table in data["means"].values() for name in table)])
    order = [name for name in data["contenders"] if name in names]
    order[1:1] = [name for name in names if name not in order]
    lines = heading("", [f"{name} (less is better)" if name == "deletion" else name for name in measures])
    for name in order:
        cells = []
        for measured, table in zip(measures, tables, strict=True):
            twins = data["planted"]["same"] if measured == "planted" else same
            star = "\\*" if (holm.get(f"{measured}: {name} - {DEFAULT}") or 1) < LEVEL else ""
            cells.append(f"{estimate(table[name])}{star}" if name in table else f"as {twins[name]}" if name in twins else "")
        if any(cells):
            lines.append(row(name, cells))
    return lines


def differences_table(data: dict[str, Any]) -> list[str]:
    """Return the primary comparison, and of the others those that are significant after the correction, in Markdown."""
    found = [each for each in data["comparisons"] if each["primary"] or (each["holm"] or 1) < LEVEL]
    lines = heading("contender less deconvnet", ["difference", "p, corrected"])
    for each in sorted(found, key=lambda each: not each["primary"]):
        kind = " (primary)" if each["primary"] else ""
        lines.append(
            row(
                each["name"].removesuffix(f" - {DEFAULT}"),
                [estimate(each["difference"]).text("+.3f"), p_text(each["holm"]) + kind],
            )
        )
    return lines


def tables(name: str, data: dict[str, Any]) -> Tables:
    """Return a net's tables by the names of their markers."""
    measures = list(data["means"])
    parts = [measures[first : first + COLUMNS] for first in range(0, len(measures), COLUMNS)]
    means = {f"{name}-means-{number}": means_table(data, part) for number, part in enumerate(parts, 1)}
    return {**means, f"{name}-differences": differences_table(data)}


def main() -> None:
    """Measure, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="tiny", help="what the net's numbers are kept as")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--weights", default="DEFAULT")
    parser.add_argument("--photos", help="a folder; without it, drawings")
    parser.add_argument("--count", type=int, default=50, help="photographs, spread evenly over the folder")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
