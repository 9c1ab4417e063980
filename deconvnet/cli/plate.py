"""`deconvnet plate`: the paper's Figure 2, from a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..choices import TONES, Tone
from ..errors import OptionError, UnitError
from ..units import parse_channels
from .option_types import RuleType
from .options import say

if TYPE_CHECKING:
    from ..scanning import Scan


@click.command()
@click.argument("scan", metavar="SCAN", type=click.Path())
@click.option("--layer", "-l", required=True, help="A scanned layer.")
@click.option("--channel", "-c", "channels", multiple=True, help="Channels such as 3 or 1,4-6; may be repeated. [default: all]")
@click.option(
    "--random", "count", type=click.IntRange(min=1), help="So many channels at random, as in the paper; dead ones left out."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which random channels.")
@click.option("--rule", type=RuleType(), default="deconvnet", show_default=True, help="Or the bits mask, switches, rectify.")
@click.option(
    "--tone", type=click.Choice(TONES), default="symmetric", show_default=True, help="How signed values become pixels."
)
@click.option("--page", type=click.IntRange(min=1), default=12, show_default=True, help="Channels on a page.")
@click.option("--root", type=click.Path(), help="Where the pictures lie now, if they were moved.")
@click.option("--model", "-m", metavar="MODEL", help="The model, if not by the scan's name for it. [default: the scan's]")
@click.option("--weights", metavar="FILE", help="The weights, if they were moved. [default: the scan's]")
@click.option(
    "--memory", type=click.IntRange(min=1), metavar="MIB", help="Bound a batch's memory. [default: a quarter of what is free]"
)
@click.option("--out", "-o", default=None, metavar="FILE", help="A .png, .jpg or .pdf file. [default: plate-LAYER.png]")
def plate(
    scan: str,
    layer: str,
    channels: tuple[str, ...],
    count: int | None,
    seed: int,
    rule: str,
    tone: Tone,
    page: int,
    root: str | None,
    model: str | None,
    weights: str | None,
    memory: int | None,
    out: str | None,
) -> None:
    """Draw channels' top pictures of SCAN as the paper's Figure 2: nine projections beside the nine patches they came from.

    Each of the nine is projected by itself. More channels than fit a page become pages: of a PDF, or numbered files.

    \b
    deconvnet plate alexnet.scan --layer features.11 --channel 151 --out plate.png
    deconvnet plate alexnet.scan --layer features.11 --out layer.pdf
    """
    from ..render.save import check_suffix
    from ..scanning import Scan

    out = out or f"plate-{layer}.png"
    check_suffix(out)
    if out.endswith(".npz"):
        raise OptionError(f"cannot save {out!r}: a plate is a picture. Use .png, .jpg or .pdf.")
    found = Scan.open(scan, root=root)
    if channels and count:
        raise OptionError("--channel and --random exclude each other. Give one of them.")
    chosen = [channel for text in channels for channel in parse_channels(text)] or None
    if count:
        chosen = found.sample(layer, count, seed)
        if not chosen:
            raise UnitError(f"layer {layer!r} has no channel that fired. See: deconvnet report {scan}")
    if model or weights:
        load_scanned(found, model, weights)
    made = found.plate(layer, chosen, rule=rule, tone=tone, memory=memory and memory * 2**20, progress=True)
    for file in made.save(out, per_page=page):
        click.echo(file)
    for line in made.changed:
        say(line)


def load_scanned(found: Scan, model: str | None, weights: str | None) -> None:
    """Give a scan its net where that goes by another name now, or its weights were moved."""
    from ..models import load_model
    from ..net import DeconvNet

    name, kept = found.settings["model"], found.settings["weights_from"]
    found.net = DeconvNet(load_model(model or name, weights=weights or kept or "DEFAULT", device="auto"))
