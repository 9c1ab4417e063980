"""Plates: channels as in Zeiler & Fergus 2014, Fig. 2, each drawn for its page as soon as it is projected."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from ..choices import CROPS, PLATE_LAYOUTS, TONES, Crop, PlateLayout, RuleChoice, Tone
from ..errors import OptionError, PictureError, check_option
from ..memory import check_memory
from ..named_channels import class_layers
from ..progress import counting
from ..provenance import output_settings
from ..reach import ChosenRule, check_rule
from ..render.example import NO_EXAMPLE, Panel, draw_panel
from ..render.page import Box, paint
from ..render.plate import lay_out_plate, paper_shape, plate_shape
from ..render.plate_files import save_plates
from ..render.save import check_scale
from ..render.text import own_text, percent
from ..render.tile import CROP_WORDS
from ..render.tone import check_percentile, tone_percentile, tone_text
from .examples import ExampleMaker, PlateExample, plate_blocks
from .origin import Origin
from .reading import default_workers, prefetch
from .store import Statistics
from .table import ScanTable, channel_state

PAGE_CHANNELS: dict[PlateLayout, int] = {"panels": 12, "paper": 48}  # on a page
PANEL_SIDE = 160  # pixels of a tile where no page says otherwise
NONE_INSIDE = "no unit's window lies inside the picture"


@dataclass(eq=False)
class Plate:
    """The plates of some channels of one layer or more; shows its first page in Jupyter. Made by `Scan.plate`.

        >>> Scan.open("net.scan").plate("features.10", [7, 51])
        Plate('net.scan', {'features.10': (7, 51)}, rule='auto', tone='soft')

    Attributes:
        table: the scan's tables.
        origin: its net and pictures.
        channels: for each layer, a scanned one, the numbers of its channels.
        rule: how units are projected; `chosen` says what "auto" stands for.
        tone: how signed values become pixels.
        crop: which part of pixel space tiles show: where the energy is, the unit's window, or the whole frame.
        layout: captioned panels, or the paper's blocks.
        inside: whether units are left out whose window leaves the picture.
        memory: bytes that a batch may take; None: a quarter of what is free.
        own: whether to measure how much of each channel's projections is of their own pictures.
        progress: whether to show a bar.
        changed: after drawing, a line for each picture that is gone, has changed, or gives another activation than recorded.
        changed_paths: their paths.
        gone_paths: the paths of those that are gone.
        owns: after drawing, for each (layer, channel) how much of its projections is of their own pictures, 0..1: of the two
            strongest, each against one other picture of its batch; None where that could not be measured.
    """

    table: ScanTable
    origin: Origin
    channels: Mapping[str, tuple[int, ...]]
    rule: RuleChoice = "auto"
    tone: Tone = "soft"
    crop: Crop = "energy"
    layout: PlateLayout = "panels"
    inside: bool = False
    memory: int | None = None
    progress: bool = False
    own: bool = True
    percentile: float | None = None
    changed: list[str] = field(default_factory=list)
    changed_paths: set[str] = field(default_factory=set)
    gone_paths: set[str] = field(default_factory=set)
    owns: dict[tuple[str, int], float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_rule(self.rule)
        check_option("tone", self.tone, TONES)
        check_percentile(self.percentile)
        check_option("crop", self.crop, CROPS)
        check_option("layout", self.layout, PLATE_LAYOUTS)
        check_memory(self.memory)
        if not self.channels or not all(self.channels.values()):
            raise OptionError("a plate shows one channel or more. Give at least one.")

    def __repr__(self) -> str:
        numbers = {layer: _numbers_text(channels) for layer, channels in self.channels.items()}
        listed = ", ".join(f"{layer!r}: {text}" for layer, text in numbers.items())
        return f"Plate({self.table.path!r}, {{{listed}}}, rule={self.rule!r}, tone={self.tone!r})"

    @property
    def count(self) -> int:
        """How many channels it shows."""
        return sum(map(len, self.channels.values()))

    @cached_property
    def chosen(self) -> dict[str, ChosenRule]:
        """For each layer the rule by which its units are projected, and what there is to say of it."""
        net, zeros = self.origin.net, torch.zeros(1, *self.table.settings["size"])
        return {layer: net.choose_rule(net.record(zeros, layers=[layer]), layer, self.rule) for layer in self.channels}

    @property
    def rule_reasons(self) -> list[str]:
        """Sentences on the rules, where there is something to say: why one is guided, or what it cannot show."""
        return list(dict.fromkeys(chosen.reason for chosen in self.chosen.values() if chosen.reason))

    def examples(
        self, on_progress: Callable[[float], object] = lambda channels: None
    ) -> Iterator[tuple[tuple[str, int], list[PlateExample]]]:
        """Yield each channel, (layer, number), with its examples, strongest first.

        A picture that is gone, or whose file has changed, has no example, and a line in `changed`. `on_progress` is called with
        how many channels' worth of work has been done.
        """
        options: dict[str, Any] = {"crop": self.crop, "inside": self.inside, "own": self.own}
        for layer, channels in self.channels.items():
            rule = self.chosen[layer].rule
            maker = ExampleMaker(self.table, self.origin, layer, rule, self.memory, self._note_change, **options)
            for block in plate_blocks(self.table, layer, channels, self.memory):
                examples = maker.make(block, on_progress)
                for channel in block:
                    owns = [example.own for example in examples[channel] if example.own is not None]
                    self.owns[layer, channel] = sum(owns) / len(owns) if owns else None
                    yield (layer, channel), examples[channel]
                examples.clear()  # before the next block takes as much again

    def panels(self, side: int = PANEL_SIDE, scale: float = 1) -> Iterator[Panel]:
        """Yield each channel's panel, drawn with tiles of `side` pixels, for a page that is painted at `scale`."""
        statistics = {layer: self.table.statistics(layer) for layer in self.channels}
        names = {layer: self._class_names(layer) for layer in self.channels}

        def draw(made: tuple[tuple[str, int], list[PlateExample]]) -> Panel:
            (layer, channel), examples = made
            named = names[layer][channel] if names[layer] else ""
            empty = NONE_INSIDE if self.inside and statistics[layer]["fired"][channel] else NO_EXAMPLE
            notes = [named, _fires_on(statistics[layer], channel), own_text(self.owns[layer, channel])]
            panel = Panel(layer, channel, [row.example for row in examples], " · ".join(filter(None, notes)), empty)
            return draw_panel(panel, side, tone=self.tone, percentile=self.percentile, scale=scale)

        workers = default_workers()
        with (
            counting(self.count, "drawing", "channel", wanted=self.progress) as counter,
            ThreadPoolExecutor(workers) as pool,  # many channels of a block are drawn at once, and while the next is projected
        ):
            yield from prefetch(pool, draw, self.examples(counter.update), 2 * workers)

    def _class_names(self, layer: str) -> Sequence[str]:
        """Return the names of a layer's channels where they are the net's classes, else none."""
        net = self.origin.net
        is_named = layer in class_layers(net.record_zeros(tuple(self.table.settings["size"])))
        return net.loaded.classes if is_named and len(net.loaded.classes) == self.table.size(layer)[0] else ()

    def layouts(self, *, per_page: int | None = None, tile: int | None = None, scale: float = 1) -> Iterator[Box]:
        """Yield the pages, laid out but not painted; the arguments are those of `save`."""
        per_page = min(per_page or PAGE_CHANNELS[self.layout], self.count)
        shape = paper_shape if self.layout == "paper" else plate_shape
        largest = min(per_page, max(map(len, self.channels.values())))
        count = largest if self.layout == "paper" else per_page
        columns, side = shape(count, tile=tile, examples=self.table.settings["top"])
        panels: list[Panel] = []
        for number, panel in enumerate(self.panels(side, scale), 1):
            panels.append(panel)
            if len(panels) == per_page or number == self.count:
                if number == len(panels):
                    self._check_any_read(panels)
                look: dict[str, Any] = {"columns": columns, "tile": side, "layout": self.layout, "scale": scale}
                yield lay_out_plate(panels, title=self._title(), footer=self._footer(), **look)
                panels = []

    def _check_any_read(self, panels: Sequence[Panel]) -> None:
        """Refuse to draw a first page of nothing, since all its pictures are gone or have changed."""
        if self.changed and not any(panel.examples for panel in panels):
            count = len(self.changed)
            which = "the one picture" if count == 1 else f"none of the {count:,} pictures"
            raise PictureError(f"{which} of this plate can{'not' * (count == 1)} be shown. The first: {self.changed[0]}")

    def pages(self, *, per_page: int | None = None, tile: int | None = None, scale: float = 1) -> Iterator[Image]:
        """Yield the pages as Pillow pictures; the arguments are those of `save`."""
        return (paint(page, scale) for page in self.layouts(per_page=per_page, tile=tile, scale=scale))

    def figure(self) -> Image:
        """Return the first page as a Pillow picture."""
        return next(self.pages())

    def save(
        self, path: str | os.PathLike[str], *, per_page: int | None = None, tile: int | None = None, scale: float = 1
    ) -> list[Path]:
        """Save as PNG, JPEG or PDF, with the settings inside; a PDF has real text, and its pixels are lossless.

        Args:
            path: ends in .png, .jpg or .pdf. More than one page becomes the pages of a PDF, or numbered files.
            per_page: channels on a page. None: 12, or 48 in the paper's layout.
            tile: pixels of a tile's longer side. None: so that a row fills the page.
            scale: how many times finer everything is drawn: 1 is 150 dots per inch.

        Returns:
            The files that were written.

        Raises:
            OptionError: the file cannot be written, its suffix is another one, or a number is out of its range.
            PictureError: the pictures of the first page are all gone, or have changed.
        """
        check_scale(scale)
        pages = self.layouts(per_page=per_page, tile=tile, scale=scale)
        return save_plates(pages, path, settings=self.settings(), scale=scale)

    def to_json(self) -> dict[str, Any]:
        """Return the settings, and each channel's counts, *own* if it was drawn, and top pictures, as plain values."""
        statistics = {layer: self.table.statistics(layer) for layer in self.channels}
        channels = [
            {
                "layer": layer,
                "channel": channel,
                "pictures": int(statistics[layer]["pictures"][channel]),
                "fired": int(statistics[layer]["fired"][channel]),
                "own": self.owns.get((layer, channel)),
                "top": [hit.to_json() for hit in self.table.top(layer, channel)],
            }
            for layer, numbers in self.channels.items()
            for channel in numbers
        ]
        return {"settings": self.settings(), "channels": channels}

    def settings(self) -> dict[str, Any]:
        """Return all that is needed to make the plate again."""
        left_out = ("layers", "root", "weights_from", "version")  # of the scan, or of this machine
        scan = {name: value for name, value in self.table.settings.items() if name not in left_out}
        rules = {"rule": self._rules(), "rule_asked": self.rule, "rule_reasons": self.rule_reasons}
        drawn = {
            "tone": self.tone,
            "percentile": tone_percentile(self.tone) if self.percentile is None else self.percentile,
            "crop": self.crop,
            "layout": self.layout,
            "inside": self.inside,
        }
        channels = {layer: list(numbers) for layer, numbers in self.channels.items()}
        return output_settings(**{**scan, "channels": channels, **rules, "silent": self.origin.net.silent, **drawn})

    def _rules(self) -> str | dict[str, str]:
        """Return the rule of all layers, or where they differ that of each."""
        rules = {layer: chosen.rule for layer, chosen in self.chosen.items()}
        return next(iter(rules.values())) if len(set(rules.values())) == 1 else dict(rules)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.figure().save(buffer, "PNG")
        return buffer.getvalue()

    def _title(self) -> str:
        done, _ = self.table.progress()
        layers = " and ".join(self.channels) if len(self.channels) < 3 else f"{len(self.channels)} layers"
        return f"{self.table.settings['model']} {layers}: top {self.table.settings['top']} of {done:,} pictures"

    def _footer(self) -> str:
        rules = self._rules()
        listed = rules if isinstance(rules, str) else ", ".join(f"{rule} in {layer}" for layer, rule in rules.items())
        parts = [f"rule {listed}", tone_text(self.tone, self.percentile), CROP_WORDS[self.crop], *self.rule_reasons]
        if self.inside:
            parts.append("only units whose window lies inside the picture")
        if self.changed:
            verbs = "pictures are gone or have" if len(self.changed) > 1 else "picture is gone or has"
            parts.append(f"{len(self.changed)} {verbs} changed since the scan")
        return " · ".join(parts)

    def _note_change(self, path: str, what: str, gone: bool) -> None:
        if gone:
            self.gone_paths.add(path)
        if path not in self.changed_paths:
            self.changed_paths.add(path)
            self.changed.append(f"{path} {what}")


def _numbers_text(channels: tuple[int, ...]) -> str:
    return f"({len(channels)} of them)" if len(channels) > 12 else str(channels)


def _fires_on(statistics: Statistics, channel: int) -> str:
    states = {"dead": "dead: fired on no picture", "NaN": "NaN on every picture"}
    share = statistics["fired"][channel] / max(statistics["pictures"][channel], 1)
    return states.get(channel_state(statistics, channel), f"fires on {percent(share)} of the pictures")
