"""`deconvnet project`: the main command. Pictures become sheets of projections."""

from __future__ import annotations

import re
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
    load_net,
    page_scale,
    with_channels,
    with_crop,
    with_json,
    with_memory,
    with_model,
    with_net_options,
    with_print,
    with_rule,
    with_tone,
    write_json,
)
from .outputs import unused_name, with_force
from .printing import echo, say

if TYPE_CHECKING:
    from ..images import Picture
    from ..net import DeconvNet
    from ..projection import Projection
    from ..select import Position


@click.command()
@click.argument("pictures", nargs=-1, metavar="[PICTURE ...]", type=click.Path())
@with_model
@click.option("--layer", "-l", "layers", multiple=True, help=f"A layer's name; may be repeated. [default: {DEFAULT_LAYER}]")
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
    help="Pictures or folders to measure --own against; may be repeated. [default: 8 bundled drawings]",
)
@with_tone
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
    "--out", "-o", "outs", multiple=True, type=click.Path(), help="A .png, .jpg, .pdf or .npz file (repeatable), or a folder."
)
@with_force
@with_json("the units")
def project(
    pictures: tuple[str, ...],
    layers: tuple[str, ...],
    channels: list[int] | None,
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
    """Project the strongest channels of PICTUREs (files or folders) back to pixels, one sheet per picture.

    Without a picture, a drawing of the kind that tiny was trained on is used. The signal starts as the unit's activation. It
    goes down through the max pools' switches and the same filters, is rectified at each ReLU, and arrives at the pixels.

    \b
    deconvnet project
    deconvnet project cat.jpg --model torchvision:alexnet --layer features.11 --out cat.png
    deconvnet project photos/ --layer features.4 --layer features.10 --channel 3,10-12 --out sheets/
    """
    from ..images import find_pictures
    from ..inputs import default_picture
    from ..render.save import check_scale

    check_scale(page_scale(scale, dpi))
    files: list[Picture] = list(find_pictures(pictures)) if pictures else [default_picture()]
    targets = _targets(files, outs, model["model"])
    net = load_net(**model, overlap=overlap, lrn=lrn, silent=silent, attention=attention)
    look = {"tone": tone, "crop": crop, "outlines": outlines, "tile": tile, "scale": page_scale(scale, dpi)}
    options: dict[str, Any] = {
        "channels": channels,
        "top": top,
        "at": at,
        "rule": rule,
        "inside": inside,
        "own": own,
        "memory": memory,
    }
    options |= {"others": find_pictures(others) if others else None, "progress": len(files) == 1}
    rows: list[dict[str, Any]] = []
    reasons: dict[str, None] = {}  # each once, whatever the number of pictures
    unreadable = 0
    for file, paths in zip(_with_progress(files), targets, strict=True):
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
        _save(projections, paths, look, quiet=json_to == "-")
    for reason in filter(None, reasons):
        say(reason)
    if json_to:
        write_json(rows, json_to)
    if unreadable:
        raise PictureError(f"{unreadable} of {len(files)} pictures could not be read.")
    if not pictures:
        _say_what_next(targets[0][0], model["model"])


def _project(net: DeconvNet, picture: Picture, layers: Sequence[str], options: dict[str, Any]) -> list[Projection]:
    """Record one picture, to the end for its classes, and project each layer that was asked for."""
    recording = net.record(picture, layers=layers or None, stop=False)
    return [net.project(recording, layer, **options) for layer in (layers or (None,))]


def _targets(files: Sequence[Picture], outs: Sequence[str], model: str) -> list[list[Path]]:
    """Return the paths of each picture's sheet, after checking that they can be written."""
    from ..inputs import source_names
    from ..render.save import check_folder, check_suffix
    from ..sheets import SHEET_SUFFIXES

    names = _sheet_names(files, model)
    if not outs:
        sources = source_names(files)
        return [[Path(unused_name(name, {"picture": source}))] for name, source in zip(names, sources, strict=True)]
    folders = [Path(out) for out in outs if Path(out).is_dir() or out.endswith("/") or not Path(out).suffix]
    for out in outs:
        if Path(out) not in folders:
            check_suffix(out, SHEET_SUFFIXES)
            check_folder(out)
    if len(files) > 1 and len(folders) < len(outs):
        raise OptionError(f"{len(files)} pictures cannot go into one file. Give a folder: --out sheets/")
    for folder in folders:
        _make_folder(folder)
    return [[Path(out) / name if Path(out) in folders else Path(out) for out in outs] for name in names]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder {str(folder)!r}: {error.strerror}. Choose another place.") from error


def _sheet_names(files: Sequence[Picture], model: str) -> list[str]:
    """Return "STEM-MODEL.png" for each picture; equal stems are numbered, so that no sheet overwrites another."""
    names: list[str] = []
    for file in files:
        base = f"{file.stem if isinstance(file, Path) else 'drawing'}-{file_part(model)}"
        equal = sum(re.fullmatch(rf"{re.escape(base)}(-\d+)?\.png", name) is not None for name in names)
        names.append(f"{base}-{equal + 1}.png" if equal else f"{base}.png")
    return names


def _save(projections: Sequence[Projection], paths: Sequence[Path], look: dict[str, Any], quiet: bool) -> None:
    from ..sheets import save_sheet

    for path in paths:
        for written in save_sheet(projections, path, **look):
            (say if quiet else echo)(str(written))


def _with_progress(files: Sequence[Picture]) -> Iterable[Picture]:
    """Show a bar if there are several pictures."""
    if len(files) < 2:
        return files
    from tqdm import tqdm

    bar: Iterable[Picture] = tqdm(files, unit="picture", disable=None)
    return bar


def _say_what_next(path: Path, model: str) -> None:
    if model != "tiny":
        say(f"No picture was given: {path} shows a drawing of a face. Try next: deconvnet project YOUR.jpg --model {model}")
        return
    say(
        f"This is the built-in net `tiny` on one of its own drawings: see {path}. Try next:\n"
        "  deconvnet project YOUR.jpg --model torchvision:alexnet\n"
        "  deconvnet layers torchvision:alexnet\n"
        "  deconvnet project --layer features.4 --layer features.8 --layer features.12"
    )
