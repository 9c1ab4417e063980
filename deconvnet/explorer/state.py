"""What the explorer looks at - a picture, a layer, a channel, a unit, a rule - and what that gives: no widget is known here.

A choice that no longer fits is not kept: a new layer starts at its strongest channel, a new picture at the strongest unit.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..axes import as_maps
from ..choices import TONES, Tone
from ..errors import NoRuleError, OptionError, UnknownLayerError, check_option, did_you_mean
from ..images import Picture
from ..layer_table import Layer
from ..layers import default_layer
from ..net import DeconvNet
from ..projection import Projection
from ..recording import Recording
from ..rules import BITS, parse_rule
from ..select import check_unit
from ..units import Unit

#: Rules by name, and the reversals that have none: the ablations of Mahendran & Vedaldi (2016).
RULES = (*BITS, "FFT", "FTF", "TFT", "TFF", "FFF")
#: One projection is shown at a time: a scale that tiles share says nothing.
TONES_OF_ONE = tuple(tone for tone in TONES if tone != "shared")
ORDERS = ("strongest", "number")
PAGE = 36  # maps in a mosaic
CELLS = 14  # a side, of the places that can be clicked on a map: smaller ones cannot be hit

Place: TypeAlias = "str | tuple[int, int]"  # "max", "map", or (row, col)
Maps: TypeAlias = npt.NDArray[np.float32]


class Explorer:
    """One picture in one net, and what is looked at in it.

        >>> explorer = Explorer(DeconvNet(load_model("tiny")), "face.png")
        >>> explorer.choose_layer("features.13")
        >>> explorer.projection.units[0].channel == explorer.channel
        True

    `layers` are those with maps from which the rules lead down to the pixels; `channel` and `place` ("max", "map" or
    (row, col)) say which unit is projected.
    """

    channel: int
    place: Place = "max"
    page: int = 0
    maps: Maps  # (C', H', W') of the layer
    by_strength: list[int]  # its channels, strongest first
    _asked: Any = None
    _answer: Projection

    def __init__(
        self, net: DeconvNet, picture: Any, *, layer: str | None = None, rule: str = "deconvnet", tone: Tone = "symmetric"
    ) -> None:
        parse_rule(rule)
        check_option("tone", tone, TONES_OF_ONE)
        self.net, self.rule, self.tone, self.order = net, rule, tone, "strongest"
        self.recording = self._record(picture)
        channels, height, width = self.recording.images.shape[1:]
        self.layers = {row.name: row for row in net.layers((channels, height, width)) if row.receptive_field != (0, 0)}
        if not self.layers:
            raise NoRuleError(
                f"{net.name} has no layer from which the rules lead to the pixels. See: deconvnet layers {net.name}"
            )
        found = layer or default_layer(self.recording)
        self.layer = found if layer or found in self.layers else next(reversed(self.layers))
        self.choose_layer(self.layer)

    # ---- choosing

    def open(self, picture: Picture) -> None:
        """Look at another picture, in the same layer and channel; what cannot be opened changes nothing."""
        self.recording = self._record(picture)
        self._take_maps()
        self.choose_channel(self.channel)

    def choose_layer(self, layer: str) -> None:
        """Look at another layer, at its strongest channel."""
        if layer not in self.layers:
            hint = did_you_mean(layer, self.layers)
            raise UnknownLayerError(
                f"{self.net.name} has no layer {layer!r} to explore.{hint} See: deconvnet layers {self.net.name}"
            )
        self.layer = layer
        self._take_maps()
        self.choose_channel(int(self.by_strength[0]))

    def choose_channel(self, channel: int) -> None:
        """Look at another channel, at its strongest unit, or its whole map if that was looked at; its page is turned to."""
        check_unit(Unit(self.layer, channel), self.maps.shape)
        self.channel = channel
        if self.place_kind == "one":
            self.place = "max"
        self.page = self.channels.index(channel) // PAGE

    def choose_place(self, place: Place) -> None:
        """Look at the strongest unit ("max"), the whole map ("map"), or one place (row, col)."""
        if isinstance(place, str):
            check_option("place", place, ("max", "map"))
        else:
            check_unit(Unit(self.layer, self.channel, *place), self.maps.shape)
        self.place = place

    def choose_cell(self, row: int, col: int) -> None:
        """Look at the strongest unit of a cell: see `cells`."""
        rows, cols = self.cells
        if not (0 <= row < rows and 0 <= col < cols):
            raise OptionError(f"there is no cell {row},{col}: they are {rows}x{cols}, from 0,0.")
        down, across = (
            span(number, count, side) for number, count, side in zip((row, col), self.cells, self.size, strict=True)
        )
        inside = self.map[down, across]
        top, left = divmod(int(inside.argmax()), inside.shape[1])
        self.choose_place((down.start + top, across.start + left))

    def choose_rule(self, rule: str) -> None:
        """Go down by another rule: a name or three bits."""
        parse_rule(rule)
        self.rule = rule

    def choose_tone(self, tone: Tone) -> None:
        """Show signed values otherwise."""
        check_option("tone", tone, TONES_OF_ONE)
        self.tone = tone

    def choose_order(self, order: str) -> None:
        """Lay the maps out by strength or by number; the page with the channel is turned to."""
        check_option("order", order, ORDERS)
        self.order = order
        self.page = self.channels.index(self.channel) // PAGE

    def turn(self, pages: int) -> None:
        """Turn pages forth (or back, below 0), to the first or last at most."""
        self.page = min(max(self.page + pages, 0), self.pages - 1)

    # ---- what is there

    @property
    def info(self) -> Layer:
        """The layer as `DeconvNet.layers` lists it."""
        return self.layers[self.layer]

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of the layer's maps."""
        return self.maps.shape[1], self.maps.shape[2]

    @property
    def map(self) -> Maps:
        """The channel's map, (H', W')."""
        return self.maps[self.channel]

    @property
    def channels(self) -> list[int]:
        """All channels in the order in which they are laid out."""
        return self.by_strength if self.order == "strongest" else list(range(len(self.maps)))

    @property
    def pages(self) -> int:
        """How many pages the mosaic has."""
        return math.ceil(len(self.maps) / PAGE)

    @property
    def shown(self) -> list[int]:
        """The channels on this page of the mosaic."""
        return self.channels[self.page * PAGE : (self.page + 1) * PAGE]

    @property
    def cells(self) -> tuple[int, int]:
        """Into how many rows and columns of cells a map is divided for clicking: one a unit, while they can be hit."""
        return min(self.size[0], CELLS), min(self.size[1], CELLS)

    @property
    def cell(self) -> tuple[int, int] | None:
        """The cell that the unit lies in; None for a whole map."""
        unit = self.unit
        if unit.row is None or unit.col is None:
            return None
        rows, cols = self.cells
        row = next(number for number in range(rows) if unit.row < span(number, rows, self.size[0]).stop)
        return row, next(number for number in range(cols) if unit.col < span(number, cols, self.size[1]).stop)

    @property
    def place_kind(self) -> str:
        """What is looked at: "max", "map", or "one" place."""
        return self.place if isinstance(self.place, str) else "one"

    @property
    def unit(self) -> Unit:
        """The unit that is looked at, with its activation."""
        if self.place == "map":
            return Unit(self.layer, self.channel, activation=float(self.map.max()))
        row, col = divmod(int(self.map.argmax()), self.size[1]) if isinstance(self.place, str) else self.place
        return Unit(self.layer, self.channel, row, col, activation=float(self.map[row, col]))

    @property
    def rank(self) -> int:
        """How strong the channel is among those of its layer here; 1 is the strongest."""
        return self.by_strength.index(self.channel) + 1

    @property
    def projection(self) -> Projection:
        """The unit's projection; worked out once for each question."""
        question = (self.layer, self.channel, self.place, self.rule)
        if self._asked != question:
            at: Any = self.place
            self._answer = self.net.project(self.recording, self.layer, channels=[self.channel], at=at, rule=self.rule)
            self._asked = question
        return self._answer

    def code(self) -> str:
        """Return the line of Python that makes this projection."""
        at = "" if self.place == "max" else f", at={self.place!r}"
        rule = "" if self.rule == "deconvnet" else f", rule={self.rule!r}"
        return f"net.project(recording, {self.layer!r}, channels=[{self.channel}]{at}{rule})"

    # ---- inside

    def _record(self, picture: Any) -> Recording:
        """Record one picture, or an image (1, C, H, W) as the model expects it."""
        recording = self.net.record(picture)
        if len(recording) != 1:
            raise OptionError(f"the explorer shows one picture, found {len(recording)}. Give one of them.")
        return recording

    def _take_maps(self) -> None:
        kept = self.recording.stored_activations(self.layer)
        maps = as_maps(kept, self.recording.axes(self.layer), self.layer)[0]
        self.maps = np.nan_to_num(maps.detach().float().cpu().numpy())
        self.by_strength = np.argsort(-self.maps.reshape(len(maps), -1).max(1), kind="stable").tolist()
        self._asked = None


def span(number: int, count: int, side: int) -> slice:
    """Return which of `side` rows (or columns) lie in cell `number` of `count`: all in one, none in two."""
    return slice(number * side // count, (number + 1) * side // count)
