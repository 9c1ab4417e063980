"""The tables of docs/cannot-show.md and cannot-show-numbers.md, from the numbers that scripts keep in docs/data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pages import Tables, comparison, estimate, heading, row

from deconvnet.studies.statistics import Estimate, p_text

Numbers = Mapping[str, Any]
NETS = {"tiny": "tiny", "squeezenet": "SqueezeNet", "efficientnet-lite0": "EfficientNet-Lite0"}
SIGNED = "rank correlation with signs"
TELLING = ("tiny features.1", "tiny features.13", "SqueezeNet features.12", "EfficientNet-Lite0 _blocks.15")
STEPS = {  # of the cascade, and controls
    "none: two pictures": "others",
    "none: and a random mask": "noise",
    "none: and the picture's edges": "edges",
    "all: and the picture's edges": "edges_random",
}
METHODS = {
    "deconvnet": "deconvnet",
    "guided": "guided",
    "gradient": "gradient",
    "centre": "the middle",
    "no net": "no net",
    "random net": "random net",
}
PLACED = {  # whose energy on the part is said
    "deconvnet": "deconvnet",
    "guided": "guided",
    "gradient": "gradient",
    "no net": "no net: edges x Gaussian of a quarter of the window",
    "random net": "random net, same picture, same switches",
    "window": "the bare window",
}


def own_table(data: Mapping[str, Numbers], layers: Collection[str] | None = None) -> list[str]:
    """Return *own* of every layer of each net, or of some, by each rule."""
    lines = heading("net, layer", ["max pools below", "reach", "deconvnet", "guided", "gradient"])
    for net, numbers in data.items():
        for layer, found in numbers["layers"].items():
            if layers is not None and f"{net} {layer}" not in layers:
                continue
            cells = [_own(estimate(found[rule])) for rule in ("deconvnet", "guided", "gradient")]
            lines.append(row(f"{net} `{layer}`", [str(found["pools"]), str(found["reach"]), *cells]))
    return lines


def _own(value: Estimate) -> str:
    return f"{abs(value.mean):.2f}" if max(abs(value.low), abs(value.high)) < 0.005 else str(value)


def fired_table(numbers: Numbers) -> list[str]:
    """Return the share of a signal's energy at windows that fired, by max pool, from the top down."""
    rows = [row(f"`{layer}`", [str(estimate(mean))]) for layer, mean in numbers["fired"].items()]
    return [*heading("SqueezeNet's max pool", ["share of the energy"]), *rows]


def silent_table(numbers: Numbers, methods: Collection[str] | None = None) -> list[str]:
    """Return what dropping the signal of silent windows does to scores, of all methods or some, and to the rank correlation."""
    first, drop = numbers["scores"]["first"], numbers["scores"]["drop"]
    settings, ranks = numbers["settings"], numbers["ranks"]
    names = {"deconvnet": f"deconvnet: score of `faithful`, {drop['deconvnet']['pictures']} photographs"}
    names |= {"guided": "guided", "gradient": "gradient", "centre": "the window's middle"}
    lines = heading("SqueezeNet, `features.12`", ["`first`", "`drop`"])
    for method, name in names.items():
        if methods is not None and method not in methods:
            continue
        same = first[method] == drop[method]
        lines.append(row(name, [str(estimate(first[method])), "the same" if same else str(estimate(drop[method]))]))
    name = f"rank correlation with the map's own occlusion, {settings['occluded']} photographs"
    return [*lines, row(name, [str(estimate(ranks[silent])) for silent in ("first", "drop")])]


def sanity_table(net: str, measure: str, title: str, numbers: Numbers, controls: Sequence[str]) -> list[str]:
    """Return how alike projections stay, by one measure, as blocks of weights become random, and the controls."""
    blocks, count = numbers["blocks"], numbers["depths"][-1]
    steps = {
        f"the top block ({blocks[0]})": blocks[0],
        f"the upper half ({count // 2} of {count})": blocks[numbers["depths"].index(count // 2)],
        "all but the first": blocks[-2],
        "all": blocks[-1],
        **{name: key for name, key in STEPS.items() if key in controls},
    }
    lines = heading(f"{net}, {title}: weights made random", numbers["rules"])
    for name, key in steps.items():
        lines.append(row(name, [str(estimate(numbers["means"][key][rule][measure])) for rule in numbers["rules"]]))
    return lines


def sanity_tables(name: str, numbers: Numbers) -> Tables:
    """Return a net's tables of sanity with all controls: of tiny by every measure, of others by the rank with signs."""
    titles = {
        "signed rank": ("signed", SIGNED, ("others", "noise")),
        "rank": ("rank", "rank correlation of \\|x\\|", tuple(STEPS.values())),
        "ssim": ("ssim", "SSIM", tuple(STEPS.values())),
        "hog": ("hog", "HOG", tuple(STEPS.values())),
    }
    wanted = titles if name == "tiny" else {"signed rank": titles["signed rank"]}
    return {
        f"sanity-{name}-{short}": sanity_table(NETS[name], measure, title, numbers, controls)
        for measure, (short, title, controls) in wanted.items()
    }


def selectivity_table(data: Mapping[str, Numbers]) -> list[str]:
    """Return how alike two channels at one position are, by each rule and net."""
    columns, things = [], {"tiny": "drawings", "SqueezeNet": "photographs"}
    for net, numbers in data.items():
        pictures = numbers["selectivity"]["means"]["cosine"]["deconvnet"]["pictures"]
        columns.append(f"{net}, `{numbers['selectivity']['layer']}`, {pictures} {things[net]}")
    names = {"deconvnet": "deconvnet", "guided": "guided", "gradient": "gradient", "FFF": "filters alone, no switches or masks"}
    lines = heading("correlation of \\|x\\| / signed cosine", columns)
    for rule, name in names.items():
        means = [numbers["selectivity"]["means"] for numbers in data.values()]
        pairs = [" / ".join(str(estimate(mean[key][rule])) for key in ("correlation", "cosine")) for mean in means]
        lines.append(row(name, pairs))
    return lines


def score_table(data: Mapping[str, Numbers]) -> list[str]:
    """Return what covering takes away, by each method and net."""
    columns = [
        f"{net}: drop" if first else name for net in data for first, name in ((1, ""), (0, "by random regions"), (0, "score"))
    ]
    lines = heading("", columns)
    for method, name in METHODS.items():
        lines.append(row(name, [str(estimate(mean)) for numbers in data.values() for mean in numbers["drops"][method]]))
    return lines


def short_score_table(data: Mapping[str, Numbers]) -> list[str]:
    """Return the scores alone, by each method and net."""
    lines = heading("covering what is shown by", [f"{net}: score" for net in data])
    for method, name in METHODS.items():
        lines.append(row(name, [str(estimate(numbers["drops"][method][2])) for numbers in data.values()]))
    return lines


def score_pairs_table(data: Mapping[str, Numbers]) -> list[str]:
    """Return the scores' differences, by each net."""
    lines = heading("in pairs, by score", [cell for net in data for cell in (net, "")])
    found = [{each["name"]: comparison(each) for each in numbers["comparisons"]} for numbers in data.values()]
    for name, each in found[0].items():
        if name.startswith("score: "):
            title = name.removeprefix("score: ").replace("centre", "middle") + (" (primary)" if each.primary else "")
            cells = [cell for net in found for cell in (net[name].difference.text("+.3f"), p_text(net[name].holm))]
            lines.append(row(title, cells))
    return lines


def percent(value: Estimate) -> str:
    """Return a share in percent: "72 % [65, 78]"."""
    return f"{100 * value.mean:.0f} % [{100 * value.low:.0f}, {100 * value.high:.0f}]"


def points(value: Estimate) -> str:
    """Return a difference of shares in points: "9.8 points [6.2, 13.3]"."""
    return f"{100 * value.mean:.1f} points [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def part_table(numbers: Numbers, *, pairs: bool = True) -> list[str]:
    """Return the share of the energy on the part that excites the channel, and how much more of the deconvnet's is there."""
    found = {each["name"]: comparison(each) for each in numbers["comparisons"]}
    lines = heading("", ["energy on the part", "deconvnet less that"][: 1 + pairs])
    for method, name in PLACED.items():
        pair = found.get(f"on the part: deconvnet - {method}")
        sign = "+" if pair and pair.difference.mean > 0 else ""
        less = f"{sign}{points(pair.difference)}, {p_text(pair.holm)}" if pair else ""
        lines.append(row(name, [percent(estimate(numbers["share_means"][method])), less][: 1 + pairs]))
    return lines


def by_net(data: Mapping[str, Numbers], study: str) -> dict[str, Numbers]:
    """Return what a study found, by the nets' names, of what is kept by the names of its files."""
    return {title: data[f"{study}-{net}"] for net, title in NETS.items() if f"{study}-{net}" in data}


def short_tables(data: Mapping[str, Numbers]) -> Tables:
    """Return the tables of docs/cannot-show.md by the names of their markers."""
    return {
        "own": own_table(by_net(data, "own"), TELLING),
        "silent": silent_table(data["silent-squeezenet"], ("deconvnet",)),
        "sanity-tiny-signed": sanity_table("tiny", "signed rank", SIGNED, data["sanity-tiny"], ("others",)),
        "selectivity": selectivity_table(by_net(data, "sanity")),
        "scores": short_score_table(by_net(data, "faithful")),
        "on-the-part": part_table(data["faithful-tiny"], pairs=False),
    }


def full_tables(data: Mapping[str, Numbers]) -> Tables:
    """Return the tables of docs/cannot-show-numbers.md by the names of their markers."""
    return {
        "own": own_table(by_net(data, "own")),
        "fired": fired_table(data["silent-squeezenet"]),
        "silent": silent_table(data["silent-squeezenet"]),
        **sanity_tables("tiny", data["sanity-tiny"]),
        **sanity_tables("squeezenet", data["sanity-squeezenet"]),
        "scores": score_table(by_net(data, "faithful")),
        "scores-in-pairs": score_pairs_table(by_net(data, "faithful")),
        "on-the-part": part_table(data["faithful-tiny"]),
    }
