"""`deconvnet segment`: train small nets that label the parts of drawings, and compare how they unpool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from .options import with_device, with_json, write_json
from .outputs import unused_name, with_force, wrote
from .printing import echo, say

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..choices import Unpooling
    from ..upsampling.segmentation import SegmentationComparison

ENOUGH_SEEDS, ENOUGH_STEPS = 3, 1200  # for a comparison: those of docs/upsampling-learned.md, and the defaults


@click.command()
@click.option(
    "--ways", "-w", default="switch,fixed,nearest", show_default=True, metavar="WAY,...", help="How the nets unpool."
)  # fmt: skip
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=ENOUGH_SEEDS,
    show_default=True,
    help="How often each is trained, from other weights.",
)
@click.option(
    "--steps", type=click.IntRange(min=1), default=ENOUGH_STEPS, show_default=True, help="Batches of 8 drawings in a training."
)
@click.option(
    "--drawings", type=click.IntRange(min=8), default=2048, show_default=True, help="How many different ones to learn from."
)
@click.option(
    "--size", type=click.IntRange(min=16), default=64, show_default=True, metavar="PIXELS", help="Side of the drawings."
)
@with_device
@click.option("--out", "-o", metavar="FILE", help="The figure: .png, .jpg or .pdf. [default: segment.png]")
@with_force
@with_json("the numbers")
@click.option("--npz", "npz_to", metavar="FILE.npz", help="Write the numbers as arrays.")
def segment(
    ways: str,
    seeds: int,
    steps: int,
    drawings: int,
    size: int,
    device: str,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
) -> None:
    """Train small nets to label the parts of drawings: does it matter how they unpool?

    All have the same parameters, first weights and drawings; one unpools by switches, one into a fixed corner (which makes
    it a strided transposed convolution), one repeats its values. With the defaults, which are enough to compare by, this takes
    about ten minutes on two cores; the second line below is a first look of two minutes.

    \b
    deconvnet segment --json table.json
    deconvnet segment --seeds 1 --steps 400
    """
    from .study import check_results, say_advice

    check_results(out, json_to, npz_to)

    from ..models.model import pick_device
    from ..upsampling.segment import run

    unpoolings = cast("list[Unpooling]", [way.strip() for way in ways.split(",")])  # `run` checks them
    result = run(
        unpoolings=unpoolings, seeds=range(seeds), steps=steps, drawings=drawings, size=size, device=pick_device(device)
    )
    (say if json_to == "-" else echo)(_table(result))
    say_advice()
    if seeds < ENOUGH_SEEDS or steps < ENOUGH_STEPS:
        say(
            f"note: {seeds} training{'s' if seeds > 1 else ''} of {steps} steps for each: what differs here may be chance, or"
            f" change with more steps. To compare: --seeds {ENOUGH_SEEDS} --steps {ENOUGH_STEPS}"
        )
    for path in filter(None, (out or unused_name("segment.png", result.settings), npz_to)):
        result.save(path)
        wrote(path, quietly=json_to == "-")
    if json_to:
        write_json(result.to_json(), json_to)


def _table(result: SegmentationComparison) -> str:
    """Means over seeds with their 95 % intervals; with fewer than five seeds their smallest and largest."""
    from ..render.table import table_text

    measures = result.measures()
    rows = [
        (unpooling, *(_cell(values[index]) for values in measures.values()))
        for index, unpooling in enumerate(result.unpoolings)
    ]
    return table_text([("unpooling", *measures), *rows])


def _cell(values: npt.NDArray[Any]) -> str:
    from ..studies.statistics import estimate_mean

    estimate = estimate_mean(values)
    if estimate.has_interval or len(values) == 1:
        return estimate.text(".3f")
    return f"{values.mean():.3f} ({values.min():.3f}-{values.max():.3f})"
