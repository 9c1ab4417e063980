"""The tables and the numbers of docs/studies.md and studies-choices.md, and their claims; from what studies_table.py keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pages import Tables, comparison, estimate, heading, row
from prose import estimate_value, value

Numbers = Mapping[str, Any]
SQUEEZENET = "SqueezeNet (pruned and quantised)"
NETS = {"tiny": "tiny", "squeezenet": SQUEEZENET, "alexnet": "AlexNet, random weights", "zfnet": "ZFNet, random weights"}
TYPED = {
    "## The statistics of all of them": "the statistics' own settings, and an example of what is printed",
    "0.5 is chance": "by definition",
    "with 95 % intervals over pictures": "the level",
    "the clock keeps over 80 %": "a claim, which is checked",
}
TYPED_CHOICES = {
    "totals equal the loop's to 2e-7": "printed by benchmarks/occlude.py",
    "took 21.1 s of CPU time": "printed by benchmarks/occlude.py",
    "loop 52.6 s (2.5 times as long), Captum's `Occlusion` 43.0 s (2.0 times": "printed by benchmarks/occlude.py",
    "took 3.7 s, the plain loop 4.1 s, Captum 4.3 s": "printed by benchmarks/occlude.py",
    "theirs reach 15 and 1.4": "the paper's figures",
    "a 95 % interval over pictures instead": "the level",
    "as the printed 0.07 must be": "the paper's Table 1",
    "0.9 MB each": "files in examples/",
    "by torch 2.14, where the checkpoints are of 2.15": "versions",
    "caps each filter's RMS at 0.1": "the paper's cap",
    "had a standard deviation of 0.02 at most": "measured once, to choose a default",
    "had a HOG of 0.84 on four photographs, and has 0.42 in the window": "measured once, before and after a change",
    "was 0.98 and is 0.78": "measured once, before and after a change",
}


def correspond_tables(numbers: Numbers) -> Tables:
    """Return the disagreement of each part and control by layer, and the parts compared with masks on the object."""
    layers = numbers["layers"]
    lines = heading("disagreement where both changed", [f"`{layer}`" for layer in layers])
    lines += [row(each["name"], [str(estimate(each["means"][layer])) for layer in layers]) for each in numbers["rows"]]
    pairs = heading("less masks on the object that change as much", ["difference", ""])
    pairs += [row(each.name, each.cells()[1:]) for each in map(comparison, numbers["comparisons"])]
    return {"correspond": lines, "correspond-in-pairs": pairs}


COLUMNS = ("stride", "dominance", "faint, silent", "low, middle, high", "over white noise", "grid", "of patches", "of noise")


def filters_table(data: Numbers) -> list[str]:
    """Return what is wrong with the first filters of each net."""
    columns = (
        "stride",
        "dominance",
        "faint, silent",
        "low, middle, high",
        "over white noise",
        "grid",
        "of patches",
        "of noise",
    )
    lines = heading("net", columns)
    for name, net in NETS.items():
        numbers = data[f"filters-{name}"]
        shares = numbers["shares"]
        over = [f"{share / noise:.1f}" for share, noise in zip(shares, numbers["noise_shares"], strict=True)]
        cells = [
            str(numbers["stride"][0]),
            f"{numbers['dominance']:.1f}",
            f"{len(numbers['faint'])}, {len(numbers['silent'])}",
            f"{', '.join(f'{100 * share:.0f}' for share in shares)} %",
            ", ".join(over),
            *(percent(numbers[key]) for key in ("grid_mean", "patch_grid_mean")),
            f"{100 * numbers['flat_grid']:.1f} %",
        ]
        things = "photographs" if name == "squeezenet" else "drawings"
        lines.append(row(f"{net}, {numbers['pictures']} {things}", cells))
    return lines


def percent(numbers: Numbers) -> str:
    """Return a mean share in percent with one decimal."""
    mean = estimate(numbers)
    return f"{100 * mean.mean:.1f} % [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"


def tables(data: Numbers) -> Tables:
    """Return all tables of the page by the names of their markers."""
    return {**correspond_tables(data["correspond"]), "filters": filters_table(data)}


def phrases(data: Numbers) -> list[str]:
    """Return the phrases of docs/studies.md, from what is kept."""
    train, angles = data["invariance"]["rotation"]["train"], data["invariance"]["angles"]
    falls = [value(f"{100 * train[angles.index(angle)]:.0f} %") for angle in (30, 40)]
    rows = {each["name"]: estimate_value(estimate(each["means"]["classifier.3"])) for each in data["correspond"]["rows"]}
    unit, guided = (value(f"{data['ablate']['random_correlation'][rule]:.2f}") for rule in ("FTT", "TTT"))
    choices = data["ablate"]["choice_cosine"]
    first, last, norms = (value(f"{choices[name]:.2f}") for name in ("silent=first", "overlap=last", "lrn=derivative"))
    return [
        f"the train falls to {falls[0]} at 30 degrees and to {falls[1]} at 40",
        f"(left: {rows['left eye']} at the top; masks on the object {rows['on the object']})",
        *grid_phrases(data["filters-alexnet"], data["filters-zfnet"]),
        f"have a correlation of |x| of {unit}, guided backpropagation's of {guided}",
        f"sent to their first place give {first} here",
        f"the last of colliding switches {last}, response norms mirrored by their derivative {norms}",
    ]


def grid_phrases(stride4: Numbers, stride2: Numbers) -> list[str]:
    """Return what is said of the grids of two nets with random weights."""
    times = stride4["grid_mean"]["mean"] / stride4["flat_grid"]
    noise = [value(f"{100 * net['flat_grid']:.1f} %") for net in (stride4, stride2)]
    return [
        f"leaves {value(f'{times:.1f}')} times as much there as noise would, {value(percent(stride4['grid_mean']))}"
        f" against {noise[0]}; stride 2 (ZFNet) less than noise, {value(percent(stride2['grid_mean']))} against {noise[1]}",
    ]


def choices_phrases(data: Numbers) -> list[str]:
    """Return the phrases of docs/studies-choices.md, from what is kept."""
    low, middle, high = (f"{100 * share:.0f}" for share in data["filters-tiny"]["noise_shares"])
    return [f"that share over white noise's, which is {value(low)}, {value(middle)} and {value(f'{high} %')}"]


def claims(data: Numbers) -> dict[str, bool]:
    """Return what docs/studies.md claims in words, and whether the numbers bear it out."""
    pairs = {each["name"]: comparison(each) for each in data["correspond"]["comparisons"]}
    lower = {name for name, each in pairs.items() if each.is_significant and each.difference.mean < 0}
    higher = {name for name, each in pairs.items() if each.is_significant and each.difference.mean > 0}
    eyes = {f"{side} eye, {layer}" for side in ("left", "right") for layer in ("features.13", "classifier.3")}
    nets, stride2 = [data[f"filters-{name}"] for name in ("tiny", "squeezenet")], data["filters-zfnet"]
    return {
        "the clock keeps over 80 % all the way round": min(data["invariance"]["rotation"]["clock"]) > 0.8,
        "it holds in both layers for the eyes": eyes <= lower,
        "of the mouth only in the lower layer": {"mouth, features.13"} == {name for name in lower if "mouth" in name},
        "while at the top its signs differ *more* than by masks of the same effect": higher == {"mouth, classifier.3"},
        "No trained first layer here lacks middle ones, as the paper's first did; what they lack are high ones": all(
            net["shares"][1] > net["noise_shares"][1] and net["shares"][2] < net["noise_shares"][2] for net in nets
        ),
        "stride 2 (ZFNet) less than noise": estimate(stride2["grid_mean"]).high < stride2["flat_grid"],
    }
