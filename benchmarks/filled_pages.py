"""The pages whose tables and sentences are filled from docs/data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cannot_show_tables
import nets_tables
import prose_benchmark
import prose_cannot_show
import prose_cannot_show_numbers
import prose_gpu
import prose_nets
import prose_paper
import prose_readme
import prose_studies
import prose_transformers
from pages import ROOT, Tables, kept, markers, with_tables
from prose import unfilled, untrue, with_values

Numbers = Mapping[str, Any]  # what is kept, by the names of its files


@dataclass(frozen=True)
class FilledPage:
    """A page, what fills it, and what of it is typed.

    Attributes:
        path: from the root of the checkout.
        data: the names of the files in docs/data.
        tables: returns its tables by the names of their markers.
        phrases: returns its phrases (`prose.py`).
        claims: returns its claims, and whether the numbers bear them out.
        typed: its numbers that are typed, and why.
    """

    path: str
    data: tuple[str, ...]
    phrases: Callable[[Numbers], list[str]]
    typed: Mapping[str, str]
    tables: Callable[[Numbers], Tables] = lambda data: {}
    claims: Callable[[Numbers], dict[str, bool]] = lambda data: {}

    @property
    def numbers(self) -> dict[str, Any]:
        """What is kept of the page."""
        return {name: kept(name) for name in self.data}

    def written(self, page: str) -> str:
        """Return the page's Markdown with its tables and values filled in.

        Raises:
            ValueError: a table or a phrase does not stand on the page exactly once, or nothing fills one of its markers.
        """
        numbers = self.numbers
        tables = self.tables(numbers)
        if set(markers(page)) != set(tables):
            raise ValueError(f"{self.path} has markers of {sorted(markers(page))}, and its tables are {sorted(tables)}")
        return with_values(with_tables(page, tables), self.phrases(numbers))

    def faults(self, page: str) -> list[str]:
        """Return what is wrong with the page's Markdown: numbers that are not those kept, that nothing fills, false claims."""
        numbers, lines = self.numbers, []
        try:
            written = self.written(page)
            lines += [f"not what is kept: {line}" for line in _changed(page, written)]
            lines += [f"nothing fills {line}" for line in unfilled(page, self.phrases(numbers), self.typed)]
            lines += [f"not borne out: {claim}" for claim in untrue(page, self.claims(numbers))]
        except ValueError as error:
            lines.append(str(error))
        return [f"{self.path}: {line}" for line in lines]


def _changed(old: str, new: str) -> list[str]:
    """Return the new lines that the old text does not have."""
    known = set(old.splitlines())
    return [line for line in new.splitlines() if line not in known]


NETS = tuple(f"benchmark-{net}" for net in nets_tables.NETS)
CRITICS = (
    *(f"{study}-{net}" for study in ("own", "sanity", "faithful", "silent") for net in ("tiny", "squeezenet")),
    "own-efficientnet-lite0",
    "null-width",
    "benchmark-squeezenet",
)
STUDIES = ("correspond", "ablate", "invariance", *(f"filters-{net}" for net in prose_studies.NETS))
PAPER = (
    "benchmark-tiny",
    "benchmark-squeezenet",
    *NETS[2:],
    "sanity-tiny",
    "sanity-squeezenet",
    "silent-squeezenet",
    "own-efficientnet-lite0",
)
PAGES = (
    FilledPage(
        "docs/benchmark.md",
        NETS,
        lambda data: [*prose_nets.nets_phrases(data), *prose_benchmark.phrases(data)],
        prose_benchmark.TYPED,
        nets_tables.page_tables,
        lambda data: {**prose_nets.nets_claims(data), **prose_benchmark.claims(data)},
    ),
    FilledPage("docs/benchmark-nets.md", NETS[2:], prose_nets.small_phrases, prose_nets.TYPED_SMALL, nets_tables.small_tables),
    FilledPage(
        "docs/cannot-show.md",
        CRITICS,
        prose_cannot_show.phrases,
        prose_cannot_show.TYPED,
        cannot_show_tables.short_tables,
        prose_cannot_show.claims,
    ),
    FilledPage(
        "docs/cannot-show-numbers.md",
        CRITICS,
        prose_cannot_show_numbers.phrases,
        prose_cannot_show_numbers.TYPED,
        cannot_show_tables.full_tables,
        prose_cannot_show_numbers.claims,
    ),
    FilledPage("paper/paper.md", PAPER, prose_paper.phrases, prose_paper.TYPED, claims=prose_paper.claims),
    FilledPage("docs/studies.md", STUDIES, prose_studies.phrases, prose_studies.TYPED, claims=prose_studies.claims),
    FilledPage(
        "docs/studies-choices.md",
        STUDIES,
        prose_studies.choices_phrases,
        prose_studies.TYPED_CHOICES,
        prose_studies.tables,
    ),
    FilledPage(
        "docs/transformers.md", ("own-vit",), prose_transformers.phrases, prose_transformers.TYPED, prose_transformers.tables
    ),
    FilledPage("docs/gpu.md", (), prose_gpu.phrases, {}),
    FilledPage("README.md", ("faithful-tiny", "null-width", "sanity-tiny"), prose_readme.phrases, prose_readme.TYPED),
)


def write_pages(only: str | None = None) -> list[str]:
    """Fill the pages, and return the paths of those that changed.

    Args:
        only: the path of the one page to fill; all of them by default.
    """
    changed = []
    for page in PAGES:
        if only in (None, page.path):
            old = (ROOT / page.path).read_text()
            new = page.written(old)
            if new != old:
                (ROOT / page.path).write_text(new)
                changed.append(page.path)
    return changed
