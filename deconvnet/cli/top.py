"""`deconvnet top`: the pictures that excite a channel most, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import click

from ..errors import OptionError
from ..units import parse_channels
from .csv_rows import with_csv, write_csv
from .options import with_json, write_json
from .printing import echo
from .scan_options import check_named

if TYPE_CHECKING:
    from ..scanning import Hit

ChannelHits: TypeAlias = "list[tuple[int, list[Hit]]]"

COLUMNS = ("rank", "activation", "row", "col", "window", "path")
CSV_COLUMNS = ("layer", "channel", "rank", "path", "activation", "row", "col", "top", "left", "height", "width")


@click.command()
@click.argument("scan", metavar="SCAN", type=click.Path())
@click.option("--layer", "-l", help="A scanned layer.")
@click.option("--channel", "-c", "channels", required=True, help="Channels by number, such as 3 or 1,4-6.")
@with_json("the pictures")
@with_csv
def top(scan: str, layer: str | None, channels: str, json_to: str | None, as_csv: bool) -> None:
    """Print the pictures of SCAN that excite channels of a layer most: rank, activation, row and column, window, path.

    \b
    deconvnet top net.scan --layer features.10 --channel 151 --json
    """
    from ..scanning.table import ScanTable

    if json_to and as_csv:
        raise OptionError("--json and --csv exclude each other. Give one of them.")
    with ScanTable(scan) as table:
        check_named(table, filter(None, [layer]))
        layer = table.layer_name(str(layer))
        hits = [(channel, table.top(layer, channel)) for channel in parse_channels(channels)]
    if json_to:
        write_json([{"layer": layer, "channel": channel, **hit.to_json()} for channel, rows in hits for hit in rows], json_to)
    elif as_csv:
        _write_csv(layer, hits)
    else:
        echo("\n\n".join(_text(layer, channel, rows) for channel, rows in hits))


def _write_csv(layer: str, hits: ChannelHits) -> None:
    rows = [
        (layer, channel, hit.rank, hit.path, hit.activation, hit.row, hit.col, *hit.window.to_list())
        for channel, channel_hits in hits
        for hit in channel_hits
    ]
    write_csv(CSV_COLUMNS, rows)


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
