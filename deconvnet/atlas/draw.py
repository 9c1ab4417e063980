"""Draws the pictures of an atlas, if they are not current: a sheet for each channel, and each photograph as the net saw it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..choices import RuleChoice, Tone
from ..images import to_rgb
from ..progress import Counter, counting
from ..scanning import Hit, Plate, Scan
from ..scanning.examples import PlateExample, plate_blocks, read_pictures
from ..scanning.reading import default_workers, prefetch
from ..version import __version__
from .manifest import AtlasFolder, digest
from .paths import LayerPages, picture_name
from .sheet import PHOTO_QUALITY, SHEET_QUALITY, SheetLayout, draw_tile_sheet, encode_webp

STYLE = 2  # of the pictures below: another number draws all of them again
SHEETS_PER_SAVE = 64  # a kill loses the notes of at most this many, besides the block of channels in progress


@dataclass(frozen=True)
class DrawOptions:
    """How the sheets of an atlas are drawn.

    Attributes:
        rule: how units are projected.
        tone: how signed values become pixels.
        layout: of the tiles on a sheet.
        memory: bytes that a batch may take; None: a quarter of what is free.
    """

    rule: RuleChoice
    tone: Tone
    layout: SheetLayout
    memory: int | None = None


@dataclass(frozen=True)
class ChannelBlock:
    """Channels of a layer that are projected together, and the keys that their sheets will have."""

    layer: LayerPages
    keys: dict[int, str]


class Drawing:
    """Draws the pictures of one atlas.

    Args:
        scan: what the atlas shows.
        folder: where it is.
        options: how sheets are drawn.

    Attributes:
        changed: lines, each once, on pictures that are gone, or no longer give the activation that was recorded.
    """

    def __init__(self, scan: Scan, folder: AtlasFolder, options: DrawOptions) -> None:
        self.scan, self.folder, self.options = scan, folder, options
        self.digests = scan.digests()
        self.changed: dict[str, None] = {}
        self.changed_paths: set[str] = set()
        self.gone_paths: set[str] = set()

    def draw_sheets(self, layers: Sequence[LayerPages], progress: bool) -> None:
        """Draw the sheets that are not current."""
        blocks = [block for layer in layers for block in self._blocks(layer)]
        work = [self._work(block) for block in blocks]
        form = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
        count = sum(len(block.keys) for block in blocks)
        with counting(count, "drawing", "channel", wanted=progress, delay=0, leave=True, bar_format=form) as counter:
            for block, share in zip(blocks, work, strict=True):
                counter.bar.set_description_str(f"{block.layer.name}, channels {min(block.keys)}-{max(block.keys)} ")
                self._draw_block(block, partial(_advance, counter, count / sum(work) * share / len(block.keys)))
        self.folder.save()

    def _blocks(self, layer: LayerPages) -> Iterator[ChannelBlock]:
        """Yield what is to be drawn of a layer.

        A sheet that was made from something else is drawn alone. If a sheet of a block was never drawn, the whole block is:
        another unit projected beside it may change a unit's last digit, and an atlas that is continued after a kill is to have
        the bytes of one that was not killed.
        """
        keys = self._keys(layer)
        for block in plate_blocks(self.scan, layer.name, list(keys), self.options.memory):
            waiting = [channel for channel in block if not self.folder.is_current(layer.sheet(channel), keys[channel])]
            if any(not self.folder.notes(layer.sheet(channel)) for channel in waiting):
                waiting = list(block)
            self.folder.keep(len(block) - len(waiting))
            if waiting:
                yield ChannelBlock(layer, {channel: keys[channel] for channel in waiting})

    def _keys(self, layer: LayerPages) -> dict[int, str]:
        """Return a digest of all that each channel's sheet is made from."""
        options, settings = self.options, self.scan.settings
        scanned = [settings[name] for name in ("model", "weights", "preprocess", "size")]
        drawn = [STYLE, SHEET_QUALITY, __version__, options.rule, options.tone, options.layout.tile, options.layout.top]
        keys = {}
        for channel in range(layer.channels):
            hits = [[hit.to_json(), self.digests.get(hit.picture)] for hit in self.scan.top(layer.name, channel)]
            if hits:
                keys[channel] = digest(scanned, drawn, layer.name, channel, hits)
        return keys

    def _work(self, block: ChannelBlock) -> float:
        """Estimate how long a block takes: 1 for a channel with the smallest windows, 5 for one with whole frames."""
        height, width = self.scan.frame
        work = 0.0
        for channel in block.keys:
            inside = [hit.window.clip(height, width) for hit in self.scan.top(block.layer.name, channel)]
            work += 1 + 4 * sum(window.height * window.width for window in inside) / max(len(inside) * height * width, 1)
        return work

    def _draw_block(self, block: ChannelBlock, on_progress: Callable[[float], object]) -> None:
        scan, options, layer = self.scan, self.options, block.layer
        how: dict[str, Any] = {"rule": options.rule, "tone": options.tone, "memory": options.memory, "own": False}
        how |= {"changed_paths": self.changed_paths, "gone_paths": self.gone_paths}
        plate = Plate(scan, scan.origin, {layer.name: tuple(block.keys)}, **how)
        with ThreadPoolExecutor(default_workers()) as pool:
            sheets = prefetch(pool, self._sheet, plate.examples(on_progress), 2 * default_workers())
            for number, (channel, examples, data) in enumerate(sheets, 1):
                notes = self._notes(scan.top(layer.name, channel), examples, block.keys[channel])
                name = layer.sheet(channel)
                self.folder.write(name, data, **notes) if data else self.folder.drop(name, **notes)
                if number % SHEETS_PER_SAVE == 0:
                    self.folder.save()
        self.changed.update(dict.fromkeys(plate.changed))
        self.folder.save()

    def _sheet(self, drawn: tuple[tuple[str, int], list[PlateExample]]) -> tuple[int, list[PlateExample], bytes]:
        (_, channel), examples = drawn
        if not examples:
            return channel, examples, b""
        sheet = draw_tile_sheet(examples, self.options.layout, self.options.tone)
        return channel, examples, encode_webp(sheet, SHEET_QUALITY)

    def _notes(self, hits: Sequence[Hit], examples: Sequence[PlateExample], key: str) -> dict[str, Any]:
        """Return what pages need to know of a sheet. A faulty one has no key: it is drawn again until the fault is gone."""
        missing = sorted({hit.rank for hit in hits} - {example.hit.rank for example in examples})
        changed = sorted({hit.rank for hit in hits if hit.path in self.changed_paths - self.gone_paths})
        boxes = {str(example.hit.rank): example.box.to_list() for example in examples}
        notes = {"missing": missing, "changed": changed, "boxes": boxes}
        return {**({} if missing or changed else {"key": key}), **{name: value for name, value in notes.items() if value}}

    def draw_pictures(self, numbers: Sequence[int]) -> None:
        """Save each of these pictures of the scan as the net saw it, if it is not current.

        One that has changed since the scan has no key: it is saved again the next time.
        """
        scan, folder, files = self.scan, self.folder, self.scan.files(numbers)
        keys = {number: self._picture_key(*files[number]) for number in numbers}
        waiting = [number for number in keys if not folder.is_current(picture_name(number), keys[number])]
        folder.keep(len(keys) - len(waiting))
        if not waiting:
            return
        missing = set(waiting)
        for batch, images in read_pictures(scan, scan.origin, waiting, self._note_missing):
            for number, image in zip(batch, images, strict=True):
                pixels = to_rgb(scan.net.loaded.denormalise(image, scan.net.preprocess))
                notes = {} if files[number][0] in self.changed_paths else {"key": keys[number]}
                folder.write(picture_name(number), encode_webp(pixels, PHOTO_QUALITY), **notes)
                missing.remove(number)
        for number in missing:
            folder.drop(picture_name(number))
        folder.save()

    def _picture_key(self, path: str, sha256: str | None) -> str:
        scanned = [self.scan.settings[name] for name in ("preprocess", "size")]
        return digest(scanned, [STYLE, PHOTO_QUALITY, __version__], path, sha256)

    def _note_missing(self, path: str, what: str, gone: bool) -> None:
        self.changed.setdefault(f"{path} {what}")


def _advance(counter: Counter, share: float, channels: float) -> None:
    counter.update(channels * share)
