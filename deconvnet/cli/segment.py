"""`deconvnet segment`: train small nets that label the parts of drawings, and compare their ways of going up."""

from __future__ import annotations

from typing import Any

import click

from ..choices import DEVICES
from .option_types import JsonFile


@click.command()
@click.option(
    "--ways", "-w", default="switch,fixed,nearest", show_default=True, metavar="WAY,...", help="How the nets unpool."
)  # fmt: skip
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How often each is trained, from other weights."
)
@click.option(
    "--steps", type=click.IntRange(min=1), default=400, show_default=True, help="Batches of 8 drawings in a training."
)
@click.option(
    "--drawings", type=click.IntRange(min=8), default=1024, show_default=True, help="How many different ones to learn from."
)
@click.option(
    "--size", type=click.IntRange(min=16), default=64, show_default=True, metavar="PIXELS", help="Side of the drawings."
)
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes a GPU if there is one.",
)
@click.option("--out", "-o", default="segment.png", show_default=True, metavar="FILE", help="The figure: .png, .jpg or .pdf.")
@click.option(
    "--json", "json_to", type=JsonFile(), is_flag=False, flag_value="-", help="Write the numbers as JSON, to stdout or a file."
)
@click.option("--npz", "npz_to", metavar="FILE.npz", help="Write the numbers as arrays.")
def segment(
    ways: str,
    seeds: int,
    steps: int,
    drawings: int,
    size: int,
    device: str,
    out: str,
    json_to: str | None,
    npz_to: str | None,
) -> None:
    """Train small nets to label the parts of drawings: does it matter how they unpool?

    All have the same parameters, first weights and drawings; one unpools by switches, one into a fixed corner (which makes
    it a strided transposed convolution), one repeats its values. With the defaults this takes a minute or two.

    \b
    deconvnet segment
    deconvnet segment --seeds 3 --steps 1200 --drawings 2048 --json table.json
    """
    from .study import check_results, finish

    check_results(out, json_to, npz_to)

    from ..models.model import pick_device
    from ..upsampling import segment as nets
    from ..upsampling.figures import plot_comparison

    chosen = [way.strip() for way in ways.split(",")]
    result = nets.run(ways=chosen, seeds=range(seeds), steps=steps, drawings=drawings, size=size, device=pick_device(device))
    if json_to != "-":
        click.echo(_table(result))
    finish(result, plot_comparison, out, json_to, npz_to)


def _table(result: Any) -> str:
    """Means over seeds, and with several their smallest and largest."""
    from ..render.table import table_text

    measures = result.measures()
    return table_text(
        [
            ("unpooling", *measures),
            *((way, *(_cell(values[place]) for values in measures.values())) for place, way in enumerate(result.ways)),
        ]
    )


def _cell(values: Any) -> str:
    return f"{values.mean():.3f}" + (f" ({values.min():.3f}-{values.max():.3f})" if len(values) > 1 else "")
