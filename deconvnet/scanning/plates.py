"""Plates: a layer's channels as in Zeiler & Fergus 2014, Fig. 2, each drawn for its page as soon as it is projected."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL.Image import Image
from tqdm import tqdm

from .. import rules as rules_
from ..choices import CROPS, TONES, Crop, RuleName, Tone
from ..errors import OptionError, check_option
from ..memory import check_memory
from ..progress import is_hidden
from ..provenance import output_settings
from ..render.example import Panel, draw_panel
from ..render.plate import draw_plate, plate_shape
from ..render.plate_files import save_plates
from ..render.text import percent
from ..render.tile import CROP_WORDS
from ..render.tone import tone_text
from .examples import ExampleMaker, PlateExample, plate_blocks
from .origin import Origin
from .table import ScanTable

PAGE_CHANNELS = 12  # on a page
PANEL_SIDE = 160  # pixels of a tile where no page says otherwise


@dataclass(eq=False)
class Plate:
    """The plates of some channels of a layer; shows its first page in Jupyter. Made by `Scan.plate`.

        >>> Scan.open("net.scan").plate("features.10", [7, 51])
        Plate('net.scan', layer='features.10', channels=(7, 51), rule='deconvnet', tone='soft')

    Attributes:
        table: the scan's tables.
        origin: its net and pictures.
        layer: a scanned layer.
        channels: their numbers.
        rule: how units are projected.
        tone: how signed values become pixels.
        crop: which part of pixel space tiles show: where the energy is, the unit's window, or the whole frame.
        memory: bytes that a batch may take; None: a quarter of what is free.
        progress: whether to show a bar.
        changed: after drawing, a line for each picture that is gone, has changed, or gives another activation than recorded.
        changed_paths: their paths.
        gone_paths: the paths of those that are gone.
    """

    table: ScanTable
    origin: Origin
    layer: str
    channels: tuple[int, ...]
    rule: RuleName = "deconvnet"
    tone: Tone = "soft"
    memory: int | None = None
    progress: bool = False
    crop: Crop = "energy"
    changed: list[str] = field(default_factory=list)
    changed_paths: set[str] = field(default_factory=set)
    gone_paths: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        rules_.parse_rule(self.rule)
        check_option("tone", self.tone, TONES)
        check_option("crop", self.crop, CROPS)
        check_memory(self.memory)
        if not self.channels:
            raise OptionError("a plate shows one channel or more. Give at least one.")

    def __repr__(self) -> str:
        numbers = f"({len(self.channels)} of them)" if len(self.channels) > 12 else str(self.channels)
        return f"Plate({self.table.path!r}, layer={self.layer!r}, channels={numbers}, rule={self.rule!r}, tone={self.tone!r})"

    def examples(
        self, on_progress: Callable[[float], object] = lambda channels: None
    ) -> Iterator[tuple[int, list[PlateExample]]]:
        """Yield each channel with its examples, strongest first.

        A picture that is gone, or whose file has changed, has no example, and a line in `changed`. `on_progress` is called with
        how many channels' worth of work has been done.
        """
        maker = ExampleMaker(self.table, self.origin, self.layer, self.rule, self.memory, self._note_change, self.crop)
        for block in plate_blocks(self.table, self.layer, self.channels, self.memory):
            examples = maker.make(block, on_progress)
            yield from ((channel, examples[channel]) for channel in block)
            examples.clear()  # before the next block takes as much again

    def panels(self, side: int = PANEL_SIDE) -> Iterator[Panel]:
        """Yield each channel's panel, drawn with tiles of `side` pixels."""
        statistics = self.table.statistics(self.layer)
        with tqdm(total=len(self.channels), unit="channel", delay=2, disable=is_hidden(self.progress)) as bar:
            for channel, examples in self.examples(bar.update):
                note = _fires_on(int(statistics["fired"][channel]), int(statistics["pictures"][channel]))
                panel = Panel(self.layer, channel, [example.example for example in examples], note)
                yield draw_panel(panel, side, tone=self.tone)

    def pages(self, *, per_page: int = PAGE_CHANNELS) -> Iterator[Image]:
        """Yield the pages, with `per_page` channels each."""
        per_page = min(per_page, len(self.channels))
        columns, side = plate_shape(per_page, examples=self.table.settings["top"])
        panels: list[Panel] = []
        for number, panel in enumerate(self.panels(side), 1):
            panels.append(panel)
            if len(panels) == per_page or number == len(self.channels):
                yield draw_plate(panels, columns=columns, title=self._title(), footer=self._footer())
                panels = []

    def figure(self) -> Image:
        """Return the first page as a Pillow picture."""
        return next(self.pages())

    def save(self, path: str | os.PathLike[str], *, per_page: int = PAGE_CHANNELS) -> list[Path]:
        """Save as PNG, JPEG or PDF, with the settings inside.

        Args:
            path: ends in .png, .jpg or .pdf. More than one page becomes the pages of a PDF, or numbered files.
            per_page: channels on a page.

        Returns:
            The files that were written.

        Raises:
            OptionError: the file cannot be written, or its suffix is another one.
        """
        return save_plates(self.pages(per_page=per_page), path, settings=self.settings())

    def to_json(self) -> dict[str, Any]:
        """Return the settings, and each channel's counts and top pictures, as plain values."""
        statistics = self.table.statistics(self.layer)
        channels = [
            {
                "channel": channel,
                "pictures": int(statistics["pictures"][channel]),
                "fired": int(statistics["fired"][channel]),
                "top": [hit.to_json() for hit in self.table.top(self.layer, channel)],
            }
            for channel in self.channels
        ]
        return {"settings": self.settings(), "channels": channels}

    def settings(self) -> dict[str, Any]:
        """Return all that is needed to make the plate again."""
        left_out = ("layers", "root", "weights_from", "version")  # of the scan, or of this machine
        scan = {name: value for name, value in self.table.settings.items() if name not in left_out}
        plate: dict[str, Any] = {
            "layer": self.layer,
            "channels": list(self.channels),
            "rule": self.rule,
            "tone": self.tone,
            "crop": self.crop,
        }
        return output_settings(**{**scan, **plate})

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.figure().save(buffer, "PNG")
        return buffer.getvalue()

    def _title(self) -> str:
        done, _ = self.table.progress()
        return f"{self.table.settings['model']} {self.layer}: top {self.table.settings['top']} of {done:,} pictures"

    def _footer(self) -> str:
        text = f"rule {self.rule} · {tone_text(self.tone)} · {CROP_WORDS[self.crop]}"
        if self.changed:
            verbs = "pictures are gone or have" if len(self.changed) > 1 else "picture is gone or has"
            text += f" · {len(self.changed)} {verbs} changed since the scan"
        return text

    def _note_change(self, path: str, what: str, gone: bool) -> None:
        if gone:
            self.gone_paths.add(path)
        if path not in self.changed_paths:
            self.changed_paths.add(path)
            self.changed.append(f"{path} {what}")


def _fires_on(fired: int, pictures: int) -> str:
    return f"fires on {percent(fired / max(pictures, 1))} of the pictures" if fired else "dead: fired on no picture"
