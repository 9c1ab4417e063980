"""Numbers of the pages: kept as JSON in docs/data, and written as tables between the markers of a page.

A table stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->`. `benchmarks/regenerate.py` knows which command
measures what.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deconvnet.results import save_json
from deconvnet.studies.statistics import Comparison, Estimate

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
Tables = dict[str, list[str]]  # the lines of each table in Markdown, by the name of its markers


def data_file(name: str) -> Path:
    """Return where numbers are kept."""
    return DOCS / "data" / f"{name}.json"


def keep(name: str, numbers: Mapping[str, Any], *, of_photographs: bool) -> None:
    """Keep numbers with their settings; of photographs the hashes, whose names are nobody's business."""
    settings = {key: value for key, value in numbers["settings"].items() if not (of_photographs and key == "pictures")}
    save_json(data_file(name), {**numbers, "settings": settings})


def kept(name: str) -> dict[str, Any]:
    """Return numbers that are kept."""
    numbers: dict[str, Any] = json.loads(data_file(name).read_text())
    return numbers


def pictures_of(numbers: Mapping[str, Any]) -> int:
    """Return of how many pictures what is kept was measured."""
    return len(numbers["settings"]["picture_digests"])


def estimate(numbers: Mapping[str, Any]) -> Estimate:
    """Return a mean with its interval, as JSON keeps it."""
    return Estimate(**{key: math.nan if value is None else value for key, value in numbers.items()})


def comparison(numbers: Mapping[str, Any]) -> Comparison:
    """Return a comparison, as JSON keeps it."""
    p, holm = (math.nan if numbers[key] is None else numbers[key] for key in ("p", "holm"))
    return Comparison(numbers["name"], estimate(numbers["difference"]), p, holm, numbers["primary"])


def heading(name: str, columns: Sequence[str]) -> list[str]:
    """Return the first two lines of a table in Markdown."""
    return [row(name, columns), "|" + "---|" * (1 + len(columns))]


def row(name: str, cells: Sequence[str]) -> str:
    """Return a row of a table in Markdown."""
    return " ".join(["|", " | ".join([name, *cells]), "|"])


def markers(page: str) -> list[str]:
    """Return the names of a page's markers, in order."""
    return re.findall(r"<!-- begin: (.+?) -->", page)


def with_tables(page: str, tables: Tables) -> str:
    """Return the page with each of the tables between its markers.

    Raises:
        ValueError: the page has a table's markers not exactly once.
    """
    for name, lines in tables.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        text = "\n".join([begin, "", *lines, "", end])
        page, count = re.subn(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _, text=text: text, page, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"the table {name!r} is to stand between {begin} and {end} once; the page has them {count} times")
    return page
