"""`deconvnet faithful`: does a projection point at what excites its unit? A score for each."""

from __future__ import annotations

from typing import Any

import click

from ..choices import Tone
from .options import load_net, with_channels, with_limit, with_model, with_silent, with_tone
from .printing import echo, say
from .study import check_results, find_inputs, finish, say_advice, with_results


@click.command()
@click.argument("pictures", nargs=-1, metavar="[PICTURE ...]", type=click.Path())
@with_limit
@with_model
@click.option("--layer", "-l", help="A layer's name. [default: the last rectified one]")
@with_channels()
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="How many of the strongest channels of each picture.",
)
@click.option("--area", type=float, default=0.1, show_default=True, help="Share of the window that is covered.")
@click.option("--seeds", type=click.IntRange(min=2), default=8, show_default=True, help="Random regions to compare with.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random regions.")
@with_silent
@with_tone
@with_results
def faithful(
    pictures: tuple[str, ...],
    layer: str | None,
    channels: list[int | str] | None,
    top: int,
    area: float,
    seeds: int,
    seed: int,
    tone: Tone,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    **model: Any,
) -> None:
    """Score units of PICTUREs by covering what their projections point at: the most faithful first.

    The score is how much more of the activation that takes away than covering equal regions elsewhere in the window: 1 is all
    of it, 0 is no more than chance. Without a picture, 50 drawings are used, whose parts are known: how much of a projection's
    energy lies on the part that excites the channel? Two nulls stand beside the rules: the picture's edges with no net at all,
    and a net with random filters. Means are over pictures, with 95 % intervals (extra studies), and compared in pairs.

    \b
    deconvnet faithful
    deconvnet faithful photos/ --model torchvision:alexnet --layer features.9 --json scores.json
    """
    check_results(out, json_to, npz_to)

    from ..studies.faithful import run

    result = run(
        load_net(**model),
        find_inputs(pictures),
        layer=layer,
        channels=channels,
        top=top,
        area=area,
        seeds=seeds,
        seed=seed,
    )
    tell = say if json_to == "-" else echo
    tell(f"{result.table()}\n\n{result.summary()}")
    say_advice()
    finish(result, result.plot(tone=tone), out, json_to, npz_to, tone=tone)
