"""`deconvnet ablate`: one unit, and a random signal, by all eight settings of mask, switches and rectification."""

from __future__ import annotations

from typing import Any

import click

from ..choices import Tone
from .options import load_net, say_if_for_drawings, with_channel, with_model, with_silent, with_tone
from .study import check_results, finish, with_results


@click.command()
@click.argument("picture", required=False, type=click.Path())
@with_model
@click.option("--layer", "-l", help="A layer's name. [default: the last rectified one]")
@with_channel("The channel, of which the strongest unit is drawn")
@click.option("--signals", type=click.IntRange(min=2), default=4, show_default=True, help="How many random signals.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random signals.")
@with_silent
@with_tone
@with_results
def ablate(
    picture: str | None,
    layer: str | None,
    channel: int | str | None,
    signals: int,
    seed: int,
    tone: Tone,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    **model: Any,
) -> None:
    """Draw a unit of PICTURE by the eight settings of three bits: forward mask, switches, rectification.

    Below each is what a random positive signal at the same position gives: where both look alike, the picture says more about
    the switches and masks than about the unit (Mahendran & Vedaldi 2016). Without a picture, a drawing is used.

    \b
    deconvnet ablate
    deconvnet ablate cat.jpg --model torchvision:vgg16 --layer features.29 --json
    """
    check_results(out, json_to, npz_to)

    from ..studies.ablate import run

    say_if_for_drawings(filter(None, [picture]))
    result = run(load_net(**model), picture, layer=layer, channel=channel, signals=signals, seed=seed)
    finish(result, result.plot(tone=tone), out, json_to, npz_to, tone=tone)
