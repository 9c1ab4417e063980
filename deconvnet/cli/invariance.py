"""`deconvnet invariance`: the paper's Figure 5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..choices import (
    BORDERS,
    DISTANCES,
    GRID_INTERPOLATIONS,
    TRANSLATION_AXES,
    BorderName,
    Distance,
    GridInterpolation,
    TranslationAxis,
)
from .option_types import FillType
from .options import load_net, with_limit, with_model
from .study import check_results, find_inputs, finish, with_results

#: Drawings that are used where no picture is given: (class, seed); the clock and the flower are nearly symmetric.
DRAWINGS = (("face", 7), ("car", 5), ("train", 7), ("flower", 5), ("clock", 5))


@click.command()
@click.argument("pictures", nargs=-1, metavar="[PICTURE ...]", type=click.Path())
@with_limit
@with_model
@click.option(
    "--layer",
    "-l",
    "layers",
    multiple=True,
    help="A layer to measure in; may be repeated. [default: the first rectified one, and the last below the classifier]",
)
@click.option(
    "--label", "labels", multiple=True, help="Each picture's class, by number or name. [default: the most probable one]"
)
@click.option(
    "--axis", type=click.Choice(TRANSLATION_AXES), default="vertical", show_default=True, help="Direction of the translation."
)
@click.option(
    "--distance",
    type=click.Choice(DISTANCES),
    default="relative",
    show_default=True,
    help="Relative to the length of the untransformed features, root mean square over features, or plain.",
)
@click.option(
    "--fill", type=FillType(BORDERS), default="mean", show_default=True, help="What comes in at the border; edge continues it."
)
@click.option(
    "--interpolation",
    type=click.Choice(GRID_INTERPOLATIONS),
    default="bilinear",
    show_default=True,
    help="How pixels are taken from between pixels.",
)
@with_results
def invariance(
    pictures: tuple[str, ...],
    layers: tuple[str, ...],
    labels: tuple[str, ...],
    axis: TranslationAxis,
    distance: Distance,
    fill: BorderName | Sequence[float],
    interpolation: GridInterpolation,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    **model: Any,
) -> None:
    """Translate, scale and rotate PICTUREs (files or folders): how far do features move? (Zeiler & Fergus, Fig. 5)

    Translations reach 60 pixels of 224, in proportion for other sizes; scale 1 to 1.8; rotation 0 to 350 degrees. Without a
    picture, five drawings are used.

    \b
    deconvnet invariance
    deconvnet invariance a.jpg b.jpg c.jpg --model torchvision:alexnet --layer features.1 --layer classifier.5
    deconvnet invariance photos/ --axis horizontal --fill edge --json
    """
    check_results(out, json_to, npz_to)

    from ..drawings import draw
    from ..studies.invariance import run

    net = load_net(**model)
    classes = [name for name, _ in DRAWINGS]
    if not pictures and not labels and set(classes) <= set(net.loaded.classes):
        labels = tuple(classes)  # what they really are
    result = run(
        net,
        find_inputs(pictures) or [draw(name, seed=seed) for name, seed in DRAWINGS],
        layers=layers or None,
        labels=labels or None,
        axis=axis,
        distance=distance,
        fill=fill,
        interpolation=interpolation,
    )
    finish(result, result.plot(), out, json_to, npz_to)
