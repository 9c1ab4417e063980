"""`deconvnet atlas`: a scan as pages that open from disk."""

from __future__ import annotations

from typing import Any

import click

from ..choices import RuleChoice, Tone
from .outputs import with_open, wrote
from .printing import say
from .scan_options import open_scan, with_origin, with_projection


@click.command()
@click.argument("scan", metavar="SCAN", type=click.Path())
@click.option("--out", "-o", required=True, metavar="FOLDER", help="A new folder, or that of a former call.")
@click.option("--layer", "-l", "layers", multiple=True, help="A scanned layer; may be repeated. [default: all]")
@click.option("--prune", is_flag=True, help="Remove the layers that a former call wrote and --layer does not name now.")
@with_projection
@click.option("--tile", type=click.IntRange(8, 512), default=96, show_default=True, metavar="PIXELS", help="A tile's side.")
@with_origin
@with_open
def atlas(
    scan: str,
    out: str,
    layers: tuple[str, ...],
    prune: bool,
    rule: RuleChoice,
    tone: Tone,
    tile: int,
    root: str | None,
    model: str | None,
    weights: str | None,
    memory: int | None,
) -> None:
    """Write SCAN as pages that open from disk, without a server: layers, their channels, and what excites each.

    The same command again continues where it was stopped, and draws only what has changed. With --layer, the layers of former
    calls stay in the atlas. Open index.html in any browser.

    \b
    deconvnet atlas alexnet.scan --out site
    deconvnet atlas alexnet.scan --out site --layer features.8 --layer features.11
    """
    from ..atlas import write_atlas

    with open_scan(scan, root=root, model=model, weights=weights) as opened:
        how: dict[str, Any] = {"rule": rule, "tone": tone, "tile": tile, "prune": prune, "memory": memory}
        try:
            summary = write_atlas(opened, out, layers=layers or None, **how, progress=True)
        except KeyboardInterrupt:
            say(f"What is drawn is kept in {out}. The same command continues from there.")
            raise
    for line in summary.changed:
        say(line)
    wrote(summary.index)
    say(str(summary))
