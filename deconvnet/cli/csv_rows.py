"""CSV to stdout, which no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence

import click

from ..visible import visible
from .options import Command
from .printing import results

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet takes for the beginning of one


def with_csv(function: Command) -> Command:
    """Add --csv."""
    return click.option("--csv", "as_csv", is_flag=True, help="Write CSV to stdout.")(function)


def write_csv(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; text that could begin a formula stands behind an apostrophe."""
    writer = csv.writer(results(), lineterminator="\n")
    writer.writerow(heading)
    for row in rows:
        writer.writerow([_cell(value) if isinstance(value, str) else value for value in row])


def _cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula, and no terminal for an order."""
    return visible(f"'{text}" if text.startswith(FORMULA) else text)
