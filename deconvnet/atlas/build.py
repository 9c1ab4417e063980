"""Builds an atlas: claims the folder, draws what is missing, writes the pages that differ, and the first page last."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TypeAlias

from ..choices import TONES, RuleChoice, Tone
from ..errors import OptionError, check_option
from ..images import MAX_PIXELS
from ..memory import check_memory
from ..optional import require
from ..reach import check_rule
from ..scanning import Scan
from .draw import Drawing, DrawOptions
from .manifest import AtlasFolder
from .pages import Pages, find_script
from .paths import LayerPages, layer_pages, picture_name
from .sheet import SheetLayout
from .similar import similar_channels

TILE = 96  # pixels of a tile's longer side
SMALLEST_TILE, LARGEST_TILE = 8, 512
STATIC = ("atlas.css", "atlas.js")

#: For each layer, for each of its channels: the numbers of its top pictures.
TopNumbers: TypeAlias = list[tuple[LayerPages, list[list[int]]]]


@dataclass(frozen=True)
class AtlasSummary:
    """What was built.

    Attributes:
        index: the page to open.
        written: how many files.
        kept: files that were as they should be.
        removed: files of a former call.
        size: bytes of all files.
        changed: a line for each picture that is gone, or no longer gives the activation that was recorded.
    """

    index: Path
    written: int
    kept: int
    removed: int
    size: int
    changed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        files = f"{self.written:,} files written, {self.kept:,} kept"
        removed = f", {self.removed:,} removed" if self.removed else ""
        return f"{files}{removed}: {self.size / 1e6:,.1f} MB"


def write_atlas(
    scan: Scan,
    out: str | os.PathLike[str],
    *,
    layers: Sequence[str] | None = None,
    rule: RuleChoice = "auto",
    tone: Tone = "soft",
    tile: int = TILE,
    prune: bool = False,
    memory: int | None = None,
    progress: bool = False,
) -> AtlasSummary:
    """Write a scan as pages that open from disk; the same call again draws only what has changed since.

    Files that are not the atlas's own are never touched: a folder that holds some is refused.

    Args:
        scan: a scan with one picture or more.
        out: a new folder, or that of a former call.
        layers: scanned layers; None: all. Layers that a former call wrote stay in the atlas, and are brought up to date, too.
        rule: "auto" (in each layer the deconvnet where a max pool lies below it, guided where none does), or "deconvnet",
            "guided", "gradient", or three bits: mask, switches, rectify.
        tone: how signed values become pixels.
        tile: pixels of a tile's longer side, 8 to 512.
        prune: remove the layers that a former call wrote and this one does not name.
        memory: bytes that a batch may take; None: a quarter of what is free.
        progress: whether to show a bar, on a terminal or in Jupyter.

    Raises:
        MissingPackageError: Jinja2 is not installed.
        UnknownLayerError: a layer was not scanned.
        OptionError: an option is out of range, the scan has no picture yet, or the folder cannot be used.
        StoreError: the scan's file is damaged, or names a net or pictures that only you may name.
    """
    require("jinja2", needed_by="an atlas", extra="atlas")
    _check_options(rule, tone, tile, memory)
    if not scan.progress()[0]:
        raise OptionError(f"{scan.path!r} has no picture yet. Let the scan run first.")
    layout = SheetLayout(tile, scan.settings["top"])
    if layout.width * layout.half > MAX_PIXELS:
        raise OptionError(f"tile cannot be {tile}: the sheet of {layout.top:,} tiles would be too large. Give a smaller tile.")
    scan.origin.check()  # before a file is written
    options = DrawOptions(rule, tone, layout, memory)
    named = layer_pages(scan, layers)
    folder = AtlasFolder(out, {name: scan.settings[name] for name in ("model", "weights", "preprocess", "size")})
    shown = [layer for layer in layer_pages(scan, None) if layer in named or (not prune and folder.has(layer.page()))]
    tops = [(layer, scan.top_numbers(layer.name)) for layer in shown]
    used = sorted({picture for _, channels in tops for pictures in channels for picture in pictures})
    folder.claim(_file_names(tops, used))
    drawing = Drawing(scan, folder, options)
    try:
        drawing.draw_sheets([layer for layer, _ in tops], progress)
        drawing.draw_pictures(used)
        paths = {number: path for number, (path, _) in scan.files(used).items()}
        _write_pages(folder, Pages(scan, [layer for layer, _ in tops], folder, options), tops, paths)
        folder.finish()
    finally:
        folder.save()
    changed = list(drawing.changed)
    return AtlasSummary(folder.path / "index.html", folder.written, folder.kept, folder.removed, folder.size(), changed)


def _check_options(rule: RuleChoice, tone: Tone, tile: int, memory: int | None) -> None:
    check_rule(rule)
    check_option("tone", tone, TONES)
    if not SMALLEST_TILE <= tile <= LARGEST_TILE:
        raise OptionError(f"tile cannot be {tile}: a tile has {SMALLEST_TILE} to {LARGEST_TILE} pixels.")
    check_memory(memory)


def _file_names(tops: TopNumbers, pictures: Sequence[int]) -> Iterator[str]:
    """Yield the names of all files that the atlas will have."""
    yield from ("index.html", "find.js", *STATIC)
    yield from map(picture_name, pictures)
    for layer, _ in tops:
        yield layer.page()
        for channel in range(layer.channels):
            yield from (layer.channel_page(channel), layer.sheet(channel))


def _write_pages(folder: AtlasFolder, pages: Pages, tops: TopNumbers, paths: dict[int, str]) -> None:
    for name in STATIC:
        folder.write(name, resources.files(__package__).joinpath("static", name).read_bytes())
    folder.write("find.js", find_script(tops, paths))
    similar = _similar(tops)
    for layer, _ in tops:
        for channel in range(layer.channels):
            folder.write(layer.channel_page(channel), pages.channel(layer, channel, next(similar)))
        folder.write(layer.page(), pages.layer(layer))
    folder.write("index.html", pages.first())


def _similar(tops: TopNumbers) -> Iterator[list[tuple[LayerPages, int, int]]]:
    """Yield for each channel of each layer the similar ones, of all layers: (layer, channel, pictures shared)."""
    owners = [(layer, channel) for layer, channels in tops for channel in range(len(channels))]
    for similar in similar_channels([pictures for _, channels in tops for pictures in channels]):
        yield [(*owners[other], shared) for other, shared in similar]
