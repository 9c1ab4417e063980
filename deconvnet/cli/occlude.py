"""`deconvnet occlude`: the paper's Figure 7, for one picture."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from ..choices import Tone
from .option_types import FillType
from .study import check_results, draw_several, figure_name, finish, load_net, with_model, with_results, with_tone


@click.command()
@click.argument("picture", required=False, type=click.Path())
@with_model
@click.option("--layer", "-l", help="The layer whose map is watched. [default: the last rectified one]")
@click.option("--channel", "-c", type=click.IntRange(min=0), help="Its map. [default: the strongest of the whole picture]")
@click.option(
    "--strongest-by",
    type=click.Choice(["total", "max"]),
    default="total",
    show_default=True,
    help="What makes a map the strongest: its total activation, or its maximum.",
)
@click.option("--label", help="The class to watch, by number or name. [default: what the net says of the whole picture]")
@click.option("--square", type=click.IntRange(min=1), metavar="PIXELS", help="The square's side. [default: 27 at 224]")
@click.option("--stride", type=click.IntRange(min=1), metavar="PIXELS", help="How far it moves on. [default: 7 at 224]")
@click.option(
    "--fill", type=FillType(), default="mean", show_default=True, help="What stands in the square; the mean is nearly grey."
)
@click.option(
    "--others",
    type=click.Path(),
    help="Pictures in which the same map's strongest units are shown. [default: none; drawings where no picture is given]",
)
@with_tone
@with_results
def occlude(
    picture: str | None,
    layer: str | None,
    channel: int | None,
    strongest_by: str,
    label: str | None,
    square: int | None,
    stride: int | None,
    fill: Any,
    others: str | None,
    tone: Tone,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    **model: Any,
) -> None:
    """Slide a square over PICTURE: what becomes of the strongest map, and of the class (Zeiler & Fergus, Fig. 7)?

    Each position is computed once; the last ones are flush with the edge. Without a picture, a drawing is taken.

    \b
    deconvnet occlude
    deconvnet occlude dog.jpg --model torchvision:alexnet --others photos/ --out dog.png
    deconvnet occlude dog.jpg --square 40 --stride 4 --fill black --json
    """
    from ..drawings import draw
    from ..images import find_pictures
    from ..studies import occlude as study

    check_results(out, json_to, npz_to)
    net = load_net(**model)
    if others:
        beside: list[Any] = list(find_pictures(others))
    else:
        beside = [] if picture else draw_several(60, first=1000)
    result = study.run(
        net,
        picture or draw("fish", seed=5),
        layer=layer,
        channel=channel,
        strongest_by=strongest_by,
        label=label,
        square=square,
        stride=stride,
        fill=fill,
        others=beside,
    )
    finish(result, partial(study.plot, tone=tone), out or figure_name("occlude", model["model"]), json_to, npz_to)
