"""The table of docs/transformers.md, and the numbers in its sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pages import Tables, estimate, heading, row
from prose import value

Numbers = Mapping[str, Any]
TYPED = {"over photographs with 95 % intervals": "the level"}
COLUMNS = ("patterns held", "one pattern for all: every token looks at all alike")


def tables(data: Numbers) -> Tables:
    """Return the table of the page by the name of its markers."""
    rows = [
        row(layer, [str(estimate(means[name])) for name in ("held", "one pattern")])
        for layer, means in data["own-vit"]["layers"].items()
    ]
    return {"own-vit": [*heading("layer", COLUMNS), *rows]}


def phrases(data: Numbers) -> list[str]:
    """Return the phrases of the page, from what is kept."""
    largest = max(abs(means["without norms"]["mean"]) for means in data["own-vit"]["layers"].values())
    return [f"without them it is {value(f'{largest:.3f}')}."]
