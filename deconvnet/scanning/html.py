"""What a scan shows of itself in a notebook: HTML in which every word is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..render.table import table_html
from .table import ScanTable


def scan_html(table: ScanTable) -> str:
    """Return the summary of a scan, and a row for each layer: channels, size, dead ones, how often they fire."""
    rows: list[Sequence[str]] = [("layer", "channels", "map", "dead", "fire on a picture, on average")]
    for layer, (channels, height, width) in table.sizes.items():
        statistics = table.statistics(layer)
        pictures = max(int(statistics["pictures"].max(initial=0)), 1)
        share = float((statistics["fired"] / pictures).mean()) if channels else 0.0
        rows.append((layer, f"{channels}", f"{height}x{width}", f"{len(table.dead(layer))}", f"{share:.0%} of them"))
    return f"<p>{escape(table.summary()).replace(chr(10), '<br>')}</p>{table_html(rows)}"
