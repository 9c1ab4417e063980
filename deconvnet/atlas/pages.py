"""What stands on the pages of an atlas: plain data for the templates. Every text goes through their escaping."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..optional import require
from ..render.text import activation_text, percent
from ..scanning.plates import frame_of
from ..scanning.report import layer_report
from ..scanning.table import Hit, Scan
from ..units import Window
from ..version import __version__
from .draw import Look
from .manifest import Folder

SAMPLES = 3  # channels of each layer on the first page


@dataclass(frozen=True)
class LayerPages:
    """A layer and where its pages lie."""

    name: str
    folder: str
    channels: int

    def page(self) -> str:
        """Return the name of the layer's page."""
        return f"{self.folder}/index.html"

    def channel_page(self, channel: int) -> str:
        """Return the name of a channel's page."""
        return f"{self.folder}/{channel}.html"

    def sheet(self, channel: int) -> str:
        """Return the name of a channel's sheet of tiles."""
        return f"{self.folder}/{channel}.webp"


def picture_name(number: int) -> str:
    """Return the name of a picture as the net saw it."""
    return f"pictures/{number}.webp"


class Pages:
    """Makes the pages of an atlas, as bytes."""

    def __init__(self, scan: Scan, places: Sequence[LayerPages], folder: Folder, look: Look) -> None:
        self.scan, self.places, self.folder, self.look = scan, places, folder, look
        self.frame = frame_of(scan)
        jinja = require("jinja2", needed_by="an atlas", extra="atlas")
        self._environment = jinja.Environment(
            loader=jinja.PackageLoader("deconvnet.atlas"),
            autoescape=True,  # file names and labels are anybody's
            undefined=jinja.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._counted: tuple[str, dict[str, Any]] = ("", {})
        done, _ = scan.progress()
        self._common = {
            "model": scan.settings["model"],
            "weights": scan.settings["weights"],
            "pictures": done,
            "top": scan.settings["top"],
            "rule": look.rule,
            "tone": look.tone,
            "layout": look.layout,
            "frame": self.frame,
            "version": __version__,
        }

    def _render(self, template: str, **values: Any) -> bytes:
        page: str = self._environment.get_template(template).render(**self._common, **values)
        return page.encode()

    def first(self) -> bytes:
        """Make the first page: the layers."""
        rows = []
        for place in self.places:
            sample = [one for one in self.scan.sample(place.name, SAMPLES) if self._has_sheet(place, one)]
            rows.append({"place": place, "sample": sample, **self._layer(place)})
        return self._render("first.html", layers=rows, up="")

    def layer(self, place: LayerPages) -> bytes:
        """Make a layer's page: all its channels."""
        at = self.places.index(place)
        around = [self.places[near] if 0 <= near < len(self.places) else None for near in (at - 1, at + 1)]
        counted = self._statistics(place)
        channels = [
            {
                "number": channel,
                "sheet": f"{channel}.webp" if self._has_sheet(place, channel) else "",
                "fires": float(counted["fired"][channel] / max(counted["pictures"][channel], 1)),
                "fires_text": _fires(counted["fired"][channel], counted["pictures"][channel]),
                "maximum": float(counted["maximum"][channel]),
                "maximum_text": activation_text(float(counted["maximum"][channel])),
            }
            for channel in range(place.channels)
        ]
        row = self._layer(place)
        return self._render("layer.html", place=place, channels=channels, around=around, up="../", **row)

    def channel(self, place: LayerPages, channel: int, similar: Sequence[tuple[LayerPages, int, int]]) -> bytes:
        """Make a channel's page; `similar` are (layer, channel, pictures shared)."""
        counted = self._statistics(place)
        hits, notes = self.scan.top(place.name, channel), self.folder.notes(place.sheet(channel))
        examples = [self._example(hit, notes) for hit in hits]
        return self._render(
            "channel.html",
            place=place,
            channel=channel,
            has_sheet=self._has_sheet(place, channel),
            fires=_fires(counted["fired"][channel], counted["pictures"][channel]),
            mean=f"{counted['mean'][channel]:.4g}",
            strongest=f"{hits[0].activation:.4g}" if hits else "-",
            weakest=f"{hits[-1].activation:.4g}" if hits else "-",
            examples=examples,
            padded=any(example["padded"] for example in examples),
            cut=any(example["cut"] for example in examples),
            similar=[{"place": other, "channel": number, "shared": shared} for other, number, shared in similar],
            up="../",
        )

    def _statistics(self, place: LayerPages) -> dict[str, Any]:
        """Return a layer's statistics, those of the last one asked for being kept."""
        if self._counted[0] != place.name:
            self._counted = (place.name, self.scan.statistics(place.name))
        return self._counted[1]

    def _layer(self, place: LayerPages) -> dict[str, Any]:
        """Return what is said of a layer."""
        report = layer_report(self.scan, place.name)
        _, height, width = self.scan.size(place.name)
        window = next((hits[0].window for hits in [self.scan.top(place.name, 0) if place.channels else []] if hits), None)
        return {
            "size": f"{height} × {width}",
            "window": f"{window.height} × {window.width}" if window else "-",
            "whole": bool(window and window.covers(*self.frame)),
            "dead": report.dead,
            "rare": len(report.rare),
        }

    def _has_sheet(self, place: LayerPages, channel: int) -> bool:
        return (self.folder.path / place.sheet(channel)).is_file()

    def _example(self, hit: Hit, notes: dict[str, Any]) -> dict[str, Any]:
        """Return what is said of one of a channel's top pictures."""
        box = Window(*notes.get("boxes", {}).get(str(hit.rank), hit.window.to_list()))
        left, top = self.look.layout.place(hit.rank)
        return {
            "hit": hit,
            "activation": activation_text(hit.activation),
            "name": os.path.basename(hit.path),
            "picture": picture_name(hit.picture),
            "missing": hit.rank in notes.get("missing", []),
            "changed": hit.rank in notes.get("changed", []),
            "window": hit.window.clip(*self.frame),
            "whole": hit.window.covers(*self.frame),
            "cut": box != hit.window,  # the tiles show a part of the window
            "padded": box.clip(*self.frame) != box,
            "box": box,
            "left": left,
            "top": top,
        }


def find_script(tops: Sequence[tuple[LayerPages, Sequence[Sequence[int]]]], names: dict[int, str]) -> bytes:
    """Make the script that search loads: layers, and each picture with the channels whose top it stands in.

    A picture's channels are one list of numbers: layer, channel, rank, layer, channel, rank, ...
    """
    entries: dict[int, list[int]] = {}
    for layer, (_, channels) in enumerate(tops):
        for channel, pictures in enumerate(channels):
            for rank, picture in enumerate(pictures, 1):
                entries.setdefault(picture, []).extend((layer, channel, rank))
    found = {
        "layers": [[place.name, place.folder, place.channels] for place, _ in tops],
        "pictures": [[number, names[number], entries[number]] for number in sorted(entries)],
    }
    return b"window.atlas = " + json.dumps(found, separators=(",", ":")).encode() + b";\n"


def _fires(fired: int, seen: int) -> str:
    return percent(fired / max(seen, 1))
