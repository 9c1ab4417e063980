"""Numbers of tables that a script wrote into a page: docs/speed.md and docs/zoo-families.md keep no JSON."""

from __future__ import annotations

import re

from pages import DOCS


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of a table's rows, without code and bold marks.

    Args:
        page: the name of a file in docs/.
        heading: what the table's first line begins with.

    Raises:
        ValueError: the page has no such table.
    """
    lines = (DOCS / page).read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(heading)]
    if len(starts) != 1:
        raise ValueError(f"{page} is to have one table that begins with {heading!r}, and has {len(starts)}")
    found = []
    for line in lines[starts[0] + 2 :]:
        if not line.startswith("|"):
            break
        found.append([re.sub(r"[`*]", "", cell).strip() for cell in line.strip("|").split("|")])
    return found


def cell(page: str, heading: str, name: str, column: int) -> str:
    """Return a cell by its row's first cell and its column, numbered from 0."""
    [row] = [row for row in rows(page, heading) if row[0] == name]
    return row[column]


def times_slower(layer: str) -> float:
    """Return how many times as long as ours Captum's call for one unit takes."""
    return float(cell("speed.md", "| layer | units", layer, 8).partition("x")[0].replace(",", ""))
