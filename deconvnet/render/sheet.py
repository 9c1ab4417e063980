"""From projections to a sheet: what is drawn of each, and what is written under it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..errors import DeconvnetError, OptionError
from ..images import to_rgb
from ..units import Unit, Window
from .grid import Block, Sheet, draw_sheet
from .save import FORMATS, save_arrays, save_picture
from .tile import Tile

if TYPE_CHECKING:
    from ..projection import Projection


def sheet_of(projections: Sequence[Projection], *, tone: str = "symmetric", crop: bool | None = None) -> Sheet:
    """Lay out the projections of one image as a sheet, a block for each layer.

    `crop`: True draws each unit's window, False the whole frame, None the window where it is smaller than the frame.
    """
    images = {unit.image for projection in projections for unit in projection.units}
    if len(images) > 1:
        raise OptionError(f"a sheet shows the units of one image, found those of {len(images)}. Project each image by itself.")
    first = projections[0]
    seen = first.seen[next(iter(images or first.seen))]
    return Sheet(
        picture=to_rgb(seen.pixels),
        title=os.path.basename(seen.source),
        answers=list(seen.answers),
        blocks=[Block(projection.layer, projection.note, _tiles(projection, crop)) for projection in projections],
        footer=_footer(first.settings, tone),
    )


def _tiles(projection: Projection, crop: bool | None) -> list[Tile]:
    height, width = projection.frame[1:]
    pixels = projection.pixels if crop is False else None
    crops = projection.crops() if pixels is None else list(pixels)
    return [
        _tile(unit, np.asarray(part), window, height, width, crop)
        for unit, part, window in zip(projection.units, crops, projection.windows, strict=True)
    ]


def _tile(unit: Unit, part: Any, window: Window, height: int, width: int, crop: bool | None) -> Tile:
    inside = window.clip(height, width)
    within = Window(inside.top - window.top, inside.left - window.left, inside.height, inside.width)
    whole = crop is False
    if crop is None and (window.height >= height or window.width >= width):
        # a window as large as the frame shows mostly what lies beyond it: draw the frame
        frame = np.zeros((part.shape[0], height, width), part.dtype)
        frame[:, inside.top : inside.bottom, inside.left : inside.right] = part[
            :, within.top : within.bottom, within.left : within.right
        ]
        part, whole = frame, True
    return Tile(
        pixels=part,
        window=None if unit.row is None else window,
        label=str(unit.channel),
        activation=unit.activation,
        row=unit.row,
        col=unit.col,
        inside=None if whole else within,
        reached=inside if whole else None,
    )


def _footer(settings: dict[str, Any], tone: str) -> str:
    weights = str(settings["weights"])
    kind, _, digest = weights.partition(":")
    parts = [
        str(settings["model"]),
        f"weights {kind} {digest[:8]}" if digest else f"{weights} weights",
        f"rule {settings['rule']} ({settings['bits']}: mask, switches, rectify)",
        f"overlap {settings['overlap']}, lrn {settings['lrn']}",
        f"rules met: {', '.join(settings['statuses']) or 'none'}",
        f"tone {tone}",
        f"deconvnet {settings['version']}",
    ]
    return " · ".join(parts)


def settings_of(projections: Sequence[Projection], *, tone: str, crop: bool | None) -> dict[str, Any]:
    """Return what a saved sheet says about itself; the settings of several layers stand in a list, one each."""
    units = [row for projection in projections for row in projection.to_json()]
    shared = {
        key: value for key, value in projections[0].settings.items() if key not in ("layer", "channels", "units", "statuses")
    }
    layers = [{key: projection.settings[key] for key in ("layer", "channels", "statuses")} for projection in projections]
    own = ("path", "layer", "channel", "row", "col", "activation", "window")
    return {**shared, "tone": tone, "crop": crop, "layers": layers, "units": [{key: row[key] for key in own} for row in units]}


def save_sheet(
    projections: Sequence[Projection], path: str | os.PathLike[str], *, tone: str = "symmetric", crop: bool | None = None
) -> None:
    """Write the projections of one image as .png, .jpg or .pdf, with their settings inside, or as .npz."""
    check_suffix(path)
    if Path(path).suffix.lower() == ".npz":
        save_arrays(path, **_arrays(projections))
    else:
        image: Image.Image = draw_sheet(sheet_of(projections, tone=tone, crop=crop), tone=tone)
        save_picture(image, path, settings=settings_of(projections, tone=tone, crop=crop))


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Refuse a file name that says nothing of its format, before any work is done."""
    known = [*FORMATS, ".npz"]
    if Path(path).suffix.lower() not in known:
        raise OptionError(
            f"cannot save {os.fspath(path)!r}: the suffix is {Path(path).suffix!r}. Use one of {', '.join(known)}."
        )


def _arrays(projections: Sequence[Projection]) -> dict[str, Any]:
    """Return the arrays of one layer as they are; those of several under "layer/name"."""
    if not projections:
        raise DeconvnetError("there is no projection to save.")
    if len(projections) == 1:
        return projections[0].arrays()
    return {f"{p.layer}/{name}": array for p in projections for name, array in p.arrays().items()}
