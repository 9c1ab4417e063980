"""`deconvnet upsample`: a picture or a map taken down and up again, by each way side by side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .option_types import FactorsType, JsonFile
from .options import MODEL_HELP, say, with_preprocess, with_weights, write_json

if TYPE_CHECKING:
    from torch import Tensor


@click.command()
@click.argument("picture", required=False, type=click.Path())
@click.option("--factor", "-f", "factors", type=FactorsType(), default="2,4", show_default=True, help="How many times smaller.")
@click.option("--ways", "-w", metavar="WAY,...", help="Which ways up, in this order; `--ways list` names them. [default: ten]")
@click.option(
    "--down", type=click.Choice(["max", "mean"]), default="max", show_default=True, help="Pool by the maximum or by the mean."
)
@click.option(
    "--kernel",
    type=click.IntRange(min=2),
    metavar="PIXELS",
    help="Side of the pool's windows. [default: the factor: no overlap]",
)
@click.option("--model", "-m", metavar="MODEL", help=f"Take a map of this model instead of the picture: {MODEL_HELP}")
@click.option("--layer", "-l", help="Whose map to take. [default: the last rectified one]")
@click.option("--channel", "-c", type=click.IntRange(min=0), help="Which map of the layer. [default: the strongest]")
@with_weights
@with_preprocess
@click.option("--out", "-o", type=click.Path(), help="A .png, .jpg or .pdf file. [default: upsample-PICTURE.png]")
@click.option(
    "--json", "json_to", type=JsonFile(), is_flag=False, flag_value="-", help="Write the numbers as JSON, to stdout or a file."
)
def upsample(
    picture: str | None,
    factors: tuple[int, ...],
    ways: str | None,
    down: str,
    kernel: int | None,
    model: str | None,
    layer: str | None,
    channel: int | None,
    weights: str,
    device: str,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    size: int | None,
    out: str | None,
    json_to: str | None,
) -> None:
    """Take PICTURE, or a map that a model makes of it, down and up again by each way, side by side.

    PSNR and SSIM say how near each comes, multiply-adds and milliseconds what it costs, and the checkerboard is the share of
    its variance that repeats with the factor. Without a picture, a drawing is taken.

    \b
    deconvnet upsample
    deconvnet upsample cat.jpg --factor 2 --ways nearest,bilinear,unpool-switches --down mean
    deconvnet upsample cat.jpg --model torchvision:alexnet --layer features.1 --factor 4 --out map.png
    """
    if ways == "list":
        return _list_ways()
    if model is None and (layer or channel is not None):
        model = "tiny"
    if model is None and (mean or std):
        raise click.UsageError("--mean and --std are of a model's pictures: give --model, or leave them out.")
    target = out or _default_name(picture, model)
    _check_target(target, json_to)

    from ..upsampling.compare import SHOWN, compare, report
    from ..upsampling.sheet import save_comparison

    chosen = [way.strip() for way in ways.split(",")] if ways else list(SHOWN)
    if model is None:
        limits, (large, source) = (0.0, 1.0), _picture(picture, size)
    else:
        limits, (large, source) = None, _map(picture, model, layer, channel, weights, device, mean, std, size)
    courses = compare(large, ways=chosen, factors=factors, down=down, kernel=kernel, limits=limits)
    save_comparison(courses, target, source=source, limits=limits)
    if json_to:
        write_json([{**source, **row} for row in report(courses)], json_to)
    if json_to != "-":
        click.echo(_table(report(courses)))
    (say if json_to == "-" else click.echo)(target)


def _picture(picture: str | None, size: int | None) -> tuple[Tensor, dict[str, Any]]:
    """Return a picture's middle as (1, 3, H, W) in 0..1, and where it is from."""
    from ..images import Preprocess

    prepare = Preprocess(size or 256, size or 224, (0.0,) * 3, (1.0,) * 3)
    opened, name = _opened(picture)
    return prepare(opened)[None], {"picture": name}


def _map(
    picture: str | None,
    model: str,
    layer: str | None,
    channel: int | None,
    weights: str,
    device: str,
    mean: Any,
    std: Any,
    size: int | None,
) -> tuple[Tensor, dict[str, Any]]:
    """Return one map that a model makes of a picture as (1, 1, H, W), and where it is from."""
    from ..upsampling.compare import map_of
    from .study import load_net

    net = load_net(model=model, weights=weights, device=device, mean=mean, std=std, size=size)
    opened, name = _opened(picture)
    large, layer, channel = map_of(net, opened, layer, channel)
    source = {"picture": name, "model": net.name, "weights": net.loaded.weights_hash(), "layer": layer, "channel": channel}
    return large, source


def _opened(picture: str | None) -> tuple[Any, str]:
    """Return a picture and its name; a drawing where none is given, large enough not to be enlarged."""
    if picture is not None:
        return picture, picture
    from ..drawings import draw

    return draw("face", seed=7, size=256).picture, "drawing of a face"


def _default_name(picture: str | None, model: str | None) -> str:
    short = f"-{re.sub(r'.*[/]', '', model.replace(chr(92), '/')).replace(':', '-')}" if model else ""
    return f"upsample-{Path(picture).stem if picture else 'drawing'}{short}.png"


def _check_target(target: str, json_to: str | None) -> None:
    """Refuse, before any work is done, names that could not be written."""
    from .study import check_results

    check_results(target, json_to, None)


def _list_ways() -> None:
    from ..upsampling.compare import COMPARED, SHOWN

    for way in COMPARED:
        click.echo(f"{way}{'' if way in SHOWN else '  (not shown unless named)'}")


def _table(rows: list[dict[str, Any]]) -> str:
    from ..render.table import table_text
    from ..upsampling.sheet import count_text, share_text

    heading = ("factor", "way", "PSNR dB", "SSIM", "multiply-adds", "ms", "checkerboard")
    return table_text(
        [
            heading,
            *(
                (
                    str(row["factor"]),
                    row["way"],
                    "exact" if row["psnr"] is None else f"{row['psnr']:.2f}",
                    f"{row['ssim']:.3f}",
                    "-" if row["multiply_adds"] is None else count_text(row["multiply_adds"]),
                    f"{row['milliseconds']:.2f}",
                    share_text(row["checkerboard"]),
                )
                for row in rows
            ),
        ]
    )
