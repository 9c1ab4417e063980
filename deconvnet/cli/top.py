"""`deconvnet top`: the pictures that excite a channel most, as rows."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING

import click

from ..errors import OptionError
from ..units import parse_channels
from .option_types import JsonFile
from .options import write_json

if TYPE_CHECKING:
    from ..scanning import Hit

COLUMNS = ("rank", "activation", "row", "col", "window", "path")


@click.command()
@click.argument("scan", metavar="SCAN", type=click.Path())
@click.option("--layer", "-l", required=True, help="A scanned layer.")
@click.option("--channel", "-c", "channels", required=True, help="Channels such as 3 or 1,4-6.")
@click.option("--json", "json_to", type=JsonFile(), is_flag=False, flag_value="-", help="Write JSON, to stdout or a file.")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV to stdout.")
def top(scan: str, layer: str, channels: str, json_to: str | None, as_csv: bool) -> None:
    """Print the pictures of SCAN that excite channels of a layer most: rank, activation, place, window, path.

    \b
    deconvnet top net.scan --layer features.10 --channel 151 --json
    """
    from ..scanning import Scan

    if json_to and as_csv:
        raise OptionError("--json and --csv exclude each other. Give one of them.")
    found, chosen = Scan.open(scan), parse_channels(channels)
    hits = {channel: found.top(layer, channel) for channel in chosen}
    many = len(chosen) > 1
    if json_to:
        rows = [{**({"channel": channel} if many else {}), **hit.to_json()} for channel in chosen for hit in hits[channel]]
        write_json(rows, json_to)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow((*(["channel"] if many else []), "rank", "path", "activation", "row", "col", *_SIDES))
        for channel in chosen:
            for hit in hits[channel]:
                place = (hit.rank, hit.path, hit.activation, hit.row, hit.col, *hit.window.to_list())
                writer.writerow((channel, *place) if many else place)
    else:
        click.echo("\n\n".join(_table(layer, channel, hits[channel]) for channel in chosen))


_SIDES = ("top", "left", "height", "width")


def _table(layer: str, channel: int, hits: list[Hit]) -> str:
    from ..render.table import table_text

    if not hits:
        return f"{layer} channel {channel}: no picture."
    rows = [
        (str(hit.rank), f"{hit.activation:.4g}", str(hit.row), str(hit.col), ",".join(map(str, hit.window.to_list())), hit.path)
        for hit in hits
    ]
    return f"{layer} channel {channel}\n{table_text([COLUMNS, *rows])}"
