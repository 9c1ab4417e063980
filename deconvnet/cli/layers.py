"""`deconvnet layers`: the layers of a model, or the way down from one of them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from ..errors import OptionError
from .csv_rows import with_csv, write_csv
from .option_types import SizeType
from .options import load_with_inputs, with_inputs
from .printing import echo

if TYPE_CHECKING:
    from ..layer_table import Layer

CSV_COLUMNS = (
    *("layer", "alias", "kind", "channels", "height", "width", "field_height", "field_width", "stride_down", "stride_across"),
    *("pools", "reach_down", "reach_across", "status", "taken_by"),
)


@click.command()
@click.argument("model", default="tiny")
@click.option(
    "--size", type=SizeType(), metavar=SizeType.name, help="Side of the input, or height and width. [default: the model's own]"
)
@with_inputs
@click.option("--rectified", is_flag=True, help="List only the layers that the paper projects from: rectified ones.")
@click.option("--mirror", metavar="LAYER", help="Print the way down from LAYER instead: its calls from the pixels up.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
@with_csv
def layers(
    model: str, size: int | tuple[int, int] | None, rectified: bool, mirror: str | None, as_json: bool, as_csv: bool
) -> None:
    """List the layers of MODEL (default: tiny) with output size, receptive field, stride, max pools below and rule status.

    Field and stride are in pixels, and so is the reach: how far, down and across, the switches of the max pools below a layer
    can move a value. Without a pool, by the deconvnet rule, a unit's projection is the same for any picture.

    The status is exact (the true adjoint), paper (rectified as in Zeiler & Fergus), generalised (an activation other than
    ReLU, rectified too) or held (a gate or a norm that is taken as a constant); from "no rule" on nothing can be projected. A
    container has the loosest status of the calls inside it. The last column says where a scan, and a projection, of no named
    layer look.

    \b
    deconvnet layers torchvision:alexnet --rectified
    deconvnet project sample:cat --model torchvision:alexnet --layer conv5
    """
    if as_json and as_csv:
        raise OptionError("--json and --csv exclude each other. Give one of them.")
    if mirror and (rectified or as_csv):
        raise OptionError("--mirror prints calls, not layers: --rectified and --csv are for those. Give one of them.")

    from ..net import DeconvNet

    # sizes do not depend on weights: nothing is downloaded
    loaded = load_with_inputs(model, weights="none", device="cpu")
    sides = (size, size) if isinstance(size, int) else size
    net, shape = DeconvNet(loaded), (loaded.input_size[0], *sides) if sides else loaded.ask_size()
    table: Any = net.mirror(net.record_zeros(shape), mirror) if mirror else net.layers(shape)
    table = table.rectified() if rectified else table
    if as_csv:
        write_csv(CSV_COLUMNS, [_cells(layer) for layer in table])
    elif as_json:
        echo(json.dumps([dataclasses.asdict(row) for row in (table.steps if mirror else table)], indent=2))
    else:
        echo(str(table))


def _cells(layer: Layer) -> tuple[object, ...]:
    """Return a layer's row of the CSV."""
    size = (layer.channels, layer.height, layer.width)
    numbers = (*size, *layer.receptive_field, *layer.stride, layer.pools, *layer.reach)
    return (layer.name, layer.alias, layer.kind, *numbers, layer.status, layer.taken_by)
