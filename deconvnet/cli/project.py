"""`deconvnet project`: the main command. Pictures become sheets of projections."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..choices import LRN, Attending, Crop, Overlap, RuleChoice, Silent, Tone
from ..errors import OptionError, PictureError
from .option_types import PositionType
from .options import (
    DEFAULT_LAYER,
    file_part,
    limited,
    load_net,
    page_scale,
    say_if_for_drawings,
    with_channels,
    with_crop,
    with_json,
    with_limit,
    with_memory,
    with_model,
    with_net_options,
    with_percentile,
    with_print,
    with_rule,
    with_tone,
    write_json,
)
from .outputs import figure_name, layers_part, rules_part, unused_name, with_force, wrote
from .printing import say

if TYPE_CHECKING:
    from ..images import Picture
    from ..net import DeconvNet
    from ..projection import Projection
    from ..select import Position


@click.command()
@click.argument("pictures", nargs=-1, metavar="[PICTURE ...]", type=click.Path())
@with_model
@with_limit
@click.option(
    "--layer",
    "-l",
    "layers",
    multiple=True,
    help=f"A layer's name, or the paper's, such as conv5; may be repeated. [default: {DEFAULT_LAYER}]",
)
@with_channels()
@click.option("--top", type=click.IntRange(min=1), default=9, show_default=True, help="How many of the strongest channels.")
@click.option(
    "--at",
    type=PositionType(),
    default="max",
    show_default=True,
    help="The strongest position, the whole map, or one position.",
)
@with_rule
@with_net_options
@click.option(
    "--own",
    is_flag=True,
    help="Measure how much of each projection is of this picture: 0 is the same for any, 1 shares nothing.",
)
@click.option(
    "--others",
    multiple=True,
    type=click.Path(),
    metavar="PICTURE",
    help="The same, against these pictures or folders; may be repeated. [default: 8 bundled drawings]",
)
@with_tone
@with_percentile
@with_memory
@click.option("--inside", is_flag=True, help="Take units only whose window lies inside the picture.")
@with_crop
@click.option(
    "--outlines",
    type=click.IntRange(0, 9),
    default=3,
    show_default=True,
    help="Draw the windows of so many of a layer's strongest units on the picture.",
)
@with_print
@click.option(
    "--out",
    "-o",
    "outs",
    multiple=True,
    type=click.Path(),
    help="A .png, .jpg, .pdf or .npz file (repeatable), or a folder. [default: PICTURE-MODEL-LAYER-RULE-TONE.png]",
)
@with_force
@with_json("the units")
def project(
    pictures: tuple[str, ...],
    layers: tuple[str, ...],
    channels: list[int | str] | None,
    top: int,
    at: Position,
    rule: RuleChoice,
    overlap: Overlap,
    lrn: LRN,
    silent: Silent,
    attention: Attending,
    own: bool,
    others: tuple[str, ...],
    tone: Tone,
    percentile: float | None,
    memory: int | None,
    inside: bool,
    crop: Crop,
    outlines: int,
    tile: int | None,
    scale: float | None,
    dpi: float | None,
    outs: tuple[str, ...],
    json_to: str | None,
    **model: Any,
) -> None:
    """Project the strongest channels of PICTUREs (files, folders or samples) back to pixels, one sheet per picture.

    Without a picture, a drawing of the kind that tiny was trained on is used. The signal starts as the unit's activation. It
    goes down through the max pools' switches and the same filters, is rectified at each ReLU, and arrives at the pixels.

    \b
    deconvnet project
    deconvnet project sample:cat --model torchvision:alexnet --layer conv5 --out cat.png
    deconvnet project photos/ --layer features.4 --layer features.10 --channel 3,10-12 --out sheets/
    """
    from ..inputs import default_picture, find_inputs
    from ..render.save import check_scale

    check_scale(page_scale(scale, dpi))
    files: list[Picture] = limited(find_inputs(pictures)) if pictures else [default_picture()]
    _check_outs(len(files), outs)
    say_if_for_drawings(pictures)
    net = load_net(**model, overlap=overlap, lrn=lrn, silent=silent, attention=attention)
    look = {
        "tone": tone,
        "percentile": percentile,
        "crop": crop,
        "outlines": outlines,
        "tile": tile,
        "scale": page_scale(scale, dpi),
    }
    options: dict[str, Any] = {
        "channels": channels,
        "top": top,
        "at": at,
        "rule": rule,
        "inside": inside,
        "own": own,
        "memory": memory,
    }
    options |= {"others": find_inputs(others) if others else None, "progress": len(files) == 1}
    rows: list[dict[str, Any]] = []
    reasons: dict[str, None] = {}  # each once, whatever the number of pictures
    unreadable = 0
    for file in _with_progress(files):
        try:
            projections = _project(net, file, layers, options)
        except PictureError as error:
            if len(files) == 1:
                raise
            say(f"{type(error).__name__}: {error}")
            unreadable += 1
            continue
        reasons.update(dict.fromkeys(projection.rule_reason for projection in projections))
        rows += [row for projection in projections for row in projection.to_json()]
        paths = _sheet_paths(file, projections, outs, look)
        _save(projections, paths, look, quiet=json_to == "-")
    for reason in filter(None, reasons):
        say(reason)
    if json_to:
        write_json(rows, json_to)
    if unreadable:
        raise PictureError(f"{unreadable} of {len(files)} pictures could not be read.")
    if not pictures:
        _say_what_next(paths[0], model["model"])


def _project(net: DeconvNet, picture: Picture, layers: Sequence[str], options: dict[str, Any]) -> list[Projection]:
    """Record one picture, to the end for its classes, and project each layer that was asked for."""
    recording = net.record(picture, layers=layers or None, stop=False)
    return [net.project(recording, layer, **options) for layer in (layers or (None,))]


def _check_outs(count: int, outs: Sequence[str]) -> None:
    """Check that the sheets of `count` pictures can be written, and make their folders."""
    from ..render.save import check_folder, check_suffix, make_folder
    from ..sheets import SHEET_SUFFIXES

    files = [out for out in outs if not _is_folder(out)]
    for out in files:
        check_suffix(out, SHEET_SUFFIXES)
        check_folder(out)
    if count > 1 and files:
        raise OptionError(f"{count} pictures cannot go into one file. Give a folder: --out sheets/")
    for out in outs:
        if _is_folder(out):
            make_folder(Path(out))


def _is_folder(out: str) -> bool:
    return Path(out).is_dir() or out.endswith(("/", os.sep)) or not Path(out).suffix


def _sheet_paths(file: Picture, projections: Sequence[Projection], outs: Sequence[str], look: dict[str, Any]) -> list[str]:
    """Return where a picture's sheet goes; without a name it is called by what it shows, and in a folder too."""
    from ..inputs import file_stem
    from ..sheets import sheet_settings

    settings = sheet_settings(projections, **{key: look[key] for key in ("tone", "percentile", "crop")})
    layers, rules = zip(*((projection.layer, projection.settings["rule"]) for projection in projections), strict=True)
    shown = (file_stem(file), file_part(settings["model"]), layers_part(layers), rules_part(rules), look["tone"])
    name = figure_name(*shown)
    return [unused_name(str(Path(out) / name), settings) if _is_folder(out) else out for out in outs or (".",)]


def _save(projections: Sequence[Projection], paths: Sequence[str], look: dict[str, Any], quiet: bool) -> None:
    from ..sheets import save_sheet

    for path in paths:
        for written in save_sheet(projections, path, **look):
            wrote(written, quietly=quiet)


def _with_progress(files: Sequence[Picture]) -> Iterable[Picture]:
    """Show a bar if there are several pictures."""
    if len(files) < 2:
        return files
    from ..progress import counted

    return counted(files, len(files), "projecting", "picture")


def _say_what_next(path: str, model: str) -> None:
    if model != "tiny":
        say(f"No picture was given: {path} shows a drawing of a face. Try next: deconvnet project YOUR.jpg --model {model}")
        return
    say(
        f"This is the built-in net `tiny` on one of its own drawings: see {path}. Try next:\n"
        "  deconvnet project YOUR.jpg --model torchvision:alexnet\n"
        "  deconvnet layers torchvision:alexnet --rectified\n"
        "  deconvnet samples\n"
        "  deconvnet project --layer conv1 --layer conv3 --layer conv5"
    )
