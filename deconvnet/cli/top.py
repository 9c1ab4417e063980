"""`deconvnet top`: the pictures that excite a channel most, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import click

from ..errors import OptionError
from ..units import has_names
from .csv_rows import with_csv, write_csv
from .options import with_channels, with_json, write_json
from .printing import echo
from .scan_options import check_named, load_scanned_net, with_scanned_net

if TYPE_CHECKING:
    from ..scanning import Hit

ChannelHits: TypeAlias = "list[tuple[int, list[Hit]]]"

COLUMNS = ("rank", "activation", "row", "col", "window", "path")
CSV_COLUMNS = ("layer", "channel", "rank", "path", "activation", "row", "col", "top", "left", "height", "width")


@click.command()
@click.argument("scan", metavar="SCAN", type=click.Path())
@click.option("--layer", "-l", help="A scanned layer.")
@with_channels(required=True)
@with_scanned_net
@with_json("the pictures")
@with_csv
def top(
    scan: str,
    layer: str | None,
    channels: list[int | str],
    model: str | None,
    weights: str | None,
    json_to: str | None,
    as_csv: bool,
) -> None:
    """Print the pictures of SCAN that excite channels of a layer most: rank, activation, row and column, window, path.

    By numbers of channels the scan's file is enough; for names of classes the scanned net is loaded.

    \b
    deconvnet top net.scan --layer features.10 --channel 151 --json
    deconvnet top squeezenet.scan --channel tabby
    """
    if json_to and as_csv:
        raise OptionError("--json and --csv exclude each other. Give one of them.")
    if has_names(channels):
        layer, hits = _named_hits(scan, layer, channels, model, weights)
    else:
        layer, hits = _hits(scan, layer, channels)
    if json_to:
        write_json([{"layer": layer, "channel": channel, **hit.to_json()} for channel, rows in hits for hit in rows], json_to)
    elif as_csv:
        _write_csv(layer, hits)
    else:
        echo("\n\n".join(_text(layer, channel, rows) for channel, rows in hits))


def _hits(path: str, layer: str | None, channels: Sequence[int | str]) -> tuple[str, ChannelHits]:
    """Return the layer's name, and each channel's hits, by the scan's file alone."""
    from ..scanning.table import ScanTable

    with ScanTable(path) as table:
        check_named(table, filter(None, [layer]))
        layer = table.layer_name(str(layer))
        return layer, [(int(channel), table.top(layer, int(channel))) for channel in channels]


def _named_hits(
    path: str, layer: str | None, channels: Sequence[int | str], model: str | None, weights: str | None
) -> tuple[str, ChannelHits]:
    """Return them for names of classes too, which the scanned net knows."""
    from ..scanning import Scan

    with Scan.open(path) as scan:
        load_scanned_net(scan, model, weights)
        layer = scan.layer_name(layer) if layer else scan.class_layer()
        return layer, [(channel, scan.top(layer, channel)) for channel in scan.channel_numbers(layer, channels)]


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
