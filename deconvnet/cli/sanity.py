"""`deconvnet sanity`: do projections change when the net's weights are made random?"""

from __future__ import annotations

from typing import Any

import click

from ..choices import Tone
from .options import load_net, with_channel, with_limit, with_model, with_silent, with_tone
from .printing import echo, say
from .study import check_results, find_inputs, finish, with_results


@click.command()
@click.argument("pictures", nargs=-1, metavar="[PICTURE ...]", type=click.Path())
@with_limit
@with_model
@click.option("--layer", "-l", help="The layer of the unit to follow. [default: the classes' maps or scores]")
@with_channel("The unit's channel")
@click.option("--select", metavar="LAYER", help="The layer whose channels to compare. [default: the last rectified one]")
@click.option("--top", type=click.IntRange(min=2), default=8, show_default=True, help="How many channels to compare.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="How often the weights are drawn.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the first drawing of weights.")
@click.option("--steps", type=click.IntRange(min=4), default=5, show_default=True, help="Most steps; 99: one for each block.")
@click.option("--independent/--no-independent", show_default=True, help="Make each step's blocks random alone, too.")
@with_silent
@with_tone
@with_results
def sanity(
    pictures: tuple[str, ...],
    layer: str | None,
    channel: int | str | None,
    select: str | None,
    top: int,
    seeds: int,
    seed: int,
    steps: int,
    independent: bool,
    tone: Tone,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    **model: Any,
) -> None:
    """Make a copy's weights random, from the top down, and measure how alike the projections of PICTUREs stay.

    A picture of what a net learned must change; one that stays shows the input (Adebayo et al. 2018). The deconvnet, guided
    backpropagation and the gradient are compared with each other, with an edge detector and with random masks, inside the
    window of the unit that is followed: outside, every projection is zero. Without a picture, 50 drawings are used, which takes
    half a minute. Prints means over pictures with 95 % intervals. Needs the extra studies.

    \b
    deconvnet sanity
    deconvnet sanity cat.jpg --model torchvision:vgg16 --steps 99 --independent --json
    """
    check_results(out, json_to, npz_to)

    from ..studies.sanity import run

    result = run(
        load_net(**model),
        find_inputs(pictures),
        layer=layer,
        channel=channel,
        select=select,
        top=top,
        seeds=seeds,
        seed=seed,
        steps=steps,
        independent=independent,
    )
    (say if json_to == "-" else echo)(result.summary())
    finish(result, result.plot(tone=tone), out, json_to, npz_to, tone=tone)
