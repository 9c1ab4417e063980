"""`deconvnet report`: what a scan says of whole layers: dead channels, rare ones, how strong they are."""

from __future__ import annotations

import click

from .option_types import JsonFile
from .options import say, write_json


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
@click.option("--json", "json_to", type=JsonFile(), is_flag=False, flag_value="-", help="Write JSON, to stdout or a file.")
def report(scan: str, layers: tuple[str, ...], rare: float, out: str | None, json_to: str | None) -> None:
    """Tell of each layer of SCAN which channels are dead, which fire rarely, and how strong the strongest maxima are.

    A channel is dead where its maximum was above 0 on no picture of the scan. A picture's activation is its map's maximum.

    \b
    deconvnet report net.scan --out report.png
    """
    from ..render.save import check_suffix
    from ..render.table import table_text
    from ..scanning import Scan
    from ..scanning.report import layer_report, plot

    if out:
        check_suffix(out)
    found = Scan.open(scan)
    rows = [layer_report(found, layer, rare) for layer in (layers or found.layers)]
    if json_to:
        write_json([row.to_json() for row in rows], json_to)
    else:
        heading = ("layer", "channels", "dead", "rare", "fires on (median)", "mean", "maximum (median)", "maximum (largest)")
        click.echo(table_text([heading, *(row.cells() for row in rows)]))
        for row in rows:
            for what, channels in (("dead", row.dead), ("rare", row.rare)):
                if channels:
                    click.echo(f"{row.layer} {what}: {_ranges(channels)}")
    if json_to != "-":
        say(found.summary())
    if out:
        from ..results import save_figure

        save_figure(plot(found, rows), out, settings=found.settings)
        (say if json_to == "-" else click.echo)(out)


def _ranges(numbers: list[int]) -> str:
    """Write 1,2,3,7 as 1-3,7, as --channel reads it."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)
