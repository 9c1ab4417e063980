"""The names of an atlas's files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..scanning import Scan


@dataclass(frozen=True)
class LayerPages:
    """A layer, and the names of its files.

    Attributes:
        name: of the layer.
        folder: of its files.
        channels: how many it has.
    """

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


def layer_pages(scan: Scan, layers: Sequence[str] | None) -> list[LayerPages]:
    """Give each layer a folder: its name after a number, since two names may differ only in case, or be "con".

    Raises:
        UnknownLayerError: a layer was not scanned.
    """
    chosen = scan.layers if layers is None else [scan.layer_name(name) for name in layers]
    names = [name for name in scan.layers if name in chosen]
    digits = len(str(len(scan.layers)))
    numbers = {name: f"{number:0{digits}d}" for number, name in enumerate(scan.layers, 1)}
    safe = {name: re.sub(r"[^A-Za-z0-9._-]", "_", name)[:60].rstrip(".") for name in names}
    return [LayerPages(name, f"{numbers[name]}-{safe[name]}", scan.size(name)[0]) for name in names]


def picture_name(number: int) -> str:
    """Return the name of a picture as the net saw it."""
    return f"pictures/{number}.webp"
