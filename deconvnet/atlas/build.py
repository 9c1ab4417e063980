"""Builds an atlas: claims the folder, draws what is missing, writes the pages that differ, and the first page last."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from .. import rules as rules_
from ..choices import TONES, Tone
from ..errors import OptionError, check_option
from ..memory import check_memory
from ..optional import require
from ..scanning.table import Scan
from .draw import Look, draw_pictures, draw_sheets
from .manifest import Folder
from .pages import LayerPages, Pages, find_script, picture_name
from .sheet import Layout
from .similar import similar_channels

TILE = 96  # pixels of a tile's longer side
STATIC = ("atlas.css", "atlas.js")

Tops = list[tuple[LayerPages, list[list[int]]]]  # of each layer, of each channel: the numbers of its top pictures


@dataclass(frozen=True)
class AtlasSummary:
    """What was built: `index` is the page to open. `changed` names pictures that are gone or no longer what was scanned."""

    index: Path
    written: int
    kept: int  # files that stood there as they should
    removed: int
    size: int  # bytes of all files
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
    rule: str = "deconvnet",
    tone: Tone = "symmetric",
    tile: int = TILE,
    memory: int | None = None,
    progress: bool = False,
) -> AtlasSummary:
    """Write the atlas of a scan to the folder `out`; the same call again draws only what has changed since.

    `layers`: by default all that were scanned; what a former call wrote of others is removed. `tile`: pixels. `memory`:
    bytes that a batch may take. Files that are not the atlas's own are never touched: a folder that has some is refused.
    """
    require("jinja2", needed_by="an atlas", extra="atlas")
    rules_.parse_rule(rule)
    check_option("tone", tone, TONES)
    if not 8 <= tile <= 512:
        raise OptionError(f"tile cannot be {tile}: a tile has 8 to 512 pixels.")
    check_memory(memory)
    if not scan.progress()[0]:
        raise OptionError(f"{scan.path!r} has no picture yet. Let the scan run first.")
    places = layer_places(scan, layers)
    look = Look(rule, tone, Layout(tile, scan.settings["top"]), memory)
    folder = Folder(out, {name: scan.settings[name] for name in ("model", "weights", "preprocess", "size")})
    tops: Tops = [(place, _tops(scan, place)) for place in places]
    used = sorted({picture for _, channels in tops for some in channels for picture in some})
    folder.claim(_names(places, used))
    changed: dict[str, None] = {}
    tell = changed.setdefault
    try:
        hashes = dict(scan.store.rows("select picture, sha256 from pictures"))
        sheets = [(place.name, place.sheet) for place in places]
        troubled = draw_sheets(scan, folder, sheets, look, hashes, tell, progress)
        draw_pictures(scan, folder, picture_name, {picture: hashes[picture] for picture in used}, troubled, tell)
        _write_pages(folder, Pages(scan, places, folder, look), tops, dict(scan.paths()))
        folder.finish()
    finally:
        folder.save()
    return AtlasSummary(folder.path / "index.html", folder.written, folder.kept, folder.removed, folder.size(), list(changed))


def layer_places(scan: Scan, layers: Sequence[str] | None) -> list[LayerPages]:
    """Give each layer a folder: its name with a number before it, since two names may differ in case alone, or be "con"."""
    names = scan.layers if layers is None else [name for name in scan.layers if name in layers]
    for name in layers or ():
        scan.size(name)  # refuses one that was not scanned
    digits = len(str(len(scan.layers)))
    numbers = {name: f"{number:0{digits}d}" for number, name in enumerate(scan.layers, 1)}
    safe = {name: re.sub(r"[^A-Za-z0-9._-]", "_", name)[:60].rstrip(".") for name in names}
    return [LayerPages(name, f"{numbers[name]}-{safe[name]}", scan.size(name)[0]) for name in names]


def _tops(scan: Scan, place: LayerPages) -> list[list[int]]:
    rows = scan.store.rows("select channel, picture from top where layer = ? order by channel, rank", (place.name,))
    found: dict[int, list[int]] = defaultdict(list)
    for channel, picture in rows:
        found[channel].append(picture)
    return [found[channel] for channel in range(place.channels)]


def _names(places: Sequence[LayerPages], pictures: Sequence[int]) -> Iterator[str]:
    """Yield the names of all files that the atlas will have."""
    yield from ("index.html", "find.js", *STATIC)
    yield from map(picture_name, pictures)
    for place in places:
        yield place.page()
        for channel in range(place.channels):
            yield from (place.channel_page(channel), place.sheet(channel))


def _write_pages(folder: Folder, pages: Pages, tops: Tops, names: dict[int, str]) -> None:
    for name in STATIC:
        folder.write(name, resources.files(__package__).joinpath("static", name).read_bytes())
    folder.write("find.js", find_script(tops, names))
    similar = _similar(tops)
    for place, _ in tops:
        for channel in range(place.channels):
            folder.write(place.channel_page(channel), pages.channel(place, channel, next(similar)))
        folder.write(place.page(), pages.layer(place))
    folder.write("index.html", pages.first())


def _similar(tops: Tops) -> Iterator[list[tuple[LayerPages, int, int]]]:
    """Yield for each channel of each layer the similar ones, of all layers."""
    owners: list[tuple[LayerPages, int]] = [(place, channel) for place, channels in tops for channel in range(len(channels))]
    for found in similar_channels([some for _, channels in tops for some in channels]):
        yield [(*owners[other], shared) for other, shared in found]
