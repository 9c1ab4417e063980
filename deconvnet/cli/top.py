"""`deconvnet top`: the pictures that excite a channel most, as rows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import click

from ..errors import OptionError
from ..units import parse_channels
from ..visible import visible
from .options import with_json, write_json
from .printing import echo, results

if TYPE_CHECKING:
    from ..scanning import Hit

ChannelHits: TypeAlias = "list[tuple[int, list[Hit]]]"

COLUMNS = ("rank", "activation", "row", "col", "window", "path")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet takes for the beginning of one
CSV_COLUMNS = ("rank", "path", "activation", "row", "col", "top", "left", "height", "width")


@click.command()
@click.argument("scan", metavar="SCAN", type=click.Path())
@click.option("--layer", "-l", required=True, help="A scanned layer.")
@click.option("--channel", "-c", "channels", required=True, help="Channels such as 3 or 1,4-6.")
@with_json("the pictures")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV to stdout.")
def top(scan: str, layer: str, channels: str, json_to: str | None, as_csv: bool) -> None:
    """Print the pictures of SCAN that excite channels of a layer most: rank, activation, row and column, window, path.

    \b
    deconvnet top net.scan --layer features.10 --channel 151 --json
    """
    from ..scanning.table import ScanTable

    if json_to and as_csv:
        raise OptionError("--json and --csv exclude each other. Give one of them.")
    with ScanTable(scan) as table:
        hits = [(channel, table.top(layer, channel)) for channel in parse_channels(channels)]
    if json_to:
        write_json(_json_rows(hits), json_to)
    elif as_csv:
        _write_csv(hits)
    else:
        echo("\n\n".join(_text(layer, channel, rows) for channel, rows in hits))


def _json_rows(hits: ChannelHits) -> list[dict[str, object]]:
    """Return a row for each hit, with its channel if there are several."""
    if len(hits) == 1:
        return [hit.to_json() for _, rows in hits for hit in rows]
    return [{"channel": channel, **hit.to_json()} for channel, rows in hits for hit in rows]


def _write_csv(hits: ChannelHits) -> None:
    writer = csv.writer(results(), lineterminator="\n")
    has_channel = len(hits) > 1
    writer.writerow(("channel", *CSV_COLUMNS) if has_channel else CSV_COLUMNS)
    for channel, rows in hits:
        for hit in rows:
            row = (hit.rank, _cell(hit.path), hit.activation, hit.row, hit.col, *hit.window.to_list())
            writer.writerow((channel, *row) if has_channel else row)


def _cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula, and no terminal for an order.

    An apostrophe stands before what could begin a formula.
    """
    return visible(f"'{text}" if text.startswith(FORMULA) else text)


def _text(layer: str, channel: int, hits: Sequence[Hit]) -> str:
    """Return a channel's hits as a table."""
    from ..render.table import table_text

    if not hits:
        return f"{layer} channel {channel}: no picture."
    rows = [
        (str(hit.rank), f"{hit.activation:.4g}", str(hit.row), str(hit.col), ",".join(map(str, hit.window.to_list())), hit.path)
        for hit in hits
    ]
    return f"{layer} channel {channel}\n{table_text([COLUMNS, *rows])}"
