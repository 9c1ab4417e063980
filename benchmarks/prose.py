"""Numbers in sentences: filled in from what is kept in docs/data, and found where none is known to fill them.

A page stays plain Markdown. A *phrase* is a piece of one of its sentences in which each measured number is wrapped in `value`:

    f"occlusion falls from {value('0.49')} to {value('0.31')}"

It finds its place by its words, whatever numbers stand there and wherever lines break. A *claim* is a sentence and whether the
numbers bear it out. What no phrase fills has to be among the page's *typed* numbers, each with the reason why it is typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from deconvnet.studies.statistics import Estimate, p_text

OPEN, CLOSE = "\ue000", "\ue001"  # of Unicode's private use: no page has them
NUMBER = r"[-+]?\d+(?:\.\d+)?"
MEASURED = re.compile(rf"(?<![\w.,/-]){NUMBER}(?= %)|(?<![\w./-])[-+]?\d+\.\d+(?![\w.]*\d)")
NOT_PROSE = (
    r"<!-- begin: (.+?) -->.*?<!-- end: \1 -->",  # tables that are written
    r"^( *)```.*?^\1```$",
    r"`[^`\n]*`",
    r"\]\([^)\s]*\)",
    r"<!--.*?-->",
)


def value(text: str) -> str:
    """Return a measured number, or several with what stands between them, as a part of a phrase."""
    return f"{OPEN}{text}{CLOSE}"


def estimate_value(mean: Estimate, form: str = ".2f") -> str:
    """Return a mean with its interval as a part of a phrase."""
    return value(mean.text(form))


def two(mean: Estimate) -> str:
    """Return a mean with two decimals as a part of a phrase."""
    return value(f"{mean.mean:.2f}")


def three(mean: Estimate) -> str:
    """Return a mean with three decimals as a part of a phrase."""
    return value(f"{mean.mean:.3f}")


def p_value(p: float, digits: int = 3) -> str:
    """Return "p 0.012" or "p < 0.001" as a part of a phrase."""
    return value(p_text(p) if digits == 3 else f"p {p:.{digits}f}")


def negated(mean: Estimate) -> Estimate:
    """Return what the second has more than the first, of what the first has more."""
    return replace(mean, mean=-mean.mean, low=-mean.high, high=-mean.low)


def with_values(page: str, phrases: Iterable[str]) -> str:
    """Return the page with the values of each phrase in its place, broken into lines as those that stood there.

    Raises:
        ValueError: a phrase does not stand on the page exactly once.
    """
    for phrase in phrases:
        found = _place(page, phrase)
        for number, text in reversed([*enumerate(_values(phrase), 1)]):
            page = page[: found.start(number)] + _broken_as(found[number], text) + page[found.end(number) :]
    return page


def unfilled(page: str, phrases: Iterable[str], typed: Iterable[str]) -> list[str]:
    """Return the lines of the page with decimals or percentages that no phrase fills, and that are not said to be typed.

    Args:
        page: its Markdown.
        phrases: its phrases.
        typed: pieces of the page whose numbers are typed; the heading of a section stands for all of the section.

    Raises:
        ValueError: a phrase or a typed piece does not stand on the page.
    """
    prose = page
    for pattern in NOT_PROSE:
        prose = re.sub(pattern, lambda found: _blank(found[0]), prose, flags=re.DOTALL | re.MULTILINE)
    for phrase in phrases:
        found = _place(page, phrase)
        for number in range(1, len(found.groups()) + 1):
            prose = prose[: found.start(number)] + _blank(found[number]) + prose[found.end(number) :]
    for piece in typed:
        places = [*_typed_places(page, piece)]
        if not places:
            raise ValueError(f"said to be typed, and not on the page: {piece!r}")
        for start, end in places:
            prose = prose[:start] + _blank(prose[start:end]) + prose[end:]
    lines = zip(prose.splitlines(), page.splitlines(), strict=True)
    return [f"{', '.join(found)}: {line.strip()}" for words, line in lines if (found := MEASURED.findall(words))]


def untrue(page: str, claims: Mapping[str, bool]) -> list[str]:
    """Return the claims that the numbers do not bear out.

    Raises:
        ValueError: a claim does not stand on the page exactly once.
    """
    for claim in claims:
        _place(page, claim)
    return [claim for claim, holds in claims.items() if not holds]


def _place(page: str, phrase: str) -> re.Match[str]:
    """Return where a phrase stands, a group for each value."""
    parts = re.split(f"{OPEN}(.*?){CLOSE}", phrase)
    pattern = "".join(f"({_shape(part)})" if index % 2 else _words(part) for index, part in enumerate(parts))
    found = [*re.finditer(pattern, page)]
    if len(found) != 1:
        plain = phrase.replace(OPEN, "").replace(CLOSE, "")
        raise ValueError(f"the page is to say once, with any numbers, and says {len(found)} times: {plain!r}")
    return found[0]


def _values(phrase: str) -> list[str]:
    return re.findall(f"{OPEN}(.*?){CLOSE}", phrase)


def _words(text: str) -> str:
    """Return a pattern for words, wherever their lines break."""
    return r"\s+".join(re.escape(word) for word in re.split(r"\s+", text))


def _shape(text: str) -> str:
    """Return a pattern for a value with any numbers."""
    text = re.sub(r"p (?:< )?\d\S*", "\ue002", text)
    words = "".join(NUMBER if index % 2 else _words(part) for index, part in enumerate(re.split(f"({NUMBER})", text)))
    return words.replace("\ue002", rf"p\s+(?:<\s+)?{NUMBER}")


def _typed_places(page: str, piece: str) -> Iterator[tuple[int, int]]:
    if piece.startswith("## "):
        start = page.find(f"\n{piece}\n")
        if start >= 0:
            end = page.find("\n## ", start + 1)
            yield start, end if end > 0 else len(page)
        return
    for found in re.finditer(_words(piece), page):
        yield found.span()


def _broken_as(old: str, new: str) -> str:
    """Return a value with the line breaks of the one that stood there, if both have as many words."""
    spaces, words = re.findall(r"\s+", old), new.split(" ")
    if len(words) != len(spaces) + 1:
        return new
    return "".join(part for pair in zip(words, [*spaces, ""], strict=True) for part in pair)


def _blank(text: str) -> str:
    """Return as many spaces, with the line breaks where they were."""
    return re.sub(r"[^\n]", " ", text)
