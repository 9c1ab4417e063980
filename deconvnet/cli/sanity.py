"""`deconvnet sanity`: do projections change when the net's weights are made random?"""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from ..choices import Tone
from .study import check_results, figure_name, finish, load_net, with_model, with_results, with_tone


@click.command()
@click.argument("pictures", nargs=-1, metavar="[PICTURE ...]", type=click.Path())
@with_model
@click.option("--layer", "-l", help="Whose unit to follow. [default: the class scores; of others, all layers above do nothing]")
@click.option("--channel", "-c", type=click.IntRange(min=0), help="Which channel of it. [default: the strongest]")
@click.option("--select", metavar="LAYER", help="Whose channels to compare at one place. [default: the last rectified layer]")
@click.option("--top", type=click.IntRange(min=2), default=8, show_default=True, help="How many of them.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How often weights are drawn.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first drawing of weights.")
@with_tone
@with_results
def sanity(
    pictures: tuple[str, ...],
    layer: str | None,
    channel: int | None,
    select: str | None,
    top: int,
    seeds: int,
    seed: int,
    tone: Tone,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    **model: Any,
) -> None:
    """Make a copy's weights random, layer by layer, and measure how alike the projections of PICTUREs stay.

    A picture of what a net learned must change; one that stays shows the input (Adebayo et al. 2018). The deconvnet, guided
    backpropagation and the gradient are held against each other, an edge detector and random masks. Needs the extra studies.

    \b
    deconvnet sanity
    deconvnet sanity cat.jpg --model torchvision:vgg16 --seeds 3 --json
    """
    check_results(out, json_to, npz_to)

    from ..images import find_pictures
    from ..studies import sanity as study

    asked: dict[str, Any] = {"layer": layer, "channel": channel, "select": select, "top": top, "seeds": seeds, "seed": seed}
    result = study.run(load_net(**model), find_pictures(pictures) if pictures else None, **asked)
    finish(result, partial(study.plot, tone=tone), out or figure_name("sanity", model["model"]), json_to, npz_to)
