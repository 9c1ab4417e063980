"""Draws what an atlas shows: a sheet for each channel, and each picture once as the net saw it. Only what is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from tqdm import tqdm

from ..choices import Tone
from ..images import to_rgb
from ..progress import is_hidden
from ..scanning.engine_local import default_workers, prefetch
from ..scanning.plates import Plate, PlateExample, frame_of, plate_blocks, read_pictures
from ..scanning.table import Hit, Scan
from ..version import __version__
from .manifest import Folder, digest
from .sheet import PHOTO_QUALITY, QUALITY, Layout, as_webp, draw_sheet

STYLE = 1  # of the pictures below: another number draws all of them again
SAVE_EVERY = 64  # sheets: what a kill loses of noted work at most, beside the block of channels under way


@dataclass(frozen=True)
class Look:
    """How the sheets of an atlas are drawn."""

    rule: str
    tone: Tone
    layout: Layout
    memory: int | None = None


@dataclass(frozen=True)
class Block:
    """Channels of a layer that are projected together, and the keys that their sheets will have."""

    layer: str
    name_of: Callable[[int], str]
    keys: dict[int, str]


def draw_sheets(
    scan: Scan,
    folder: Folder,
    layers: Sequence[tuple[str, Callable[[int], str]]],
    look: Look,
    hashes: dict[int, str | None],
    tell: Callable[[str], Any],
    progress: bool,
) -> set[str]:
    """Draw the sheets that are not current. `layers`: (name, the file's name for a channel); `hashes`: of the pictures.

    `tell` is told of pictures that are gone or have changed; their paths are returned.
    """
    troubled: set[str] = set()
    blocks = [block for layer, name_of in layers for block in _blocks(scan, folder, layer, name_of, look, hashes)]
    work = [_work(scan, block) for block in blocks]
    form = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(total=sum(work), bar_format=form, disable=is_hidden(progress)) as bar:
        for block, share in zip(blocks, work, strict=True):
            bar.set_description_str(f"{block.layer}, channels {min(block.keys)}-{max(block.keys)} ")
            plate = Plate(scan, block.layer, tuple(block.keys), look.rule, look.tone, look.memory, named=troubled)
            _draw_block(plate, folder, block, look, partial(_advance, bar, share / len(block.keys)))
            for line in plate.changed:
                tell(line)
    folder.save()
    return troubled


def _advance(bar: Any, share: float, channels: float) -> None:
    bar.update(channels * share)


def _blocks(
    scan: Scan, folder: Folder, layer: str, name_of: Callable[[int], str], look: Look, hashes: dict[int, str | None]
) -> Iterator[Block]:
    """Yield what is to be drawn of a layer.

    Sheets that were drawn from something else are drawn by themselves. Where some of a block were never drawn, the whole block
    is: what is projected beside a unit may change its last digit, and a killed atlas that goes on has the bytes of one go.
    """
    from_settings = [scan.settings[name] for name in ("model", "weights", "preprocess", "size")]
    drawn = [STYLE, QUALITY, __version__, look.rule, look.tone, look.layout.tile, look.layout.top]
    keys = {}
    for channel in range(scan.size(layer)[0]):
        stands_on = [[hit.to_json(), hashes.get(hit.picture)] for hit in scan.top(layer, channel)]
        if stands_on:
            keys[channel] = digest(from_settings, drawn, layer, channel, stands_on)
    for block in plate_blocks(scan, layer, list(keys), look.memory):
        waiting = [channel for channel in block if not folder.is_current(name_of(channel), keys[channel])]
        if any(not folder.notes(name_of(channel)) for channel in waiting):
            waiting = list(block)
        folder.keep(len(block) - len(waiting))
        if waiting:
            yield Block(layer, name_of, {channel: keys[channel] for channel in waiting})


def _work(scan: Scan, block: Block) -> float:
    """Return about how long a block takes; a channel of the smallest windows takes 1, one of whole frames 5."""
    height, width = frame_of(scan)
    work = 0.0
    for channel in block.keys:
        inside = [hit.window.clip(height, width) for hit in scan.top(block.layer, channel)]
        work += 1 + 4 * sum(window.height * window.width for window in inside) / max(len(inside) * height * width, 1)
    return work


def _draw_block(plate: Plate, folder: Folder, block: Block, look: Look, tell: Callable[[float], Any]) -> None:
    with ThreadPoolExecutor(default_workers()) as pool:
        draw = partial(_sheet, look=look)
        for number, (channel, shown, data) in enumerate(prefetch(pool, draw, plate.examples(tell), 2 * default_workers()), 1):
            notes = _notes(plate.scan.top(plate.layer, channel), shown, plate.named, block.keys[channel])
            name = block.name_of(channel)
            folder.write(name, data, **notes) if data else folder.drop(name, **notes)
            if number % SAVE_EVERY == 0:
                folder.save()
    folder.save()


def _sheet(one: tuple[int, list[PlateExample]], look: Look) -> tuple[int, list[PlateExample], bytes]:
    channel, shown = one
    return channel, shown, as_webp(draw_sheet(shown, look.layout, look.tone), QUALITY) if shown else b""


def _notes(hits: Sequence[Hit], shown: Sequence[PlateExample], troubled: set[str], key: str) -> dict[str, Any]:
    """Return what pages need to know of a sheet. One with a fault has no key: it is drawn again until the fault is gone."""
    missing = sorted({hit.rank for hit in hits} - {one.hit.rank for one in shown})
    changed = sorted({one.hit.rank for one in shown if one.hit.path in troubled})
    boxes = {str(one.hit.rank): one.box.to_list() for one in shown if one.box != one.hit.window}
    told = {"missing": missing, "changed": changed, "boxes": boxes}
    return {**({} if missing or changed else {"key": key}), **{name: value for name, value in told.items() if value}}


def draw_pictures(
    scan: Scan,
    folder: Folder,
    name_of: Callable[[int], str],
    hashes: dict[int, str | None],
    troubled: set[str],
    tell: Callable[[str], Any],
) -> None:
    """Save each picture in `hashes` once, as the net saw it; `tell` is told which are gone.

    A picture in `troubled` is not what was scanned: it has no key, and is saved again the next time.
    """
    from_settings = [scan.settings[name] for name in ("preprocess", "size")]
    names = dict(scan.paths())
    keys = {one: digest(from_settings, [STYLE, PHOTO_QUALITY, __version__], names[one], hashes[one]) for one in sorted(hashes)}
    waiting = [one for one in keys if not folder.is_current(name_of(one), keys[one])]
    folder.keep(len(keys) - len(waiting))
    if not waiting:
        return
    found = set()
    for some, images in read_pictures(scan, waiting, lambda path, what: tell(f"{path} {what}")):
        for one, image in zip(some, images, strict=True):
            pixels = to_rgb(scan.net.loaded.denormalise(image, scan.net.preprocess))
            notes = {} if names[one] in troubled else {"key": keys[one]}
            folder.write(name_of(one), as_webp(pixels, PHOTO_QUALITY), **notes)
            found.add(one)
    for one in set(waiting) - found:
        folder.drop(name_of(one))
    folder.save()
