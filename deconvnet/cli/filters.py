"""`deconvnet filters`: the paper's Figure 6, what is wrong with a first layer, in numbers."""

from __future__ import annotations

from typing import Any

import click

from ..choices import Tone
from .options import load_net, with_limit, with_model, with_silent, with_tone
from .printing import echo, say
from .study import check_results, find_inputs, finish, say_advice, with_results


@click.command()
@click.argument("pictures", nargs=-1, metavar="[PICTURE ...]", type=click.Path())
@with_limit
@with_model
@click.option(
    "--second", "-l", metavar="LAYER", help="The second layer. [default: the rectified one above the second convolution]"
)
@click.option("--top", type=click.IntRange(min=1), default=16, show_default=True, help="How many of its channels to project.")
@click.option(
    "--bands",
    type=(float, float),
    default=(0.125, 0.25),
    show_default=True,
    help="Where low frequencies end and high ones begin.",
)
@with_silent
@with_tone
@with_results
def filters(
    pictures: tuple[str, ...],
    second: str | None,
    top: int,
    bands: tuple[float, float],
    tone: Tone,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    **model: Any,
) -> None:
    """Draw a model's first-layer filters and second-layer projections: the paper's Figure 6.

    It measures dominant and dead filters, how each filter's energy is shared among frequencies (cycles per pixel) beside that
    of white noise, and the grid that the first layer's stride leaves in second-layer projections of the PICTUREs (files or
    folders). Without a picture, drawings are used.

    \b
    deconvnet filters
    deconvnet filters photos/ --model torchvision:alexnet --json
    """
    check_results(out, json_to, npz_to)

    from ..studies.filters import run

    result = run(load_net(**model), find_inputs(pictures), second=second, top=top, bands=bands)
    (say if json_to == "-" else echo)(result.table())
    say_advice()
    finish(result, result.plot(tone=tone), out, json_to, npz_to, tone=tone)
