"""The numbers in the sentences of paper/paper.md, and what its sentences claim."""

from __future__ import annotations

from nets_tables import SMALL
from pages import estimate
from prose import estimate_value, negated, p_value, three, two, value
from prose_benchmark import Measured, points
from prose_cannot_show import Numbers, alike, sanity_mean
from written_tables import rows, times_slower

SPEED, UNITS, MAPS, RECORDINGS = "speed.md", "| layer | units", "| layer | projection", "| model | batch"
TYPED = {
    "to 0.0001 of the largest value, which a test holds": "the test's tolerance",
    "means over pictures with 95 % intervals": "the level",
}


def phrases(data: Numbers) -> list[str]:
    """Return the phrases of the paper, from what is kept and from the tables that scripts wrote."""
    tiny, net = Measured(data["benchmark-tiny"]), Measured(data["benchmark-squeezenet"])
    return [
        *neighbour_phrases(tiny, net),
        *engine_phrases(),
        *silent_phrases(tiny, net, data),
        *null_phrases(tiny, net),
        *small_phrases(data),
        *limit_phrases(data),
    ]


def neighbour_phrases(tiny: Measured, net: Measured) -> list[str]:
    """Return what is said of other tools."""
    slower = [value(f"{times_slower(f'alexnet features.{layer}'):g}") for layer in (11, 4)]
    return [
        f"both agree with occlusion less than the default here: {estimate_value(net.mean('occlusion', 'captum deconvnet'))}"
        f" against {estimate_value(net.mean('occlusion'))}",
        f"gives what ours does, {two(net.mean('occlusion', 'captum guided'))}.",
        f"agrees better with occlusion on SqueezeNet ({two(net.mean('occlusion', 'crp lrp'))})",
        f"they lie {estimate_value(tiny.less('occlusion', 'captum deconvnet'), '.3f')} below the default",
        f"Captum took {slower[0]} times as long in AlexNet's conv5, and {slower[1]} times in its conv2",
    ]


def engine_phrases() -> list[str]:
    """Return what is said of the tape, the switches and the windows."""
    kinds = [[int(text) for text in row[1:]] for row in rows("zoo-families.md", "| nets | agree")]
    agree, differ, refused, unknown = (value(str(sum(column))) for column in zip(*kinds, strict=True))
    [kept] = [row for row in rows(SPEED, RECORDINGS) if row[:2] == ["vgg16", "8"]]
    layers, ratios = rows(SPEED, UNITS), sorted(float(row[3]) for row in rows(SPEED, MAPS))
    return [
        f"{agree} agree with an independent oracle in an early, a middle and a late module,"
        f" {differ} differ, {refused} are refused by name, and {unknown} could not be judged",
        f"keeps {value(kept[5])} MiB of switches, where all activations would take {value(kept[6])} MiB",
        f"the largest deviation is {value(f'{max(float(row[10]) for row in layers):.0e}')} of the largest pixel",
        f"takes between {value(f'{ratios[0]:.2f}')} and {value(f'{ratios[-1]:.2f}')} times as long",
    ]


def silent_phrases(tiny: Measured, net: Measured, data: Numbers) -> list[str]:
    """Return what is said of silent windows, and of nets without max pools."""
    fired = estimate(data["silent-squeezenet"]["fired"]["features.11"])
    owns = [estimate(layer["deconvnet"]) for layer in data["own-efficientnet-lite0"]["layers"].values()]
    hardly = tiny.against("occlusion", "silent=first")
    return [
        f"At SqueezeNet's last pool only {estimate_value(fired)} of a signal's energy",
        f"occlusion agreement falls by {estimate_value(net.less('occlusion', 'silent=first'), '.3f')}"
        f" and insertion by {estimate_value(net.less('insertion', 'silent=first'), '.3f')}",
        f"it hardly matters ({estimate_value(negated(hardly.difference), '.3f')} of occlusion,"
        f" corrected {p_value(hardly.holm)}); in small VGG-like nets"
        f" {points(Measured(data['benchmark-vgg-like']).less('on the part', 'silent=first'))} points less of the energy",
        f"it is {value(f'{max(abs(own.mean) for own in owns):.2f}')} in every layer that was tried",
    ]


def null_phrases(tiny: Measured, net: Measured) -> list[str]:
    """Return what is said of the comparison that was fixed beforehand."""
    return [
        f"is significant on `tiny` ({estimate_value(tiny.less('occlusion', 'no net'), '.3f')} less)",
        f"and not on SqueezeNet ({estimate_value(net.less('occlusion', 'no net'), '.3f')} less)",
    ]


def small_phrases(data: Numbers) -> list[str]:
    """Return what is said of the small nets in the comparison that was fixed beforehand."""
    found = [three(Measured(data[f"benchmark-{name}"]).less("occlusion", "no net")) for name in SMALL]
    return [f"small nets like AlexNet, VGG and ResNet ({found[0]}, {found[1]} and {found[2]} less)"]


def limit_phrases(data: Numbers) -> list[str]:
    """Return the limits."""
    tiny, net = Measured(data["benchmark-tiny"]), Measured(data["benchmark-squeezenet"])
    ranks = {silent: estimate(mean) for silent, mean in data["silent-squeezenet"]["ranks"].items()}
    random, kept = tiny.against("occlusion", "random net"), data["sanity-tiny"]
    return [
        f"as well as trained ones on `tiny` ({estimate_value(random.difference, '.3f')}, corrected {p_value(random.holm, 2)})",
        f"by insertion on SqueezeNet ({estimate_value(net.against('insertion', 'random net').difference, '+.3f')})",
        f"beats the deconvnet on SqueezeNet, by {estimate_value(net.against('occlusion', 'guided').difference, '.3f')}",
        f"(one less their correlation is {two(net.mean('selectivity', 'guided'))}, the deconvnet's"
        f" {two(net.mean('selectivity'))})",
        f"the rank correlation is {estimate_value(ranks['drop'])}. With it, it was worse, {estimate_value(ranks['first'])}.",
        f"signed rank correlation {estimate_value(sanity_mean(kept, 'upper half', 'deconvnet'))},"
        f" against {estimate_value(sanity_mean(kept, 'upper half', 'gradient'))} for the gradient",
        f"with a correlation of {estimate_value(alike(kept))} on `tiny` and"
        f" {estimate_value(alike(data['sanity-squeezenet']))} on SqueezeNet",
    ]


def claims(data: Numbers) -> dict[str, bool]:
    """Return what the paper claims in words, and whether the numbers bear it out."""
    tiny, net = Measured(data["benchmark-tiny"]), Measured(data["benchmark-squeezenet"])
    ranks = {silent: estimate(mean) for silent, mean in data["silent-squeezenet"]["ranks"].items()}
    choices = {name: abs(net.less("occlusion", name).mean) for name in ("silent=first", "overlap=last")}
    speeds = rows(SPEED, UNITS)
    peers = {f"{tool} deconvnet" for tool in ("captum", "zennit")}
    return {
        "both agree with occlusion less than the default here": peers
        <= net.significant("occlusion") & tiny.significant("occlusion"),
        "Of all open choices this one mattered most there": max(choices, key=lambda name: choices[name]) == "silent=first",
        "points less of the energy lie on the part that excites the unit": "silent=first"
        in Measured(data["benchmark-vgg-like"]).significant("on the part"),
        "it hardly matters": "silent=first" not in tiny.significant("occlusion"),
        "is significant on `tiny`": "no net" in tiny.significant("occlusion"),
        "its relevance differs from the deconvnet by no measure on `tiny`": not any(
            "crp lrp" in tiny.significant(measure) for measure in tiny.numbers["means"]
        ),
        "small nets like AlexNet, VGG and ResNet": all(
            "no net" in Measured(data[f"benchmark-{name}"]).significant("occlusion") for name in SMALL
        ),
        "and agrees better with occlusion on SqueezeNet": "crp lrp" in net.significant("occlusion"),
        "and not on SqueezeNet": "no net" not in net.significant("occlusion"),
        "and are better by insertion on SqueezeNet": "random net" in net.significant("insertion"),
        "Guided backpropagation beats the deconvnet on SqueezeNet": "guided" in net.significant("occlusion"),
        "has nothing to do with that map's own occlusion": ranks["drop"].low < 0 < ranks["drop"].high,
        "With it, it was worse": ranks["first"].high < 0,
        "nearly the same picture": net.mean("selectivity", "guided").high < 0.1,
        "in ten layers of five nets": (len(speeds), len({row[0].split()[0] for row in speeds})) == (10, 5),
        "in AlexNet, VGG16 and ResNet50": [row[0].split()[0] for row in rows(SPEED, MAPS)] == ["alexnet", "vgg16", "resnet50"],
    }
