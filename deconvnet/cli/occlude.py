"""`deconvnet occlude`: the paper's Figure 7, for one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..choices import STRONGEST_BY, StrongestBy, Tone
from .option_types import FillType
from .options import load_net, say_if_for_drawings, with_channel, with_model, with_silent, with_tone
from .study import check_results, draw_several, finish, with_results

if TYPE_CHECKING:
    from ..inputs import PictureInputs
    from ..studies.fill import Fill


@click.command()
@click.argument("picture", required=False, type=click.Path())
@with_model
@click.option("--layer", "-l", help="The map's layer. [default: the last rectified one]")
@with_channel("The map", default="the strongest of the whole picture")
@click.option(
    "--strongest-by",
    type=click.Choice(STRONGEST_BY),
    default="total",
    show_default=True,
    help="What makes a map the strongest: its total activation, or its maximum.",
)
@click.option("--label", help="The class, by number or name. [default: the most probable one for the whole picture]")
@click.option("--square", type=click.IntRange(min=1), metavar="PIXELS", help="The square's side. [default: 27 at 224]")
@click.option(
    "--stride", type=click.IntRange(min=1), metavar="PIXELS", help="From one position to the next. [default: 7 at 224]"
)
@click.option(
    "--fill", type=FillType(), default="mean", show_default=True, help="What fills the square; the mean is nearly grey."
)
@click.option(
    "--others",
    type=click.Path(),
    help="Pictures in which the same map's strongest units are shown. [default: none; drawings where no picture is given]",
)
@with_silent
@with_tone
@with_results
def occlude(
    picture: str | None,
    layer: str | None,
    channel: int | str | None,
    strongest_by: StrongestBy,
    label: str | None,
    square: int | None,
    stride: int | None,
    fill: Fill,
    others: str | None,
    tone: Tone,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    **model: Any,
) -> None:
    """Slide a square over PICTURE: what becomes of the strongest map, and of the class (Zeiler & Fergus, Fig. 7)?

    Each position is computed once; the last ones are flush with the edge. Without a picture, a drawing is used.

    \b
    deconvnet occlude
    deconvnet occlude dog.jpg --model torchvision:alexnet --others photos/ --out dog.png
    deconvnet occlude dog.jpg --square 40 --stride 4 --fill black --json
    """
    check_results(out, json_to, npz_to)

    from ..drawings import draw
    from ..studies.occlude import run

    say_if_for_drawings(filter(None, [picture]))
    result = run(
        load_net(**model),
        picture or draw("fish", seed=5),
        layer=layer,
        channel=channel,
        strongest_by=strongest_by,
        label=label,
        square=square,
        stride=stride,
        fill=fill,
        others=_other_pictures(picture, others),
    )
    finish(result, result.plot(tone=tone), out, json_to, npz_to, tone=tone)


def _other_pictures(picture: str | None, others: str | None) -> PictureInputs:
    """Return the pictures that --others names; drawings where no picture is given at all."""
    from .. import inputs

    if others:
        return inputs.find_inputs(others)
    return [] if picture else draw_several(60, first=1000)
