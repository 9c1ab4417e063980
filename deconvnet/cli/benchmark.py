"""`deconvnet benchmark`: the same units by every rule and option, each measured in every way."""

from __future__ import annotations

from typing import Any

import click

from ..choices import Tone
from .options import load_net, with_channels, with_limit, with_model, with_net_options, with_tone
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
    default=1,
    show_default=True,
    help="How many of the strongest channels of each picture.",
)
@click.option(
    "--planted/--no-planted",
    default=True,
    show_default=True,
    help="Train a small net on drawings with a planted cause, too, and measure what finds it.",
)
@click.option("--peers", is_flag=True, help="Measure Captum's, Zennit's and CRP's methods, too, where they are installed.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of random filters and of the small net.")
@with_net_options
@with_tone
@with_results
def benchmark(
    pictures: tuple[str, ...],
    layer: str | None,
    channels: list[int | str] | None,
    top: int,
    planted: bool,
    peers: bool,
    seed: int,
    tone: Tone,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    **model: Any,
) -> None:
    """Measure units of PICTUREs by every rule, and by every choice that the paper leaves open: what does each do?

    Where is the energy, against where covering takes activation (occlusion, insertion, deletion; on drawings, the part that
    excites the channel), and how much of it is of the picture, of the channel, and learned? Each is compared with the
    deconvnet; a star marks what differs after Holm's correction. Without a picture, 50 drawings are used. Takes minutes; needs
    the extra studies.

    \b
    deconvnet benchmark
    deconvnet benchmark photos/ --limit 20 --model torchvision:alexnet --no-planted --json choices.json
    """
    check_results(out, json_to, npz_to)

    from ..studies.benchmark import run

    result = run(
        load_net(**model),
        find_inputs(pictures),
        layer=layer,
        channels=channels,
        top=top,
        planted=planted,
        peers=peers,
        seed=seed,
    )
    tell = say if json_to == "-" else echo
    tell(f"{result.table()}\n\n{result.summary()}")
    say_advice()
    finish(result, result.plot(tone=tone), out, json_to, npz_to, tone=tone)
