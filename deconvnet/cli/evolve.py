"""`deconvnet evolve`: the paper's Figure 4, from a series of checkpoints."""

from __future__ import annotations

from typing import Any

import click

from ..choices import Tone
from ..errors import OptionError, WeightsError
from .options import (
    MODEL_HELP,
    is_typed,
    load_net,
    with_channels,
    with_device,
    with_limit,
    with_preprocess,
    with_silent,
    with_tone,
)
from .study import check_results, draw_several, find_inputs, finish, with_results


@click.command()
@click.argument("pictures", nargs=-1, metavar="[PICTURE ...]", type=click.Path())
@with_limit
@click.option("--model", "-m", default="tiny", show_default=True, metavar="MODEL", help=MODEL_HELP)
@click.option(
    "--weights",
    multiple=True,
    metavar="FILE|FOLDER",
    help="A checkpoint; may be repeated. Or a folder of them, ordered by the numbers in their names. [default: tiny's own]",
)
@with_device
@with_preprocess
@click.option(
    "--layer", "-l", "layers", multiple=True, help="A layer's name; may be repeated. [default: up to five rectified ones]"
)
@with_channels(", of each layer")
@click.option(
    "--count", type=click.IntRange(min=1), default=4, show_default=True, help="How many random channels of each layer."
)
@click.option(
    "--drawings",
    type=click.IntRange(min=1, max=15_360),
    default=1000,
    show_default=True,
    help="Without pictures: how many of tiny's 15,360 training drawings to search.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random channels.")
@with_silent
@with_tone
@with_results
def evolve(
    pictures: tuple[str, ...],
    weights: tuple[str, ...],
    layers: tuple[str, ...],
    channels: list[int | str] | None,
    count: int,
    drawings: int,
    seed: int,
    tone: Tone,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    **model: Any,
) -> None:
    """Follow channels through the checkpoints of a training, a row for each (Zeiler & Fergus, Fig. 4).

    At each checkpoint a channel is shown by its strongest unit over PICTUREs (files or folders), projected; the paper searched
    its training set. Without pictures, drawings are used from which tiny learned; tiny brings its checkpoints of epochs 1, 2,
    5, 10, 20, 30, 40 and 64.

    \b
    deconvnet evolve
    deconvnet evolve photos/ --model torchvision:alexnet --weights run/ --layer features.4 --layer features.11
    deconvnet evolve photos/ --model file:net.py:make --weights epoch1.pt --weights epoch9.pt --channel 3,10-12
    """
    if pictures and is_typed("drawings"):
        raise click.UsageError("--drawings is for a search without pictures: leave it out, or the pictures.")
    check_results(out, json_to, npz_to)

    from ..models.tiny import TRAINING_SEED
    from ..studies.evolve import list_checkpoints, run

    if model["model"] != "tiny" and not weights:
        raise OptionError(f"{model['model']} comes without checkpoints. Give --weights FILE several times, or a folder.")
    files = list_checkpoints(weights) if weights else None
    for file in (files or {}).values():
        if not file.is_file():
            raise WeightsError(f"no checkpoint at {str(file)!r}. Give a weights file, or a folder of them.")
    net = load_net(**model, weights=str(list(files.values())[-1]) if files else "DEFAULT")
    result = run(
        net,
        find_inputs(pictures) or draw_several(drawings, first=TRAINING_SEED),
        checkpoints=files,
        layers=layers,
        channels=channels,
        count=count,
        seed=seed,
    )
    finish(result, result.plot(tone=tone), out, json_to, npz_to, tone=tone)
