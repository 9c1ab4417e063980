"""`deconvnet ablate`: one unit, and a random signal, by all eight settings of mask, switches and rectification."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from ..choices import Tone
from .study import check_results, figure_name, finish, load_net, with_model, with_results, with_tone


@click.command()
@click.argument("picture", required=False, type=click.Path())
@with_model
@click.option("--layer", "-l", help="A layer's name. [default: the last rectified one]")
@click.option(
    "--channel", "-c", type=click.IntRange(min=0), help="A channel; its strongest unit is taken. [default: strongest]"
)
@click.option("--signals", type=click.IntRange(min=2), default=4, show_default=True, help="How many random signals.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random signals.")
@with_tone
@with_results
def ablate(
    picture: str | None,
    layer: str | None,
    channel: int | None,
    signals: int,
    seed: int,
    tone: Tone,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    **model: Any,
) -> None:
    """Draw a unit of PICTURE by the eight settings of three bits: forward mask, switches, rectification.

    Below each stands what a random positive signal at the same place gives: where both look alike, the picture tells of the
    switches and masks more than of the unit (Mahendran & Vedaldi 2016). Without a picture, a bundled drawing.

    \b
    deconvnet ablate
    deconvnet ablate cat.jpg --model torchvision:vgg16 --layer features.29 --json
    """
    check_results(out, json_to, npz_to)

    from ..studies import ablate as study

    result = study.run(load_net(**model), picture, layer=layer, channel=channel, signals=signals, seed=seed)
    finish(result, partial(study.plot, tone=tone), out or figure_name("ablate", model["model"]), json_to, npz_to)
