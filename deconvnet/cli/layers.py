"""`deconvnet layers`: the layers of a model, or the way down from one of them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from .option_types import SizeType
from .options import load_with_inputs, with_inputs
from .printing import echo


@click.command()
@click.argument("model", default="tiny")
@click.option(
    "--size", type=SizeType(), metavar=SizeType.name, help="Side of the input, or height and width. [default: the model's own]"
)
@with_inputs
@click.option("--mirror", metavar="LAYER", help="Print the way down from LAYER instead: its calls from the pixels up.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
def layers(model: str, size: int | tuple[int, int] | None, mirror: str | None, as_json: bool) -> None:
    """List the layers of MODEL (default: tiny) with output size, receptive field, stride, max pools below and rule status.

    Field and stride are in pixels, and so is the reach: how far, down and across, the switches of the max pools below a layer
    can move a value. Without a pool, by the deconvnet rule, a unit's projection is the same for any picture.

    The status is exact (the true adjoint), paper (rectified as in Zeiler & Fergus), generalised (an activation other than
    ReLU, rectified too) or held (a gate or a norm that is taken as a constant); "no rule" cannot be projected through. A
    container has the loosest status of the calls inside it.
    """
    from ..net import DeconvNet

    # sizes do not depend on weights: nothing is downloaded
    loaded = load_with_inputs(model, weights="none", device="cpu")
    sides = (size, size) if isinstance(size, int) else size
    net, shape = DeconvNet(loaded), (loaded.input_size[0], *sides) if sides else loaded.ask_size()
    table: Any = net.mirror(net.record_zeros(shape), mirror) if mirror else net.layers(shape)
    if as_json:
        echo(json.dumps([dataclasses.asdict(row) for row in (table.steps if mirror else table)], indent=2))
    else:
        echo(str(table))
