"""`deconvnet report`: what a scan says of whole layers: dead channels, rare ones, how strong they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import OptionError
from .csv_rows import with_csv, write_csv
from .options import SCALE, from_context, with_json, with_scale, write_json
from .outputs import with_open, wrote
from .printing import echo, say

if TYPE_CHECKING:
    from ..scanning.report import LayerReport


@click.command()
@click.argument("scan", metavar="SCAN", type=click.Path())
@click.option("--layer", "-l", "layers", multiple=True, help="A scanned layer; may be repeated. [default: all]")
@click.option(
    "--rare",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="A channel is rare below this share of pictures.",
)
@click.option("--out", "-o", default=None, metavar="FILE", help="Draw the histograms: .png, .jpg or .pdf.")
@with_scale
@with_open
@with_json("the report")
@with_csv
def report(scan: str, layers: tuple[str, ...], rare: float, out: str | None, json_to: str | None, as_csv: bool) -> None:
    """Report for each layer of SCAN which channels are dead, which fire rarely, and how strong they are.

    A picture's activation is its map's maximum. A channel is dead if that was above 0 on no picture of the scan. CSV has a row
    for each channel: the share of pictures on which it fires, and mean and maximum of its activations.

    \b
    deconvnet report net.scan --out report.png
    deconvnet report net.scan --layer conv5 --csv > conv5.csv
    """
    if json_to == "-" and as_csv:
        raise OptionError("--json and --csv both write to stdout. Give --json a file, or one of them.")
    from ..render.save import check_suffix
    from ..results import save_figure
    from ..scanning.report import CHANNEL_HEADING, layer_report, plot
    from ..scanning.table import ScanTable

    if out:
        check_suffix(out)
    with ScanTable(scan) as table:
        reports = [layer_report(table, table.layer_name(layer), rare) for layer in (layers or table.layers)]
        if json_to:
            write_json([report.to_json() for report in reports], json_to)
        if as_csv:
            write_csv(CHANNEL_HEADING, [row for report in reports for row in report.channel_rows()])
        elif not json_to:
            _print(reports)
        if json_to != "-":
            say(table.summary())
        if out:
            save_figure(plot(table, reports), out, settings=table.settings, scale=from_context(SCALE) or 1)
            wrote(out, quietly=json_to == "-" or as_csv)


def _print(reports: Sequence[LayerReport]) -> None:
    """Print the table, then the dead and rare channels of each layer, and those without a number."""
    from ..render.table import table_text
    from ..scanning.report import HEADING

    echo(table_text([HEADING, *(report.row() for report in reports)]))
    for report in reports:
        for what, channels in (("dead", report.dead), ("NaN on every picture", report.not_a_number), ("rare", report.rare)):
            if channels:
                echo(f"{report.layer} {what}: {_ranges(channels)}")


def _ranges(numbers: list[int]) -> str:
    """Write 1,2,3,7 as 1-3,7, as --channel reads it."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)
