"""`deconvnet project`: the main job. A picture goes in, a sheet of projections comes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..choices import LRN, LRNS, OVERLAPS, TONES, Overlap, Tone
from ..errors import OptionError, PictureError
from ..units import parse_channels
from .option_types import JsonFile, PositionType, RuleType
from .options import MODEL_HELP, apply_preprocess, say, with_preprocess, with_weights, write_json

if TYPE_CHECKING:
    from ..net import DeconvNet
    from ..projection import Projection
    from ..select import Position


@click.command()
@click.argument("pictures", nargs=-1, metavar="[PICTURE ...]", type=click.Path())
@click.option("--model", "-m", default="tiny", show_default=True, metavar="MODEL", help=MODEL_HELP)
@with_weights
@with_preprocess
@click.option(
    "--layer", "-l", "layers", multiple=True, help="A layer's name; may be repeated. [default: the last rectified one]"
)
@click.option("--channel", "-c", "channels", multiple=True, help="Channels such as 3 or 1,4-6; may be repeated.")
@click.option("--top", type=click.IntRange(min=1), default=9, show_default=True, help="How many of the strongest channels.")
@click.option(
    "--at", type=PositionType(), default="max", show_default=True, help="The strongest position, the whole map, or one place."
)
@click.option(
    "--rule",
    type=RuleType(),
    default="deconvnet",
    show_default=True,
    help="Or the bits mask, switches, rectify: FTT is deconvnet.",
)
@click.option("--overlap", type=click.Choice(OVERLAPS), default="sum", show_default=True, help="Maxima that share a pixel.")
@click.option(
    "--lrn",
    type=click.Choice(LRNS),
    default="identity",
    show_default=True,
    help="Response normalisation.",
)
@click.option(
    "--tone", type=click.Choice(TONES), default="symmetric", show_default=True, help="How signed values become pixels."
)
@click.option(
    "--memory", type=click.IntRange(min=1), metavar="MIB", help="Bound a batch's memory. [default: a quarter of what is free]"
)
@click.option("--crop/--whole", default=None, help="Draw windows, or whole frames. [default: windows smaller than the frame]")
@click.option(
    "--out", "-o", "outs", multiple=True, type=click.Path(), help="A .png, .jpg, .pdf or .npz file (repeatable), or a folder."
)
@click.option(
    "--json", "json_to", type=JsonFile(), is_flag=False, flag_value="-", help="Write the units as JSON, to stdout or a file."
)
def project(
    pictures: tuple[str, ...],
    model: str,
    weights: str,
    device: str,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    size: int | None,
    layers: tuple[str, ...],
    channels: tuple[str, ...],
    top: int,
    at: Position,
    rule: str,
    overlap: Overlap,
    lrn: LRN,
    tone: Tone,
    memory: int | None,
    crop: bool | None,
    outs: tuple[str, ...],
    json_to: str | None,
) -> None:
    """Project the strongest channels of PICTUREs (files or folders) back to pixels, a sheet for each picture.

    Without a picture, one of the drawings that tiny was trained on is shown. The unit's activation starts the signal;
    it goes down by the max pools' switches, rectified, through the same filters, to the pixels.

    \b
    deconvnet project
    deconvnet project cat.jpg --model torchvision:alexnet --layer features.11 --out cat.png
    deconvnet project photos/ --layer features.4 --layer features.10 --channel 3,10-12 --out sheets/
    """
    from ..images import find_pictures
    from ..inputs import default_picture
    from ..models import load_model
    from ..net import DeconvNet

    chosen = [channel for text in channels for channel in parse_channels(text)] or None
    files: list[Any] = list(find_pictures(pictures)) if pictures else [default_picture()]
    targets = _targets(files, outs, model)
    loaded = apply_preprocess(load_model(model, weights=weights, device=device), mean, std, size)
    net = DeconvNet(loaded, overlap=overlap, lrn=lrn)
    asked: dict[str, Any] = {"channels": chosen, "top": top, "at": at, "rule": rule}
    asked |= {"memory": memory and memory * 2**20, "progress": len(files) == 1}
    rows: list[dict[str, Any]] = []
    unread = 0
    for file, paths in zip(_progress(files), targets, strict=True):
        try:
            projections = _projections(net, file, layers, asked)
        except PictureError as error:
            if len(files) == 1:
                raise
            say(f"{type(error).__name__}: {error}")
            unread += 1
            continue
        rows += [row for projection in projections for row in projection.to_json()]
        _save(projections, paths, tone, crop, quiet=json_to == "-")
    if json_to:
        write_json(rows, json_to)
    if unread:
        raise PictureError(f"{unread} of {len(files)} pictures could not be read.")
    if not pictures:
        _say_what_next(targets[0][0], model)


def _projections(net: DeconvNet, file: Any, layers: Sequence[str], asked: dict[str, Any]) -> list[Projection]:
    """Record one picture, to the end for the net's answer, and project each layer asked for."""
    recording = net.record([file], layers=layers or None, stop=False)
    return [net.project(recording, layer, **asked) for layer in (layers or (None,))]


def _targets(files: Sequence[Any], outs: Sequence[str], model: str) -> list[list[Path]]:
    """Return where each picture's sheet goes, before any work is done."""
    from ..render.save import check_suffix
    from ..sheets import SHEET_SUFFIXES

    names = _sheet_names(files, model)
    if not outs:
        return [[Path(name)] for name in names]
    folders = [Path(out) for out in outs if Path(out).is_dir() or out.endswith("/") or not Path(out).suffix]
    for out in outs:
        if Path(out) not in folders:
            check_suffix(out, SHEET_SUFFIXES)
            if not Path(out).absolute().parent.is_dir():
                raise OptionError(f"cannot write {out!r}: there is no folder {str(Path(out).parent)!r}. Make it first.")
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


def _sheet_names(files: Sequence[Any], model: str) -> list[str]:
    """Return "STEM-MODEL.png" for each picture; equal stems are numbered, so that none overwrites another."""
    names: list[str] = []
    short = re.sub(r".*[/\\]", "", model).replace(":", "-")  # of a file's function, without its folder
    for file in files:
        base = f"{file.stem if isinstance(file, Path) else 'drawing'}-{short}"
        same = sum(re.fullmatch(rf"{re.escape(base)}(-\d+)?\.png", name) is not None for name in names)
        names.append(f"{base}-{same + 1}.png" if same else f"{base}.png")
    return names


def _save(projections: Sequence[Projection], paths: Sequence[Path], tone: Tone, crop: bool | None, quiet: bool) -> None:
    from ..sheets import save_sheet

    for path in paths:
        save_sheet(projections, path, tone=tone, crop=crop)
        (say if quiet else click.echo)(str(path))


def _progress(files: Sequence[Any]) -> Any:
    """Show a bar over many pictures."""
    if len(files) < 2:
        return files
    from tqdm import tqdm

    return tqdm(files, unit="picture", disable=None)


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
