"""`deconvnet plate`: the paper's Figure 2, from a scan."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from ..choices import Crop, RuleName, Tone
from ..errors import OptionError, UnitError
from .options import say, with_channels, with_crop
from .scan_options import open_scan, with_origin, with_projection

if TYPE_CHECKING:
    from ..scanning import Scan


@click.command()
@click.argument("scan", metavar="SCAN", type=click.Path())
@click.option("--layer", "-l", required=True, help="A scanned layer.")
@with_channels(default="all")
@click.option(
    "--random",
    "count",
    type=click.IntRange(min=1),
    help="This many channels at random, as in the paper; dead ones are left out.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which random channels.")
@with_projection
@with_crop
@click.option("--page", type=click.IntRange(min=1), default=12, show_default=True, help="Channels on a page.")
@with_origin
@click.option("--out", "-o", default=None, metavar="FILE", help="A .png, .jpg or .pdf file. [default: plate-LAYER.png]")
def plate(
    scan: str,
    layer: str,
    channels: list[int] | None,
    count: int | None,
    seed: int,
    rule: RuleName,
    tone: Tone,
    crop: Crop,
    page: int,
    root: str | None,
    model: str | None,
    weights: str | None,
    memory: int | None,
    out: str | None,
) -> None:
    """Draw channels of SCAN as the paper's Figure 2: nine projections beside the nine patches they came from.

    Each of the nine is projected by itself. More channels than fit on a page become pages of a PDF, or numbered files.

    \b
    deconvnet plate alexnet.scan --layer features.11 --channel 151 --out plate.png
    deconvnet plate alexnet.scan --layer features.11 --out layer.pdf
    """
    from ..render.save import check_suffix

    safe = re.sub(r"[^\w.\[\]-]", "_", layer)  # "a/b" is a layer, but not a file here
    out = out or f"plate-{safe}.png"
    check_suffix(out)
    if channels and count:
        raise OptionError("--channel and --random exclude each other. Give one of them.")
    with open_scan(scan, root=root, model=model, weights=weights) as opened:
        chosen = _choose_channels(opened, layer, channels, count, seed)
        drawn = opened.plate(layer, chosen, rule=rule, tone=tone, crop=crop, memory=memory, progress=True)
        for file in drawn.save(out, per_page=page):
            click.echo(file)
        for line in drawn.changed:
            say(line)


def _choose_channels(scan: Scan, layer: str, channels: list[int] | None, count: int | None, seed: int) -> list[int] | None:
    """Return the channels that were asked for; None: all."""
    if not count:
        return channels
    sample = scan.sample(layer, count, seed)
    if not sample:
        raise UnitError(f"layer {layer!r} has no channel that fired. See: deconvnet report {scan.path}")
    return sample
