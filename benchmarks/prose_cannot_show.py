"""The numbers in the sentences of docs/cannot-show.md, and what its sentences claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cannot_show_tables import percent, points
from pages import comparison, estimate
from prose import estimate_value, p_value, two, value

from deconvnet.studies.statistics import Comparison, Estimate

Numbers = Mapping[str, Any]
TYPED = {
    "a real SqueezeNet 1.0": "its name",
    "95 % intervals": "the level",
    "a projection below 0.05 is labelled": "the package's own threshold",
    "at tiny's over 0.8": "a claim, which is checked",
    "## What others measured": "quoted from TorchRay's table",
}
WIDTHS = ("0.2", "0.15", "0.1")


def sanity_mean(numbers: Numbers, step: str, rule: str, measure: str = "signed rank") -> Estimate:
    """Return how alike a rule's projections stay: at a step, "upper half" or "all but the first", or beside a control."""
    blocks, depths = numbers["blocks"], numbers["depths"]
    half = depths.index(depths[-1] // 2)
    steps = {"upper half": blocks[half], "all but the first": blocks[-2], "all": blocks[-1]}
    return estimate(numbers["means"][steps.get(step, step)][rule][measure])


def pair(numbers: Numbers, name: str) -> Comparison:
    """Return a comparison by its name."""
    return {each["name"]: comparison(each) for each in numbers["comparisons"]}[name]


def alike(numbers: Numbers, rule: str = "deconvnet") -> Estimate:
    """Return the correlation of |x| of two channels at one position."""
    return estimate(numbers["selectivity"]["means"]["correlation"][rule])


def share(data: Numbers, method: str) -> Estimate:
    """Return a method's share of the energy on the part."""
    return estimate(data["faithful-tiny"]["share_means"][method])


def phrases(data: Numbers) -> list[str]:
    """Return the phrases of the page, from what is kept."""
    return [*summary_phrases(data), *silent_phrases(data), *sanity_phrases(data), *score_phrases(data)]


def summary_phrases(data: Numbers) -> list[str]:
    """Return what stands under "In short"."""
    tiny, net = data["sanity-tiny"], data["sanity-squeezenet"]
    narrow = estimate(data["null-width"]["shares"]["0.15"])
    return [
        f"where the truth is known, {value(percent(share(data, 'deconvnet')))} of the energy lies on the part",
        f"with **no net at all**, have {value(percent(share(data, 'no net')))} there,"
        f" and {value(percent(narrow))} if they fade faster",
        f"correlation with the old one is {estimate_value(sanity_mean(tiny, 'upper half', 'deconvnet'))},"
        f" the gradient's {estimate_value(sanity_mean(tiny, 'upper half', 'gradient'))}",
        f"have a correlation of {estimate_value(alike(tiny))} on tiny, {estimate_value(alike(net))} on SqueezeNet",
        f"covering the window's middle ({estimate_value(score_pair(data, 'squeezenet', 'centre').difference)}), and less",
    ]


def score_pair(data: Numbers, net: str, other: str) -> Comparison:
    """Return what the deconvnet's score has more than another method's."""
    return pair(data[f"faithful-{net}"], f"score: deconvnet - {other}")


def silent_phrases(data: Numbers) -> list[str]:
    """Return what is said of windows in which nothing fired."""
    units = data["benchmark-squeezenet"]["means"]["occlusion"]
    drop, first = (two(estimate(data["silent-tiny"]["scores"][silent]["deconvnet"])) for silent in ("drop", "first"))
    fired = estimate(data["silent-squeezenet"]["fired"]["features.11"])
    return [
        f"At SqueezeNet's last max pool {estimate_value(fired)} of a signal's energy stands at windows",
        f"inside their windows: {estimate_value(estimate(units['silent=first']))} with it,"
        f" and {estimate_value(estimate(units['deconvnet']))} without",
        f"On `tiny` little changes: {drop}, and {first} by `first`",
    ]


PRIMARY, OTHERS = "upper half: deconvnet - gradient", "upper half: deconvnet - another picture"


def sanity_phrases(data: Numbers) -> list[str]:
    """Return what is said beside the tables of sanity."""
    tiny, net = data["sanity-tiny"], data["sanity-squeezenet"]
    primary = [pair(numbers, PRIMARY) for numbers in (tiny, net)]
    lower = [pair(tiny, f"all but the first: {rule} - another picture").difference for rule in ("deconvnet", "gradient")]
    others = [estimate_value(sanity_mean(numbers, "others", "deconvnet", "rank")) for numbers in (tiny, net)]
    return [
        f"more alike than the gradient's by {estimate_value(primary[0].difference)} on tiny"
        f" and {estimate_value(primary[1].difference)} on SqueezeNet ({p_value(max(each.holm for each in primary))})",
        f"are on tiny still {estimate_value(lower[0])} above what two different pictures have in common;"
        f" the gradient is not ({estimate_value(lower[1])})",
        f"between two *different* pictures, {others[0]} on tiny and {others[1]} on SqueezeNet",
    ]


def score_phrases(data: Numbers) -> list[str]:
    """Return what is said of the scores, and of the energy on the part that excites the channel."""
    random, middle = score_pair(data, "tiny", "random net"), score_pair(data, "squeezenet", "centre").difference
    truth = data["faithful-tiny"]["share_means"]["deconvnet"]
    width = width_values(data)
    return [
        f"On tiny the deconvnet beats it by {estimate_value(score_pair(data, 'tiny', 'centre').difference, '.3f')}, and edges",
        f"no difference that could be measured ({estimate_value(random.difference, '+.3f')})",
        f"it scores *less* than the middle ({estimate_value(middle)}), than edges",
        f"{value(str(truth['values'] - truth['missing']))} of the {value(str(truth['values']))} units have a part",
        f"{value(points(pair(data['null-width'], '0.2').difference))} at {value('0.2')} of the window's sides,"
        f" {width['0.15']} at {value('0.15')}, {width['0.1']} at {value('0.1')}",
    ]


def width_values(data: Numbers) -> dict[str, str]:
    """Return, by the width of the Gaussian, how many points more of the deconvnet's energy are on the part."""
    found = {each["name"]: comparison(each).difference for each in data["null-width"]["comparisons"]}
    return {name: value(points(mean).replace(" points", "")) for name, mean in found.items()}


def claims(data: Numbers) -> dict[str, bool]:
    """Return what the page claims in words, and whether the numbers bear it out."""
    signed = [data[f"sanity-{net}"] for net in ("tiny", "squeezenet")]
    ranks, middle = estimate(data["silent-squeezenet"]["ranks"]["drop"]), score_pair(data, "squeezenet", "centre")
    kept = [sanity_mean(net, "upper half", rule).low for net in signed for rule in ("deconvnet", "guided")]
    lost = [abs(sanity_mean(net, net["blocks"][0], "gradient").mean) for net in signed]
    without_pools = [
        estimate(layer["deconvnet"]).high
        for net in ("own-tiny", "own-squeezenet", "own-efficientnet-lite0")
        for layer in data[net]["layers"].values()
        if not layer["pools"]
    ]
    return {
        "gives a unit **the same projection for every picture**, in every layer": max(without_pools) < 1e-3,
        "at tiny's over 0.8": min(mean["mean"] for mean in data["silent-tiny"]["fired"].values()) > 0.8,
        "without it the two have nothing to do with each other": ranks.low < 0 < ranks.high,
        "cats stay cats until the lowest layers are random; the gradient's is lost with the first": min(kept) > 0.8
        and max(lost) < 0.1,
        "trained filters or random ones make no difference that could be measured": not score_pair(
            data, "tiny", "random net"
        ).is_significant,
        "On SqueezeNet it scores *less* than the middle": middle.is_significant and middle.difference.mean < 0,
        "is level with the middle there": not pair(data["faithful-squeezenet"], "score: guided - centre").is_significant,
    }
