"""`deconvnet atlas`: a scan as pages that open from disk."""

from __future__ import annotations

import click

from ..choices import TONES, Tone
from .option_types import RuleType
from .options import say
from .plate import load_scanned


@click.command()
@click.argument("scan", metavar="SCAN", type=click.Path())
@click.option("--out", "-o", required=True, metavar="FOLDER", help="A new folder, or that of a former call.")
@click.option("--layer", "-l", "layers", multiple=True, help="A scanned layer; may be repeated. [default: all]")
@click.option("--rule", type=RuleType(), default="deconvnet", show_default=True, help="Or the bits mask, switches, rectify.")
@click.option(
    "--tone", type=click.Choice(TONES), default="symmetric", show_default=True, help="How signed values become pixels."
)
@click.option("--tile", type=click.IntRange(8, 512), default=96, show_default=True, metavar="PIXELS", help="A tile's side.")
@click.option("--root", type=click.Path(), help="Where the pictures lie now, if they were moved.")
@click.option("--model", "-m", metavar="MODEL", help="The model, if not by the scan's name for it. [default: the scan's]")
@click.option("--weights", metavar="FILE", help="The weights, if they were moved. [default: the scan's]")
@click.option(
    "--memory", type=click.IntRange(min=1), metavar="MIB", help="Bound a batch's memory. [default: a quarter of what is free]"
)
def atlas(
    scan: str,
    out: str,
    layers: tuple[str, ...],
    rule: str,
    tone: Tone,
    tile: int,
    root: str | None,
    model: str | None,
    weights: str | None,
    memory: int | None,
) -> None:
    """Write SCAN as pages that open from disk, without a server: layers, their channels, and what excites each.

    The same command again goes on where it was stopped, and draws only what has changed. Open index.html in any browser.

    \b
    deconvnet atlas alexnet.scan --out site
    deconvnet atlas alexnet.scan --out site --layer features.8 --layer features.11
    """
    from ..scanning import Scan

    found = Scan.open(scan, root=root)
    if model or weights:
        load_scanned(found, model, weights)
    bound = memory and memory * 2**20
    built = found.atlas(out, layers=layers or None, rule=rule, tone=tone, tile=tile, memory=bound, progress=True)
    for line in built.changed:
        say(line)
    click.echo(str(built.index))
    say(str(built))
