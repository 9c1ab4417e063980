"""The pages of an atlas: plain data for the templates, which escape every text."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..optional import require
from ..render.text import activation_text, number_text, percent
from ..render.tone import TONE_WORDS
from ..scanning import Hit, Scan
from ..scanning.report import layer_report
from ..scanning.store import Statistics
from ..scanning.table import channel_state
from ..units import Window
from ..version import __version__
from .draw import DrawOptions
from .manifest import AtlasFolder
from .paths import LayerPages, picture_name

SAMPLES = 3  # channels of each layer on the first page


class Pages:
    """Makes the pages of an atlas, as bytes.

    Args:
        scan: what the atlas shows.
        layers: those that have pages.
        folder: where the atlas is.
        options: how its sheets were drawn.
    """

    def __init__(self, scan: Scan, layers: Sequence[LayerPages], folder: AtlasFolder, options: DrawOptions) -> None:
        self.scan, self.layers, self.folder, self.options = scan, layers, folder, options
        jinja = require("jinja2", needed_by="an atlas", extra="atlas")
        self._environment = jinja.Environment(
            loader=jinja.PackageLoader("deconvnet.atlas"),
            autoescape=True,  # names of files and layers may hold anything
            undefined=jinja.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._last_statistics: tuple[str, Statistics] | None = None
        self._common = {
            "model": scan.settings["model"],
            "weights": scan.settings["weights"],
            "pictures": scan.progress()[0],
            "top": scan.settings["top"],
            "rule": options.rule,
            "tone": options.tone,
            "tone_words": TONE_WORDS[options.tone],
            "layout": options.layout,
            "frame": scan.frame,
            "version": __version__,
        }

    def _render(self, template: str, **values: Any) -> bytes:
        page: str = self._environment.get_template(template).render(**self._common, **values)
        return page.encode()

    def first(self) -> bytes:
        """Make the first page: the layers."""
        rows = []
        for layer in self.layers:
            sample = [channel for channel in self.scan.sample(layer.name, SAMPLES) if self._has_sheet(layer, channel)]
            rows.append({"layer": layer, "sample": sample, **self._layer_facts(layer)})
        return self._render("first.html", rows=rows, up="")

    def layer(self, layer: LayerPages) -> bytes:
        """Make a layer's page: all its channels."""
        index = self.layers.index(layer)
        before = self.layers[index - 1] if index > 0 else None
        after = self.layers[index + 1] if index + 1 < len(self.layers) else None
        channels = [self._channel_facts(layer, channel) for channel in range(layer.channels)]
        facts = self._layer_facts(layer)
        return self._render("layer.html", layer=layer, channels=channels, before=before, after=after, up="../", **facts)

    def channel(self, layer: LayerPages, channel: int, similar: Sequence[tuple[LayerPages, int, int]]) -> bytes:
        """Make a channel's page; `similar` are (layer, channel, pictures shared)."""
        statistics = self._statistics(layer)
        hits, notes = self.scan.top(layer.name, channel), self.folder.notes(layer.sheet(channel))
        examples = [self._example(hit, notes) for hit in hits]
        return self._render(
            "channel.html",
            layer=layer,
            channel=channel,
            has_sheet=self._has_sheet(layer, channel),
            fires=percent(_fires(statistics, channel)),
            mean=number_text(float(statistics["mean"][channel])),
            strongest=number_text(hits[0].activation) if hits else "-",
            weakest=number_text(hits[-1].activation) if hits else "-",
            examples=examples,
            similar=[{"layer": other, "channel": number, "shared": shared} for other, number, shared in similar],
            up="../",
        )

    def _statistics(self, layer: LayerPages) -> Statistics:
        """Return a layer's statistics; those of the last layer are kept."""
        if self._last_statistics is None or self._last_statistics[0] != layer.name:
            self._last_statistics = (layer.name, self.scan.statistics(layer.name))
        return self._last_statistics[1]

    def _layer_facts(self, layer: LayerPages) -> dict[str, Any]:
        """Return what pages say of a layer."""
        report = layer_report(self.scan, layer.name)
        _, height, width = self.scan.size(layer.name)
        hits = self.scan.top(layer.name, 0) if layer.channels else []
        window = hits[0].window if hits else None
        return {
            "size": f"{height} × {width}",
            "window": f"{window.height} × {window.width}" if window else "-",
            "whole": bool(window and window.covers(*self.scan.frame)),
            "dead": report.dead,
            "not_a_number": len(report.not_a_number),
            "rare": len(report.rare),
        }

    def _channel_facts(self, layer: LayerPages, channel: int) -> dict[str, Any]:
        """Return what a layer's page says of a channel."""
        statistics = self._statistics(layer)
        fires, maximum = _fires(statistics, channel), float(statistics["maximum"][channel])
        return {
            "number": channel,
            "sheet": f"{channel}.webp" if self._has_sheet(layer, channel) else "",
            "fires": fires,
            "state": channel_state(statistics, channel) or f"fires on {percent(fires)}",
            "maximum": maximum,
            "maximum_text": activation_text(maximum),
        }

    def _has_sheet(self, layer: LayerPages, channel: int) -> bool:
        return (self.folder.path / layer.sheet(channel)).is_file()

    def _example(self, hit: Hit, notes: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a channel's page says of one of its top pictures."""
        box = Window(*notes.get("boxes", {}).get(str(hit.rank), hit.window.to_list()))
        left, top = self.options.layout.corner(hit.rank)
        return {
            "hit": hit,
            "activation": activation_text(hit.activation),
            "name": os.path.basename(hit.path),
            "picture": picture_name(hit.picture),
            "missing": hit.rank in notes.get("missing", []),
            "changed": hit.rank in notes.get("changed", []),
            "window": hit.window.clip(*self.scan.frame),
            "whole": hit.window.covers(*self.scan.frame),
            "box": box,
            "left": left,
            "top": top,
        }


def find_script(tops: Sequence[tuple[LayerPages, Sequence[Sequence[int]]]], paths: Mapping[int, str]) -> bytes:
    """Make the script that search loads: the layers, and each picture with the channels that it is a top picture of.

    A picture's channels are one list of numbers: layer, channel, rank, layer, channel, rank, ...
    """
    entries: dict[int, list[int]] = {}
    for number, (_, channels) in enumerate(tops):
        for channel, pictures in enumerate(channels):
            for rank, picture in enumerate(pictures, 1):
                entries.setdefault(picture, []).extend((number, channel, rank))
    data = {
        "layers": [[layer.name, layer.folder, layer.channels] for layer, _ in tops],
        "pictures": [[number, paths[number], entries[number]] for number in sorted(entries)],
    }
    return b"window.atlas = " + json.dumps(data, separators=(",", ":")).encode() + b";\n"


def _fires(statistics: Statistics, channel: int) -> float:
    """Return the share of the pictures on which a channel fires."""
    return float(statistics["fired"][channel] / max(statistics["pictures"][channel], 1))
