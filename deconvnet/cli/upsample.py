"""`deconvnet upsample`: a picture or a feature map pooled and upsampled again, by each method side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ..choices import POOLS, Pool
from .option_types import FactorsType
from .options import MODEL_HELP, file_part, load_net, with_channel, with_json, with_preprocess, with_weights, write_json
from .outputs import figure_name, unused_name, with_force, wrote
from .printing import echo

if TYPE_CHECKING:
    from torch import Tensor

    from ..images import Picture


@click.command()
@click.argument("picture", required=False, type=click.Path())
@click.option("--factor", "-f", "factors", type=FactorsType(), default="2,4", show_default=True, help="How many times smaller.")
@click.option(
    "--ways", "-w", metavar="WAY,...", help="Upsampling methods, in this order; `--ways list` names them. [default: ten]"
)
@click.option("--down", type=click.Choice(POOLS), default="max", show_default=True, help="Pool by the maximum or by the mean.")
@click.option(
    "--kernel",
    type=click.IntRange(min=2),
    metavar="PIXELS",
    help="Side of the pool's windows. [default: the factor: no overlap]",
)
@click.option("--model", "-m", metavar="MODEL", help=f"Take a map of this model instead of the picture: {MODEL_HELP}")
@click.option("--layer", "-l", help="The map's layer. [default: the last rectified one]")
@with_channel("The map's channel")
@with_weights
@with_preprocess
@click.option(
    "--out",
    "-o",
    type=click.Path(),
    help="A .png, .jpg or .pdf file. [default: upsample-PICTURE.png, of a map with its model, layer and channel]",
)
@with_force
@with_json("the numbers")
def upsample(
    picture: str | None,
    factors: tuple[int, ...],
    ways: str | None,
    down: Pool,
    kernel: int | None,
    model: str | None,
    layer: str | None,
    channel: int | str | None,
    weights: str,
    device: str,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    size: int | None,
    out: str | None,
    json_to: str | None,
) -> None:
    """Pool PICTURE, or a map that a model makes of it, and upsample it again by each method, side by side.

    PSNR and SSIM measure how near each result comes to the original, multiply-adds and milliseconds what it costs; the
    checkerboard is the share of its variance that repeats with the factor. Without a picture, a drawing is used.

    \b
    deconvnet upsample
    deconvnet upsample cat.jpg --factor 2 --ways nearest,bilinear,unpool-switches --down mean
    deconvnet upsample cat.jpg --model torchvision:alexnet --layer features.1 --factor 4 --out map.png
    """
    if ways == "list":
        _list_methods()
        return
    if model is None and (layer or channel is not None):
        model = "tiny"
    if model is None and (mean or std):
        raise click.UsageError("--mean and --std belong to a model's pictures: give --model, or leave them out.")
    _check_target(out, json_to)

    from ..upsampling.comparison import DEFAULT_METHODS, compare

    methods = [method.strip() for method in ways.split(",")] if ways else DEFAULT_METHODS
    if model is None:
        limits, (large, source) = (0.0, 1.0), _picture(picture, size)
    else:
        limits, (large, source) = None, _map(picture, model, layer, channel, weights, device, mean, std, size)
    comparison = compare(large, methods=methods, factors=factors, pool=down, kernel=kernel, limits=limits, source=source)
    target = out or unused_name(_default_name(picture, source), comparison.settings)
    comparison.save(target)
    if json_to:
        write_json([{**source, **row} for row in comparison.rows()], json_to)
    if json_to != "-":
        echo(_table(comparison.rows()))
    wrote(target, quietly=json_to == "-")


def _picture(picture: str | None, size: int | None) -> tuple[Tensor, dict[str, Any]]:
    """Return a picture's centre as (1, 3, H, W) in 0..1, and its source."""
    from ..images import Preprocess

    preprocess = Preprocess(size or 256, size or 224, (0.0,) * 3, (1.0,) * 3)
    opened, name = _open(picture)
    return preprocess(opened)[None], {"picture": name}


def _map(
    picture: str | None,
    model: str,
    layer: str | None,
    channel: int | str | None,
    weights: str,
    device: str,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    size: int | None,
) -> tuple[Tensor, dict[str, Any]]:
    """Return one map that a model makes of a picture as (1, 1, H, W), and its source."""
    from ..upsampling.comparison import map_of

    net = load_net(model=model, weights=weights, device=device, mean=mean, std=std, size=size)
    opened, name = _open(picture)
    large, layer, channel = map_of(net, opened, layer, channel)
    source = {"picture": name, "model": net.name, "weights": net.loaded.weights_hash(), "layer": layer, "channel": channel}
    return large, source


def _open(picture: str | None) -> tuple[Picture, str]:
    """Return a picture and its name; by default a drawing, large enough not to be enlarged."""
    from ..drawings import draw
    from ..inputs import open_input

    if picture is not None:
        return open_input(picture), picture
    return draw("face", seed=7, size=256).picture, "drawing of a face"


def _default_name(picture: str | None, source: Mapping[str, Any]) -> str:
    """Name the figure by its picture, or by its picture and map."""
    from ..inputs import file_stem

    shown = (file_part(source["model"]), source["layer"], str(source["channel"])) if "model" in source else ()
    return figure_name("upsample", file_stem(picture), *shown)


def _check_target(target: str | None, json_to: str | None) -> None:
    """Refuse, before any work is done, names that could not be written."""
    from .study import check_results

    check_results(target, json_to, None)


def _list_methods() -> None:
    from ..upsampling.comparison import COMPARABLE_METHODS, DEFAULT_METHODS

    for method in COMPARABLE_METHODS:
        echo(f"{method}{'' if method in DEFAULT_METHODS else '  (not shown unless named)'}")


def _table(rows: list[dict[str, Any]]) -> str:
    from ..render.table import table_text

    heading = ("factor", "way", "PSNR dB", "SSIM", "multiply-adds", "ms", "checkerboard")
    return table_text([heading, *map(_cells, rows)])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    from ..upsampling.comparison_page import count_text, share_text

    return (
        str(row["factor"]),
        row["way"],
        "exact" if row["psnr"] is None else f"{row['psnr']:.2f}",
        f"{row['ssim']:.3f}",
        "-" if row["multiply_adds"] is None else count_text(row["multiply_adds"]),
        f"{row['milliseconds']:.2f}",
        share_text(row["checkerboard"]),
    )
