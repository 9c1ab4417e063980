"""The numbers in the sentences of docs/benchmark.md, and what its sentences claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pages import comparison, estimate
from prose import estimate_value, negated, p_value, three, two, value

from deconvnet.studies.statistics import LEVEL, RESAMPLES, Comparison, Estimate

DEFAULT = "deconvnet"
COVERED = ("occlusion", "insertion", "deletion")
TOOLS = ("captum", "zennit", "crp")
TYPED = {
    "that differ in three bits": "the rule's own bits",
    "Both were, with p 0.048, until CRP became a contender": "of docs/data before",
    "whose last release, 0.6.0, is": "a version",
    "It asks for Zennit 0.4.6 at most": "a version",
    "with Zennit 0.5.1 and torch 2.14 it works": "versions",
    "(alpha 0.5; AlexNet has 0.0001)": "of the nets' own definitions",
    "to 0.0001 of the largest value (a test holds it)": "the test's tolerance",
}


class Measured:
    """What `deconvnet benchmark` found on one net."""

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self.numbers = numbers
        self._comparisons = {each["name"]: comparison(each) for each in numbers["comparisons"]}

    def mean(self, measure: str, contender: str = DEFAULT) -> Estimate:
        """Return a contender's mean by a measure."""
        return estimate(self.numbers["means"][measure][contender])

    def against(self, measure: str, contender: str) -> Comparison:
        """Return what a contender has more than the deconvnet."""
        return self._comparisons[f"{measure}: {contender} - {DEFAULT}"]

    def less(self, measure: str, contender: str) -> Estimate:
        """Return what a contender has less than the deconvnet."""
        return negated(self.against(measure, contender).difference)

    def significant(self, measure: str) -> set[str]:
        """Return the contenders that differ from the deconvnet by a measure after the correction."""
        start, end = f"{measure}: ", f" - {DEFAULT}"
        found = [name for name, each in self._comparisons.items() if name.startswith(start) and each.holm < LEVEL]
        return {name.removeprefix(start).removesuffix(end) for name in found}

    @property
    def corrected(self) -> int:
        """How many comparisons are corrected for: all but the primary one."""
        return sum(not each.primary for each in self._comparisons.values())


def ours(contenders: Iterable[str]) -> list[str]:
    """Return the contenders that are made by this package."""
    return [name for name in contenders if not name.startswith(TOOLS)]


def points(mean: Estimate) -> str:
    """Return a mean share in points as a part of a phrase."""
    return value(f"{100 * mean.mean:.1f}")


def phrases(data: Mapping[str, Any]) -> list[str]:
    """Return the phrases of the page, from what is kept."""
    return [*tiny_phrases(Measured(data["benchmark-tiny"])), *squeezenet_phrases(data)]


def tiny_phrases(tiny: Measured) -> list[str]:
    """Return what is said of tiny."""
    smallest = 2 / (RESAMPLES + 1)
    random, insertions = tiny.against("occlusion", "random net"), tiny.numbers["means"]["insertion"]
    relevance, on_part = tiny.against("occlusion", "crp lrp"), tiny.against("on the part", "silent=first")
    levels = sorted(tiny.mean("insertion", name).mean for name in ours(insertions))
    return [
        f"p cannot be smaller than {value(f'{smallest * tiny.corrected:.3f}')} here: the bootstrap's smallest,"
        f" {value(f'{smallest:.4f}')}, times {value(str(tiny.corrected))} comparisons",
        f"less with occlusion than the deconvnet does, by {estimate_value(tiny.less('occlusion', 'no net'), '.3f')}",
        f"agree as well as the trained ones ({estimate_value(random.difference, '.3f')}, corrected {p_value(random.holm, 2)})",
        f"by their derivative occlusion loses {three(tiny.less('occlusion', 'lrn=derivative'))},"
        f" the part {points(tiny.less('on the part', 'lrn=derivative'))} points",
        f"`overlap=last` loses {three(tiny.less('occlusion', 'overlap=last'))} of occlusion, and `silent=first`"
        f" {points(tiny.less('on the part', 'silent=first'))} points on the part: neither is significant"
        f" ({p_value(tiny.against('occlusion', 'overlap=last').holm)} and"
        f" {value(f'{on_part.holm:.3f}')})",
        f"two channels differ a little more ({three(tiny.against('selectivity', 'silent=first').difference)})",
        f"nearly as the deconvnet does ({estimate_value(relevance.difference, '.3f')}, corrected {p_value(relevance.holm, 2)}),"
        f" and has {points(tiny.less('on the part', 'crp lrp'))} points less on the part"
        f" (corrected {p_value(tiny.against('on the part', 'crp lrp').holm, 2)})",
        f"Guided backpropagation has {three(tiny.against('occlusion', 'guided').difference)} more of occlusion",
        f"the planted cause is lost ({two(tiny.mean('planted', 'FFT'))}, {two(tiny.mean('planted', 'FFF'))})",
        f"so that {two(tiny.mean('planted'))} praises the switches."
        f" Random filters have {two(tiny.mean('planted', 'random net'))}",
        f"(*selectivity* {two(tiny.mean('selectivity', 'gradient'))}),"
        f" the deconvnet's hardly ({two(tiny.mean('selectivity'))})",
        f"less on the planted cause ({two(tiny.mean('planted', 'gradient'))})",
        f"The trained filters make {two(tiny.mean('learned'))} of a picture (*learned*), more than the gradient's by"
        f" {three(tiny.less('learned', 'gradient'))}",
        f"than the default here, by {three(tiny.less('occlusion', 'captum deconvnet'))},"
        f" and have {points(tiny.less('on the part', 'captum deconvnet'))} points less",
        f"(all lie between {value(f'{levels[0]:.2f}')} and {value(f'{levels[-1]:.2f}')}",
    ]


def squeezenet_phrases(data: Mapping[str, Any]) -> list[str]:
    """Return what is said of SqueezeNet, and of tiny beside it."""
    net, tiny = Measured(data["benchmark-squeezenet"]), Measured(data["benchmark-tiny"])
    primary, falls = net.less("occlusion", "no net"), ("occlusion", "insertion")
    signed = estimate_value(negated(primary), ".3f").partition(" ")[2]
    fallen = " and ".join(
        f"{measure} from {two(net.mean(measure))} to {two(net.mean(measure, 'silent=first'))}" for measure in falls
    )
    return [
        f"agree less with occlusion by {three(primary)}, but the interval, {value(signed[:-1])}, holds 0",
        f"tiny's difference, {three(tiny.less('occlusion', 'no net'))}, is as large",
        fallen.replace("occlusion from", "occlusion falls from"),
        f"Guided backpropagation agrees better with occlusion ({two(net.mean('occlusion', 'guided'))}) and insertion"
        f" ({two(net.mean('insertion', 'guided'))})",
        f"CRP's relevance agrees better with occlusion ({two(net.mean('occlusion', 'crp lrp'))}) and insertion"
        f" ({two(net.mean('insertion', 'crp lrp'))})",
        f"nearly the same picture (*selectivity* {two(net.mean('selectivity', 'guided'))})",
        f"do as well by insertion ({two(net.mean('insertion', 'random net'))})",
    ]


def claims(data: Mapping[str, Any]) -> dict[str, bool]:
    """Return what the page claims in words, and whether the numbers bear it out."""
    tiny, net = Measured(data["benchmark-tiny"]), Measured(data["benchmark-squeezenet"])
    norms, zero = tiny.less("occlusion", "lrn=derivative"), net.against("occlusion", "no net").difference
    return {
        "by insertion none of our contenders differs": not ours(tiny.significant("insertion")),
        "by deletion only `lrn=derivative`, `guided` and `no net` do": set(ours(tiny.significant("deletion")))
        == {"lrn=derivative", "guided", "no net"},
        "insertion and deletion do not tell them apart either": "random net"
        not in tiny.significant("insertion") | tiny.significant("deletion"),
        "neither is significant": "overlap=last" not in tiny.significant("occlusion")
        and "silent=first" not in tiny.significant("on the part"),
        "projections of two channels differ a little more": "silent=first" in tiny.significant("selectivity"),
        "by occlusion, insertion and deletion nothing differs": not any(
            "silent=first" in tiny.significant(measure) for measure in ("occlusion", "insertion", "deletion")
        ),
        "Neither is significant, and it answers": not any(
            "crp lrp" in tiny.significant(measure) for measure in ("occlusion", "on the part")
        ),
        "Of the three open choices, response norms matter most": norms.mean
        > max(tiny.less("occlusion", choice).mean for choice in ("silent=first", "overlap=last")),
        "holds 0. | Twenty photographs are few": zero.low < 0 < zero.high,
        "**Silent windows matter most of all open choices**": net.less("occlusion", "silent=first").mean
        > net.less("occlusion", "overlap=last").mean,
        "and deletion doubles": 1.75 < net.mean("deletion", "silent=first").mean / net.mean("deletion").mean < 2.5,
        "CRP's relevance agrees better with occlusion": all("crp lrp" in net.significant(measure) for measure in COVERED[:2]),
        "Its numbers are guided backpropagation's to within a hundredth": all(
            abs(net.mean(measure, "crp lrp").mean - net.mean(measure, "guided").mean) < 0.01 for measure in COVERED
        ),
        "are better than the trained ones by insertion, and no worse by occlusion": "random net"
        in net.significant("insertion") - net.significant("occlusion"),
    }
