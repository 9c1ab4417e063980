"""The tables over all nets that the benchmark was run on: docs/benchmark.md; the small nets' own: docs/benchmark-nets.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import benchmark_table
from pages import Tables, comparison, heading, row

from deconvnet.studies.statistics import LEVEL, Comparison

DEFAULT = "deconvnet"
NETS = {
    "tiny": "tiny",
    "squeezenet": "SqueezeNet",
    "alexnet-like": "AlexNet-like",
    "vgg-like": "VGG-like",
    "resnet-like": "ResNet-like",
}
SMALL = tuple(name for name in NETS if name.endswith("-like"))
TOOLS = ("captum", "zennit", "crp")
CHOICES = {
    "silent=first": "`silent=first`",
    "overlap=last": "`overlap=last`",
    "lrn=derivative": "`lrn=derivative`",
    "guided": "`guided`",
    "gradient": "`gradient`",
    "FFT": "`FFT`: no switches",
    "random net": "`random net`",
    "no net": "`no net`",
}
OVER_ALL = ("occlusion", "insertion", "on the part", "selectivity")  # the primary measure, and those in which most differs
Numbers = Mapping[str, Any]  # what is kept, by the names of its files


def comparisons(numbers: Mapping[str, Any], measure: str) -> dict[str, Comparison]:
    """Return what each contender has more than the deconvnet by a measure, by the contenders' names."""
    start, end = f"{measure}: ", f" - {DEFAULT}"
    found = (comparison(each) for each in numbers["comparisons"] if each["name"].startswith(start))
    return {each.name.removeprefix(start).removesuffix(end): each for each in found}


def difference_cell(numbers: Mapping[str, Any], same: Mapping[str, str], measure: str, choice: str) -> str:
    """Return a difference with its interval, a star if it is one after the correction; "same" where no picture changes."""
    found = comparisons(numbers, measure)
    if choice not in found:
        return "same" if same.get(choice) == DEFAULT and found else ""
    star = "\\*" if found[choice].holm < LEVEL else ""
    return replace(found[choice].difference, missing=0).text("+.3f") + star


def over_all(data: Numbers, measure: str) -> list[str]:
    """Return a row for each choice, a column for each net: what it has more than the deconvnet by a measure."""
    lines = heading("less the deconvnet", list(NETS.values()))
    for choice, text in CHOICES.items():
        nets = [data[f"benchmark-{name}"] for name in NETS]
        cells = [difference_cell(net, net["same"], measure, choice) for net in nets]
        lines += [row(text, cells)] if any(cells) else []
    return lines


def page_tables(data: Numbers) -> Tables:
    """Return the tables of docs/benchmark.md."""
    tables = {f"nets-{measure.replace(' ', '-')}": over_all(data, measure) for measure in OVER_ALL}
    for name in ("tiny", "squeezenet"):
        tables |= benchmark_table.tables(name, data[f"benchmark-{name}"])
    return tables


def small_tables(data: Numbers) -> Tables:
    """Return the tables of docs/benchmark-nets.md: the trainings, and each kind's own."""
    tables = {"trainings": trainings(data)}
    for name in SMALL:
        numbers = data[f"benchmark-{name}"]
        tables |= benchmark_table.tables(name, numbers)
        tables[f"{name}-seeds"] = by_training(numbers)
    return tables


def trainings(data: Numbers) -> list[str]:
    """Return a row for each training: on how many fresh drawings it is right, and its weights."""
    lines = heading("net", ["seed", "right on fresh drawings", "weights, SHA-256"])
    for name in SMALL:
        for training in data[f"benchmark-{name}"]["trainings"]:
            right = training["accuracy"]
            share = f"{100 * right['share']:.1f} % [{100 * right['low']:.1f}, {100 * right['high']:.1f}]"
            digest = training["weights"].removeprefix("sha256:")[:16]
            lines.append(row(NETS[name], [str(training["seed"]), share, f"`{digest}`"]))
    return lines


def by_training(numbers: Mapping[str, Any]) -> list[str]:
    """Return a row for each choice, a column for each training: the difference in occlusion."""
    found = numbers["trainings"]
    lines = heading("occlusion less the deconvnet's", [f"seed {training['seed']}" for training in found])
    for choice, text in CHOICES.items():
        cells = [difference_cell(training, numbers["same"], "occlusion", choice) for training in found]
        lines.append(row(text, cells))
    return lines


def agreeing(numbers: Mapping[str, Any], measure: str, choice: str) -> int:
    """Return in how many trainings a choice differs, after the correction, with the sign that it has in all together."""
    together = comparisons(numbers, measure)[choice].difference.mean
    each = [comparisons(training, measure).get(choice) for training in numbers["trainings"]]
    return sum(bool(one and one.holm < LEVEL and one.difference.mean * together > 0) for one in each)


def accuracies(data: Numbers) -> list[float]:
    """Return the shares of fresh drawings of which the small nets are right, 0..1, the smallest first."""
    return sorted(estimate_share(training) for name in SMALL for training in data[f"benchmark-{name}"]["trainings"])


def estimate_share(training: Mapping[str, Any]) -> float:
    """Return the share of fresh drawings of which a training is right."""
    return float(training["accuracy"]["share"])
