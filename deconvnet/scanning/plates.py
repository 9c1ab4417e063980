"""Plates: the top pictures of a layer's channels, recorded again, projected unit by unit, and laid beside their patches.

Channels share pictures, so a block of channels goes picture by picture: each is recorded once, and all its units are
projected together, in their windows. What is done of a channel is drawn at its size on the page and let go.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from .. import rules as rules_
from ..choices import TONES, Tone
from ..errors import OptionError, check_option
from ..images import to_rgb
from ..memory import batch_bytes, check_memory
from ..progress import is_hidden
from ..projection import as_maps, project_units
from ..render.text import percent
from ..units import Unit, Window
from .engine_local import default_workers, prefetch
from .source import LoadedPicture, collate
from .table import Hit, Scan

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..render.example import Example, Panel

RECORD_BATCH = 8  # pictures that are recorded in one batch
PAGE = 12  # channels on a page
ACTIVATION_TOLERANCE = 1e-3  # relative: activations that differ by more belong to another picture, or another net
ENERGY = 0.95  # of a projection that its part shows, where its window is larger than the frame


@dataclass(frozen=True)
class PlateExample:
    """One of a channel's top pictures with its example; `box` is the part of the picture that the example shows.

    That is the unit's window, or where the window is as large as the frame, where most of the projection's energy lies.
    """

    hit: Hit
    box: Window
    example: Example


@dataclass
class Plate:
    """The plates of some channels of a layer; shows its first page in Jupyter. Made by `Scan.plate`."""

    scan: Scan
    layer: str
    channels: tuple[int, ...]
    rule: str = "deconvnet"
    tone: Tone = "symmetric"
    memory: int | None = None
    progress: bool = False
    changed: list[str] = field(default_factory=list)  # pictures that no longer give the recorded activation, or are gone
    named: set[str] = field(default_factory=set, repr=False)  # their paths

    def __post_init__(self) -> None:
        rules_.parse_rule(self.rule)
        check_option("tone", self.tone, TONES)
        check_memory(self.memory)
        if not self.channels:
            raise OptionError("a plate shows one channel or more. Give at least one.")

    def panels(self, side: int = 160) -> Iterator[Panel]:
        """Yield each channel's panel, drawn with tiles of `side` pixels, in the order asked for."""
        from ..render.example import Panel, draw_panel

        statistics = self.scan.statistics(self.layer)
        seen, fired = statistics["pictures"], statistics["fired"]
        with tqdm(total=len(self.channels), unit="channel", delay=2, disable=is_hidden(self.progress)) as bar:
            for channel, shown in self.examples(bar.update):
                share = fired[channel] / max(seen[channel], 1)
                note = "dead: fired on no picture" if not fired[channel] else f"fires on {percent(share)} of the pictures"
                yield draw_panel(Panel(self.layer, channel, [one.example for one in shown], note), side, tone=self.tone)

    def examples(self, tell: Callable[[float], Any] = lambda channels: None) -> Iterator[tuple[int, list[PlateExample]]]:
        """Yield each channel with its examples, strongest first; `tell` is told how many channels' worth of work is done.

        A picture that is gone has no example, and is named in `changed`.
        """
        for block in self._blocks():
            found = self._project(block, tell)
            yield from ((channel, found[channel]) for channel in block)
            found.clear()  # before the next block takes as much again

    def pages(self, *, per_page: int = PAGE) -> Iterator[Image]:
        """Yield the pages, `per_page` channels each."""
        from ..render.plate import draw_plate, plate_shape

        per_page = min(per_page, len(self.channels))
        columns, side = plate_shape(per_page, examples=self.scan.settings["top"])
        panels: list[Panel] = []
        for number, panel in enumerate(self.panels(side), 1):
            panels.append(panel)
            if len(panels) == per_page or number == len(self.channels):
                yield draw_plate(panels, columns=columns, title=self._title(), footer=self._footer())
                panels = []

    def save(self, path: str | os.PathLike[str], *, per_page: int = PAGE) -> list[str]:
        """Save as .png, .jpg or .pdf; more than one page becomes a PDF's pages, or numbered files. Return the files."""
        from ..render.plate_files import save_plates

        return [str(one) for one in save_plates(self.pages(per_page=per_page), path, settings=self.settings())]

    def figure(self) -> Image:
        """Return the first page as a Pillow picture."""
        return next(self.pages())

    def _repr_png_(self) -> bytes:
        from io import BytesIO

        buffer = BytesIO()
        self.figure().save(buffer, "PNG")
        return buffer.getvalue()

    def settings(self) -> dict[str, Any]:
        """Return all that is needed to make the plate again."""
        own = {"layer": self.layer, "channels": list(self.channels), "rule": self.rule, "tone": self.tone}
        elsewhere = ("layers", "root", "weights_from")  # of the scan, or of this machine
        return {**{name: value for name, value in self.scan.settings.items() if name not in elsewhere}, **own}

    def _title(self) -> str:
        done, _ = self.scan.progress()
        return f"{self.scan.settings['model']} {self.layer}: top {self.scan.settings['top']} of {done:,} pictures"

    def _footer(self) -> str:
        text = f"Projected by the {self.rule} rule, each unit by itself, from its activation; tone {self.tone}."
        if self.changed:
            several = "pictures are gone or have" if len(self.changed) > 1 else "picture is gone or has"
            text += f" {len(self.changed)} {several} changed since the scan."
        return text

    def _blocks(self) -> Iterator[Sequence[int]]:
        """Yield channels that are projected together: as many as a fair share of the memory holds."""
        yield from plate_blocks(self.scan, self.layer, self.channels, self.memory)

    def _project(self, channels: Sequence[int], tell: Callable[[float], Any]) -> dict[int, list[PlateExample]]:
        """Return each channel's examples, strongest first."""
        hits = [(channel, hit) for channel in dict.fromkeys(channels) for hit in self.scan.top(self.layer, channel)]
        by_picture: dict[int, list[tuple[int, Hit]]] = defaultdict(list)
        for channel, hit in hits:
            by_picture[hit.picture].append((channel, hit))
        parts: dict[int, list[tuple[int, tuple[Any, ...]]]] = defaultdict(list)
        for some, images in read_pictures(self.scan, sorted(by_picture), self._notice):
            wanted = [(number, *pair) for number, picture in enumerate(some) for pair in by_picture[picture]]
            for (channel, rank), part in self._parts(images, wanted):
                parts[channel].append((rank, part))
            tell(len(channels) * len(some) / max(len(by_picture), 1))
        ranked = {channel: sorted(parts.pop(channel, []), key=itemgetter(0)) for channel in dict.fromkeys(channels)}
        return {channel: _examples([part for _, part in ranked.pop(channel)]) for channel in list(ranked)}  # whole windows go

    def _parts(
        self, images: Tensor, wanted: Sequence[tuple[int, int, Hit]]
    ) -> Iterator[tuple[tuple[int, int], tuple[Any, ...]]]:
        """Project the units of a batch of pictures; yield (channel, rank) with projection, patch, inside and hit."""
        net = self.scan.net
        with torch.no_grad():
            recording = net.record(images, layers=[self.layer])
            maps = as_maps(recording.kept_activations(self.layer), recording.layout(self.layer), self.layer)
            units = [
                Unit(self.layer, channel, hit.row, hit.col, float(maps[number, channel, hit.row, hit.col]), number)
                for number, channel, hit in wanted
            ]
            table = net.rules.with_options(**rules_.parse_rule(self.rule))
            windows, parts = project_units(recording, self.layer, units, table, memory=self.memory)
        seen = {number: to_rgb(net.loaded.denormalise(images[number], net.preprocess)) for number in range(len(images))}
        for unit, window, part, (number, channel, hit) in zip(units, windows, parts, wanted, strict=True):
            if not math.isclose(unit.activation or 0, hit.activation, rel_tol=ACTIVATION_TOLERANCE, abs_tol=1e-5):
                self._notice(hit.path, f"gives {unit.activation:.4g} where {hit.activation:.4g} was recorded: it has changed.")
            yield (channel, hit.rank), (part.float().cpu().numpy(), window, seen[number], hit)

    def _notice(self, path: str, what: str) -> None:
        if path not in self.named:
            self.named.add(path)
            self.changed.append(f"{path} {what}")


def read_pictures(scan: Scan, pictures: Sequence[int], tell: Callable[[str, str], Any]) -> Iterator[tuple[list[int], Tensor]]:
    """Yield the pictures of these numbers that can still be read, some at a time, as the net gets them.

    `tell` is told the path of each of the others, and what is the matter with it.
    """
    names = dict(scan.paths())
    net, source = scan.net, scan.pictures
    places = {name: place for place, name in enumerate(source.names)}

    def load(picture: int) -> tuple[int, LoadedPicture]:
        return picture, source.load(places.get(names[picture], picture), names[picture], net.preprocess)

    some: list[int] = []
    pixels: list[Any] = []
    with ThreadPoolExecutor(default_workers()) as pool:
        for picture, seen in prefetch(pool, load, pictures, 2 * RECORD_BATCH):
            if seen.pixels is None:
                tell(names[picture], f"is gone or cannot be read: {seen.problem}")
                continue
            some.append(picture)
            pixels.append(seen.pixels)
            if len(some) == RECORD_BATCH:
                yield some, collate(pixels, net.preprocess)
                some, pixels = [], []
    if some:
        yield some, collate(pixels, net.preprocess)


def frame_of(scan: Scan) -> tuple[int, int]:
    """Return the height and width of the pictures as the net sees them."""
    _, height, width = scan.settings["size"]
    return height, width


def plate_blocks(scan: Scan, layer: str, channels: Sequence[int], memory: int | None = None) -> Iterator[Sequence[int]]:
    """Yield runs of channels that a plate projects together: the same picture in another run may differ in the last digit."""
    yield from blocks_within(scan, layer, channels, 32 * batch_bytes(torch.device("cpu"), memory))


def blocks_within(scan: Scan, layer: str, channels: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    """Yield runs of channels whose projections take at most `most` bytes together, or one channel that takes more."""
    depth, frame = scan.settings["size"][0], frame_of(scan)
    block: list[int] = []
    used = 0
    for channel in channels:
        inside = [hit.window.clip(*frame) for hit in scan.top(layer, channel)]
        needed = 4 * depth * sum(window.height * window.width for window in inside)
        if block and used + needed > most:
            yield block
            block, used = [], 0
        block.append(channel)
        used += needed
    if block:
        yield block


def _examples(parts: Sequence[tuple[Any, ...]]) -> list[PlateExample]:
    """Cut a channel's projections and patches, all to one size."""
    from ..render.example import Example

    if not parts:
        return []
    frame = parts[0][2].shape[:2]
    large = any(window.height >= frame[0] or window.width >= frame[1] for _, window, _, _ in parts)
    boxes = _energetic([(part, window) for part, window, _, _ in parts], frame) if large else [one[1] for one in parts]
    examples = []
    for (part, window, pixels, hit), box in zip(parts, boxes, strict=True):
        inside = box.clip(*frame)
        projection = _place(part, window.clip(*frame), box)
        patch = np.full((box.height, box.width, 3), 128, np.uint8)
        within = Window(inside.top - box.top, inside.left - box.left, inside.height, inside.width)
        patch[within.top : within.bottom, within.left : within.right] = pixels[
            inside.top : inside.bottom, inside.left : inside.right
        ]
        examples.append(PlateExample(hit, box, Example(projection, patch, within, hit.activation, os.path.basename(hit.path))))
    return examples


def _place(part: npt.NDArray[Any], at: Window, box: Window) -> npt.NDArray[Any]:
    """Return what lies in `box` of a part (C, h, w) that lies at `at`; zero beyond it."""
    result = np.zeros((part.shape[0], box.height, box.width), part.dtype)
    top, left = max(at.top, box.top), max(at.left, box.left)
    bottom, right = min(at.bottom, box.bottom), min(at.right, box.right)
    if bottom > top and right > left:
        result[:, top - box.top : bottom - box.top, left - box.left : right - box.left] = part[
            :, top - at.top : bottom - at.top, left - at.left : right - at.left
        ]
    return result


def _energetic(parts: Sequence[tuple[npt.NDArray[Any], Window]], frame: tuple[int, int]) -> list[Window]:
    """Return a square of one size for each projection, around where its energy lies, inside the frame.

    Of the rows, and of the columns, the middle 95 % of the energy; the largest of the nine gives the size. Where a frame is
    too low or too narrow for the square, it is cut.
    """
    spans = []
    for part, window in parts:
        energy, inside = np.square(part, dtype=np.float64).sum(0), window.clip(*frame)
        spans.append((_span(energy.sum(1), inside.top), _span(energy.sum(0), inside.left)))
    side = max(last - first for span in spans for first, last in span)
    height, width = (min(side, size) for size in frame)
    corners = [
        [min(max((first + last - side) // 2, 0), max(size - side, 0)) for (first, last), size in zip(span, frame, strict=True)]
        for span in spans
    ]
    return [Window(top, left, height, width) for top, left in corners]


def _span(energy: npt.NDArray[Any], start: int) -> tuple[int, int]:
    """Return where the middle 95 % of the energy of rows begins and ends; all of them where there is none."""
    total = energy.sum()
    if not total > 0:
        return start, start + len(energy)
    below = np.cumsum(energy) / total
    first, last = np.searchsorted(below, [(1 - ENERGY) / 2, (1 + ENERGY) / 2])
    return start + int(first), start + min(int(last) + 1, len(energy))
