"""Rows of words as a table: in columns for a terminal, as HTML for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def table_text(rows: Sequence[Sequence[str]]) -> str:
    """Align rows of words in columns; the first row is the heading.

    >>> print(table_text([("layer", "channels"), ("features.1", "32")]))
    layer       channels
    features.1  32
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def table_html(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of words as an HTML table, every word escaped; the first row is the heading."""
    heading, *body_rows = rows
    body = "".join(_row_html(row, "td") for row in body_rows)
    return f"<table><thead>{_row_html(heading, 'th')}</thead><tbody>{body}</tbody></table>"


def _row_html(row: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in row)}</tr>"
