"""Sheets of projections: the picture that the net saw, and a tile for each unit, layer by layer.

Nothing of nets is imported: a sheet is drawn from whatever has the fields of a `deconvnet.Projection`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from .choices import CROPS, Crop, Tone
from .crops import recut
from .errors import OptionError, check_option
from .images import ShownImage, to_rgb
from .render import LayerTiles, Sheet, Tile, draw_sheet, save_arrays, save_picture
from .render.save import PICTURE_SUFFIXES, check_suffix
from .render.sheet import OUTLINES, lay_out_sheet
from .render.text import own_text, size_text, source_title
from .render.tile import CROP_WORDS
from .render.tone import tone_percentile, tone_text
from .sheet_kinds import PART_WORDS, SIGNAL_WORDS, Kind, KindSource, draw_signal, draw_volume, is_signal, is_volume, part_word
from .units import Unit, Window

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

#: What `save_sheet` writes, by suffix.
SHEET_SUFFIXES = (*PICTURE_SUFFIXES, ".npz")

#: What the settings of a saved sheet say about each of its units.
_UNIT_KEYS = ("path", "layer", "channel", "row", "col", "activation", "window", "box", "own")


class SheetSource(KindSource, Protocol):
    """What a sheet is drawn from: the public side of `deconvnet.Projection`, where each member is described."""

    @property
    def layer(self) -> str:
        """The layer that the units belong to."""

    @property
    def frame(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that is needed to make the projections again."""

    @property
    def shown(self) -> Mapping[int, ShownImage]:
        """The images that have units, by number."""

    @property
    def note(self) -> str:
        """What the sheet says about the layer."""

    @property
    def pixels(self) -> Tensor:
        """(K, C, H, W): the projections in the whole frame."""

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what an .npz file holds."""

    def to_json(self) -> list[dict[str, Any]]:
        """Return a dictionary for each unit."""


def save_sheet(
    projections: Sequence[SheetSource],
    path: str | os.PathLike[str],
    *,
    tone: Tone = "soft",
    percentile: float | None = None,
    crop: Crop = "energy",
    outlines: int = OUTLINES,
    tile: int | None = None,
    scale: float = 1,
) -> list[Path]:
    """Save projections of one image on one sheet, layer by layer, with the settings that made them inside.

    Args:
        projections: what `DeconvNet.project` returned, for one layer each.
        path: the file. A .png, .jpg or .pdf file holds the sheet; an .npz file holds the arrays, those of several layers as
            "layer/name".
        tone: how signed values become pixels.
        percentile: of |x|, above 0 and at most 100, where the tone's scale ends; None: the tone's own.
        crop: which part of pixel space tiles show: "energy", the square with 95 % of the projection's energy, of one size
            for a layer; "window", all that the unit can reach; "whole", the frame.
        outlines: how many windows of a layer are drawn on the picture, 0 to 9: those of the strongest units.
        tile: pixels of a tile's longer side, 8 or more. None: so that the sheet fits a screen.
        scale: how many times finer everything is drawn: 1 is 150 dots per inch. Text in a PDF is always sharp.

    Returns:
        The path written.

    Raises:
        OptionError: the suffix is not one of these, a number is out of its range, there is no projection, or they are of
            several images.

        >>> save_sheet([net.project(recording, layer) for layer in ("features.4", "features.10")], "sheet.pdf")
        [PosixPath('sheet.pdf')]
    """
    check_suffix(path, SHEET_SUFFIXES)
    if Path(path).suffix.lower() == ".npz":
        return save_arrays(path, **_named_arrays(projections))
    look: dict[str, Any] = {"tone": tone, "percentile": percentile}
    page = lay_out_sheet(make_sheet(projections, crop=crop, **look), outlines=outlines, tile_size=tile, **look)
    return save_picture(page, path, settings=sheet_settings(projections, crop=crop, **look), scale=scale)


def draw_projections(
    projections: Sequence[SheetSource], *, tone: Tone = "soft", crop: Crop = "energy", outlines: int = OUTLINES
) -> Image:
    """Draw the sheet that `save_sheet` saves."""
    return draw_sheet(make_sheet(projections, tone=tone, crop=crop), tone=tone, outlines=outlines)


def make_sheet(
    projections: Sequence[SheetSource], *, tone: Tone = "soft", percentile: float | None = None, crop: Crop = "energy"
) -> Sheet:
    """Put the projections of one image on a sheet that `draw_sheet` can draw; the arguments are those of `save_sheet`."""
    _check_any(projections)
    images = {unit.image for projection in projections for unit in projection.units}
    if len(images) > 1:
        raise OptionError(f"a sheet shows the units of one image, found those of {len(images)}. Project each image by itself.")
    first = projections[0]
    shown = first.shown[next(iter(images or first.shown))]
    kinds = [_kind(projection, shown, crop) for projection in projections]
    return Sheet(
        picture=kinds[0].picture,
        note=kinds[0].note,
        title=source_title(shown.source),
        top_classes=shown.top_classes,
        objects=shown.objects,
        segments=shown.segments,
        layers=[LayerTiles(made.layer, made.note, kind.tiles) for made, kind in zip(projections, kinds, strict=True)],
        footer=_footer(projections, tone, percentile, crop),
    )


def _kind(projection: SheetSource, shown: ShownImage, crop: Crop) -> Kind:
    """Draw what the input is: a picture with tiles, a signal's curves, a volume's slices."""
    check_option("crop", crop, CROPS)
    if is_signal(projection):
        return draw_signal(projection, shown, crop)
    if is_volume(projection):
        return draw_volume(projection, shown, crop)
    note = f"{size_text(shown.pixels.shape[:2])} pixels, as the net sees them"
    return Kind(to_rgb(shown.pixels), note, make_tiles(projection, crop))


def make_tiles(projection: SheetSource, crop: Crop = "energy") -> list[Tile]:
    """Return a tile for each unit; `crop` is that of `save_sheet`."""
    check_option("crop", crop, CROPS)
    frame = projection.frame[1:]
    boxes: Sequence[Window] = [Window(0, 0, *frame)] * len(projection.units)
    if crop != "whole":
        boxes = projection.boxes if crop == "energy" else projection.windows
    notes = [own_text(own) for own in projection.own or [None] * len(projection.units)]
    rows = zip(projection.units, projection.crops(), projection.windows, boxes, notes, strict=True)
    return [_tile(unit, np.asarray(values), window, box, frame, note) for unit, values, window, box, note in rows]


def _tile(unit: Unit, values: npt.NDArray[np.floating], window: Window, box: Window, frame: tuple[int, int], note: str) -> Tile:
    """Return the tile that shows the box of values that lie at the window."""
    inside, reached = box.clip(*frame), window.clip(*frame)
    return Tile(
        pixels=recut(values, window, box),
        window=None if unit.row is None else window,
        label=str(unit.channel),
        activation=unit.activation,
        row=unit.row,
        col=unit.col,
        inside=None if inside == box else inside.within(box),
        reached=reached.within(box),
        note=note,
    )


def rule_text(projections: Sequence[SheetSource]) -> str:
    """Return the rule of a sheet's layers, or the rule of each where they differ."""
    if not _differing(projections, ("rule",)):
        return f"rule {projections[0].settings['rule']}"
    return "rule " + ", ".join(f"{projection.settings['rule']} in {projection.layer}" for projection in projections)


def _footer(projections: Sequence[SheetSource], tone: Tone, percentile: float | None, crop: Crop) -> str:
    """Return what a reader of the sheet has to know; the rest stands in the file's settings."""
    settings = projections[0].settings
    weights = ", random weights" if settings["weights"] == "random" else ""
    reasons = dict.fromkeys(reason for projection in projections if (reason := projection.settings.get("rule_reason")))
    shown = [tone_text(tone, percentile), CROP_WORDS[crop]]
    if is_signal(projections[0]):
        shown = [SIGNAL_WORDS, CROP_WORDS[crop]]
    elif is_volume(projections[0]):
        shown.insert(1, PART_WORDS.format(part=part_word(projections[0])))
    return " · ".join([f"{settings['model']}{weights}", rule_text(projections), *shown, *reasons])


def sheet_settings(
    projections: Sequence[SheetSource], *, tone: Tone, crop: Crop, percentile: float | None = None
) -> dict[str, Any]:
    """Return what a saved sheet says about itself: what its layers share, and lists of what they do not."""
    _check_any(projections)
    by_layer = ["layer", "channels", "statuses", *_differing(projections, ("rule", "bits", "rule_reason"))]
    shared = {key: value for key, value in projections[0].settings.items() if key not in [*by_layer, "units"]}
    layers = [{key: projection.settings.get(key) for key in by_layer} for projection in projections]
    units = [{key: row[key] for key in _UNIT_KEYS} for projection in projections for row in projection.to_json()]
    scale = tone_percentile(tone) if percentile is None else percentile
    return {**shared, "tone": tone, "percentile": scale, "crop": crop, "layers": layers, "units": units}


def _differing(projections: Sequence[SheetSource], keys: Sequence[str]) -> list[str]:
    """Return the keys of settings in which the layers of a sheet differ."""
    return [key for key in keys if len({projection.settings.get(key) for projection in projections}) > 1]


def _named_arrays(projections: Sequence[SheetSource]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of one layer as they are; those of several under "layer/name"."""
    _check_any(projections)
    if len(projections) == 1:
        return projections[0].arrays()
    return {f"{projection.layer}/{name}": array for projection in projections for name, array in projection.arrays().items()}


def _check_any(projections: Sequence[SheetSource]) -> None:
    if not projections:
        raise OptionError("a sheet shows at least one projection, found none. Give what DeconvNet.project returned.")
