"""The numbers in the sentences of docs/cannot-show-numbers.md, and what its sentences claim."""

from __future__ import annotations

from cannot_show_tables import percent, points
from pages import estimate, pictures_of
from prose import estimate_value, p_value, value
from prose_cannot_show import OTHERS, PRIMARY, Numbers, pair, sanity_mean, share, width_values

TYPED = {"95 % interval": "the level"}
STEPS = ("upper half", "all", "others")


def phrases(data: Numbers) -> list[str]:
    """Return the phrases of the page, from what is kept."""
    return [*count_phrases(data), *silent_phrases(data), *sanity_phrases(data), *part_phrases(data)]


def count_phrases(data: Numbers) -> list[str]:
    """Return of how many pictures and units the tables are."""
    count = {name: value(str(pictures_of(numbers))) for name, numbers in data.items() if name != "null-width"}
    units = {data[f"faithful-{net}"]["units"] for net in ("tiny", "squeezenet")}
    return [
        f"units of each of {count['own-tiny']} drawings (tiny) or {count['own-squeezenet']} photographs",
        f"On tiny's {count['silent-tiny']} drawings it is",
        f"Tiny: {count['sanity-tiny']} drawings and five draws of the weights",
        f"SqueezeNet: {count['sanity-squeezenet']} photographs and three draws",
        f"{value(' or '.join(map(str, units)))} units of each net, the two strongest of every picture",
    ]


def silent_phrases(data: Numbers) -> list[str]:
    """Return what is said of silent windows."""
    fired = {layer: estimate_value(estimate(mean)) for layer, mean in data["silent-tiny"]["fired"].items()}
    first = data["silent-squeezenet"]["scores"]["first"]["deconvnet"]
    return [
        f"drawings it is {fired['features.6']} at `features.6` and {fired['features.2']} at `features.2`",
        f"the deconvnet scored {estimate_value(estimate(first))} in `faithful` on {value(str(first['pictures']))} of the",
    ]


def sanity_phrases(data: Numbers) -> list[str]:
    """Return what is said beside the tables of sanity."""
    tiny, net = data["sanity-tiny"], data["sanity-squeezenet"]
    primary, others = pair(tiny, PRIMARY), pair(net, OTHERS)
    found = {
        measure: [estimate_value(sanity_mean(net, step, "deconvnet", measure)) for step in STEPS]
        for measure in ("rank", "ssim", "hog")
    }
    ranks, ssim, hog = found.values()
    return [
        f"|x| has a rank correlation of {ranks[0]} with the upper half random, of {ranks[1]} with all random, and of {ranks[2]}"
        f" with *another picture's* projection; SSIM {ssim[0]}, {ssim[1]} and {ssim[2]}; HOG {hog[0]}, {hog[1]} and {hog[2]}.",
        f"signed rank is {estimate_value(others.difference)} above that of two pictures ({p_value(others.holm)}, Holm)",
        f"than the gradient's by {estimate_value(primary.difference)} (primary, {p_value(primary.holm)}),"
        f" guided backpropagation's by {estimate_value(pair(tiny, 'upper half: guided - gradient').difference)}",
    ]


def part_phrases(data: Numbers) -> list[str]:
    """Return what is said of the energy on the part that excites the channel."""
    truth, width = data["faithful-tiny"]["share_means"]["deconvnet"], width_values(data)
    quarter = value(points(pair(data["null-width"], "0.25").difference))
    return [
        f"({value(str(truth['values'] - truth['missing']))} of the {value(str(truth['values']))} units have one)",
        f"{quarter} at a quarter, {width['0.2']} at {value('0.2')}, {width['0.15']} at {value('0.15')},"
        f" {width['0.1']} at {value('0.1')}",
        f"the same picture and switches has {value(percent(share(data, 'random net')))} of its energy there",
    ]


def claims(data: Numbers) -> dict[str, bool]:
    """Return what the page claims in words, and whether the numbers bear it out."""
    scores = [data[f"faithful-{net}"]["drops"] for net in ("tiny", "squeezenet")]
    lowest = min(estimate(means[2]).low for net in scores for means in net.values())
    empty = [mean["missing"] for mean in data["sanity-squeezenet"]["means"]["others"]["deconvnet"].values()]
    return {
        "Every method beats random regions, and so do both nulls": lowest > 0,
        "No projection is empty": not any(empty),
    }
