"""The numbers in the sentences of docs/gpu.md, which are those of docs/speed-gpu.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prose import value
from written_tables import cell, rows

PAGE, UNITS = "speed-gpu.md", "| layer | units"


def phrases(data: Mapping[str, Any]) -> list[str]:
    """Return the phrases of the page; `data` is empty."""
    milliseconds = float(cell(PAGE, UNITS, "alexnet features.11", 2))
    ratios = sorted(float(row[9].rstrip("x")) for row in rows(PAGE, UNITS))
    low, high = (value(f"{ratio:.2g}") for ratio in (ratios[0], ratios[-1]))
    return [
        f"one unit of AlexNet's conv5 takes {value(f'{milliseconds:.1f}')} ms; units are computed {low} to {high} times faster",
    ]
