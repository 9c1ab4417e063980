"""The numbers in the sentences on all nets: of docs/benchmark.md, and of docs/benchmark-nets.md; and what they claim."""

from __future__ import annotations

from collections.abc import Iterable

from nets_tables import NETS, OVER_ALL, SMALL, Numbers, accuracies
from prose import three, value
from prose_benchmark import Measured, points

DRAWN = tuple(name for name in NETS if name != "squeezenet")  # nets that were shown drawings
OPEN = ("silent=first", "overlap=last", "lrn=derivative")
TYPED_SMALL: dict[str, str] = {}


def measured(data: Numbers) -> dict[str, Measured]:
    """Return what was found on each net."""
    return {name: Measured(data[f"benchmark-{name}"]) for name in NETS}


def listed(texts: Iterable[str]) -> str:
    """Return "a, b and c"."""
    *first, last = texts
    return f"{', '.join(first)} and {last}"


def nets_phrases(data: Numbers) -> list[str]:
    """Return what is said of all nets together."""
    nets = measured(data)
    tiny, squeezenet, alexnet, vgg, resnet = nets.values()
    shares = accuracies(data)
    drawn = [nets[name] for name in DRAWN]
    switches = sorted(-100 * net.against("on the part", "FFT").difference.mean for net in drawn)
    choices = open_choices(nets)
    return [
        f"right on {value(f'{100 * shares[0]:.0f}')} to {value(f'{100 * shares[-1]:.0f}')} % of drawings",
        f"all four nets on drawings, by {listed(three(net.less('occlusion', 'no net')) for net in drawn)}."
        f" On SqueezeNet, with {three(squeezenet.less('occlusion', 'no net'))}, the interval",
        f"It loses most on SqueezeNet, {three(squeezenet.less('occlusion', 'silent=first'))} of occlusion, and in VGG-like,"
        f" {points(vgg.less('on the part', 'silent=first'))} points on the part",
        f"`lrn=derivative` loses {listed(points(net.less('on the part', 'lrn=derivative')) for net in (tiny, alexnet))} points",
        f"and loses {points(alexnet.less('on the part', 'overlap=last'))} points on the part in AlexNet-like",
        "all three small nets, by"
        f" {listed(points(net.against('on the part', 'guided').difference) for net in (alexnet, vgg, resnet))} points",
        f"all four nets on drawings, by {value(f'{switches[0]:.1f}')} to {value(f'{switches[-1]:.1f}')} points",
        "in tiny, AlexNet-like and VGG-like, by"
        f" {listed(points(net.less('on the part', 'random net')) for net in (tiny, alexnet, vgg))} points",
        f"of {value(str(len(choices)))} differences {value(str(sum(choices.values())))} are significant, and none is above"
        f" {value(f'{max(abs(net.against(*pair).difference.mean) for net, *pair in choices):.3f}')}",
    ]


def open_choices(nets: dict[str, Measured]) -> dict[tuple[Measured, str, str], bool]:
    """Return each open choice that changes pictures of a net on drawings, and whether it differs by the primary measure."""
    return {
        (nets[name], "occlusion", choice): choice in nets[name].significant("occlusion")
        for name in DRAWN
        for choice in OPEN
        if choice not in nets[name].numbers["same"]
    }


def nets_claims(data: Numbers) -> dict[str, bool]:
    """Return what is claimed of all nets in words, and whether the numbers bear it out."""
    nets = measured(data)
    squeezenet, alexnet, vgg, resnet = (nets[name] for name in ("squeezenet", *SMALL))
    drawn = [nets[name] for name in DRAWN]
    gains = [
        net.against(measure, "silent=first").difference.mean
        for net in nets.values()
        for measure in OVER_ALL[:3]
        if measure in net.numbers["means"] and "silent=first" in net.significant(measure)
    ]
    return {
        "agree less with occlusion than the deconvnet in all four nets on drawings": all(
            "no net" in net.significant("occlusion") and net.less("occlusion", "no net").mean > 0 for net in drawn
        ),
        "the interval holds 0. | In none": "no net" not in squeezenet.significant("occlusion"),
        "In none of the five do random filters by the same switches agree less": not any(
            "random net" in net.significant("occlusion") and net.less("occlusion", "random net").mean > 0
            for net in nets.values()
        ),
        "on the part, edges have as much in all three small nets": not any(
            "no net" in nets[name].significant("on the part") for name in SMALL
        ),
        "gains by none of the first three measures in any net": all(gain < 0 for gain in gains),
        "elsewhere about a point or nothing": all(
            abs(nets[name].against(measure, "silent=first").difference.mean) < 0.0155
            for name in ("tiny", "alexnet-like", "resnet-like")
            for measure in OVER_ALL[:3]
        ),
        "and by occlusion something in tiny alone": "lrn=derivative" in nets["tiny"].significant("occlusion")
        and "lrn=derivative" not in alexnet.significant("occlusion"),
        "points on the part in the two nets with norms": all(
            "lrn=derivative" in net.significant("on the part") for net in (nets["tiny"], alexnet)
        ),
        "`overlap=last` differs by occlusion in no net": not any(
            "overlap=last" in net.significant("occlusion") for net in nets.values()
        ),
        "Of the two trainings of that net one differs by occlusion, one does not": [
            "overlap=last" in Measured({**training, "means": {}}).significant("occlusion")
            for training in alexnet.numbers["trainings"]
        ]
        in ([True, False], [False, True]),
        "Guided backpropagation has more on the part in all three small nets": all(
            "guided" in net.significant("on the part") and net.less("on the part", "guided").mean < 0
            for net in (alexnet, vgg, resnet)
        ),
        "agrees more with occlusion on tiny and SqueezeNet": {
            name
            for name, net in nets.items()
            if "guided" in net.significant("occlusion") and net.less("occlusion", "guided").mean < 0
        }
        == {"tiny", "squeezenet"},
        "In all five it draws two channels at one place more alike": all(
            "guided" in net.significant("selectivity") and net.less("selectivity", "guided").mean > 0 for net in nets.values()
        ),
        "The gradient draws two channels at one place less alike in all five, and has more on the part in none": all(
            "gradient" in net.significant("selectivity") and net.less("selectivity", "gradient").mean < 0
            for net in nets.values()
        )
        and not any(
            "gradient" in net.significant("on the part") and net.less("on the part", "gradient").mean < 0 for net in drawn
        ),
        "Without switches (`FFT`) less is on the part in all four": all(
            "FFT" in net.significant("on the part") and net.less("on the part", "FFT").mean > 0 for net in drawn
        ),
        "By occlusion that shows in tiny and VGG-like only": {
            name for name in DRAWN if "FFT" in nets[name].significant("occlusion")
        }
        == {"tiny", "vgg-like"},
        "Trained filters put more on the part than random ones in tiny, AlexNet-like and VGG-like": all(
            "random net" in nets[name].significant("on the part") and nets[name].less("on the part", "random net").mean > 0
            for name in ("tiny", "alexnet-like", "vgg-like")
        ),
        "in ResNet-like they do not": "random net" not in resnet.significant("on the part"),
    }


def small_phrases(data: Numbers) -> list[str]:
    """Return what is said of the small nets' trainings."""
    return []
