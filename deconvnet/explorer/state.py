"""The explorer's state, without any widget: the picture, layer, channel, unit and rule that are chosen, and what they give.

A choice that no longer fits is dropped: a new layer starts at its strongest channel, a new picture at the strongest unit.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from ..axes import as_maps
from ..choices import TONES, RuleChoice, Tone
from ..errors import NoRuleError, OptionError, UnknownLayerError, check_option, did_you_mean
from ..inputs import PictureInput
from ..layer_table import Layer
from ..layers import default_layer
from ..net import DeconvNet
from ..projection import Projection
from ..reach import check_rule
from ..recording import Recording
from ..select import Position, check_unit
from ..units import Unit

Maps: TypeAlias = npt.NDArray[np.float32]
Order: TypeAlias = Literal["strongest", "number"]
#: How the unit is chosen: the strongest position, the whole map, or one position.
Selection: TypeAlias = Literal["max", "map", "position"]

#: The rules that can be chosen: by name, and the settings of the bits that have no name (Mahendran & Vedaldi 2016).
RULES: tuple[RuleChoice, ...] = ("auto", "deconvnet", "guided", "gradient", "FFT", "FTF", "TFT", "TFF", "FFF")
#: One projection is shown at a time, so a scale that tiles share makes no sense.
SINGLE_TONES = tuple(tone for tone in TONES if tone != "shared")
ORDERS: tuple[Order, ...] = get_args(Order)
PAGE = 36  # maps on a page
CELLS = 14  # a side, of the buttons on a map: more would be too small to be hit


class Explorer:
    """One picture in one net, and what is chosen in it.

        >>> explorer = Explorer(DeconvNet(load_model("tiny")), "face.png")
        >>> explorer.choose_layer("features.13")
        >>> explorer.projection.units[0].channel == explorer.channel
        True

    Args:
        net: the net.
        picture: the first picture.
        layer: the first layer; None: that of `project`.
        rule, tone: the first rule and tone.

    Attributes:
        layers: by name, the layers with maps from which the rules lead down to the pixels.
        layer, channel, position: which unit is projected; `position` is "max", "map" or (row, col).
        page: the page of maps that is shown, from 0.
        maps: (C', H', W') of the layer.
        by_strength: the layer's channels, the strongest first.

    Raises:
        NoRuleError: there is no layer from which the rules lead to the pixels.
        OptionError: the rule or the tone is unknown, or there is not exactly one picture.
    """

    channel: int
    position: Position = "max"
    page: int = 0
    maps: Maps
    by_strength: list[int]
    _projection: Projection
    _projected: tuple[str, int, Position, str] | None = None  # what it is the projection of

    def __init__(
        self,
        net: DeconvNet,
        picture: PictureInput,
        *,
        layer: str | None = None,
        rule: RuleChoice = "auto",
        tone: Tone = "soft",
    ) -> None:
        check_rule(rule)
        check_option("tone", tone, SINGLE_TONES)
        self.net, self.rule, self.tone = net, rule, tone
        self.order: Order = "strongest"
        self.recording = self._record(picture)
        channels, height, width = self.recording.images.shape[1:]
        self.layers = {row.name: row for row in net.layers((channels, height, width)) if row.receptive_field != (0, 0)}
        if not self.layers:
            raise NoRuleError(
                f"{net.name} has no layer from which the rules lead to the pixels. See: deconvnet layers {net.name}"
            )
        default = default_layer(self.recording) if layer is None else layer
        self.choose_layer(default if layer or default in self.layers else next(reversed(self.layers)))

    # ---- choosing

    def open(self, picture: PictureInput) -> None:
        """Choose another picture; layer and channel stay. If it cannot be opened, nothing changes."""
        self.recording = self._record(picture)
        self._take_maps()
        self.choose_channel(self.channel)

    def choose_layer(self, layer: str) -> None:
        """Choose another layer, and its strongest channel."""
        layer = self.net.layer_name(layer)
        if layer not in self.layers:
            hint = did_you_mean(layer, self.layers)
            raise UnknownLayerError(
                f"{self.net.name} has no layer {layer!r} to explore.{hint} See: deconvnet layers {self.net.name}"
            )
        self.layer = layer
        self._take_maps()
        self.choose_channel(int(self.by_strength[0]))

    def choose_channel(self, channel: int) -> None:
        """Choose another channel, at its strongest unit, or its whole map if a whole map was chosen; show its page."""
        check_unit(Unit(self.layer, channel), self.maps.shape)
        self.channel = channel
        if self.selection == "position":
            self.position = "max"
        self.page = self.channels.index(channel) // PAGE

    def choose_position(self, position: Position) -> None:
        """Choose the strongest unit ("max"), the whole map ("map"), or the unit at (row, col)."""
        if isinstance(position, str):
            check_option("position", position, ("max", "map"))
        else:
            check_unit(Unit(self.layer, self.channel, *position), self.maps.shape)
        self.position = position

    def choose_cell(self, row: int, col: int) -> None:
        """Choose the strongest unit of a cell: see `cells`."""
        rows, cols = self.cells
        if not (0 <= row < rows and 0 <= col < cols):
            raise OptionError(f"there is no cell {row},{col}: they are {rows}x{cols}, from 0,0.")
        down, across = (
            cell_slice(number, count, side) for number, count, side in zip((row, col), self.cells, self.size, strict=True)
        )
        inside = self.map[down, across]
        top, left = divmod(int(inside.argmax()), inside.shape[1])
        self.choose_position((down.start + top, across.start + left))

    def choose_rule(self, rule: RuleChoice) -> None:
        """Choose how ReLUs and max pools are reversed."""
        check_rule(rule)
        self.rule = rule

    def choose_tone(self, tone: Tone) -> None:
        """Choose how signed values become pixels."""
        check_option("tone", tone, SINGLE_TONES)
        self.tone = tone

    def choose_order(self, order: Order) -> None:
        """Sort the maps by strength or by number, and show the page with the channel."""
        check_option("order", order, ORDERS)
        self.order = order
        self.page = self.channels.index(self.channel) // PAGE

    def turn_pages(self, pages: int) -> None:
        """Turn so many pages forward, or backward if below 0; stop at the first and the last page."""
        self.page = min(max(self.page + pages, 0), self.pages - 1)

    # ---- what the choices give

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
        """All channels in the order of the pages."""
        return self.by_strength if self.order == "strongest" else list(range(len(self.maps)))

    @property
    def pages(self) -> int:
        """The number of pages."""
        return math.ceil(len(self.maps) / PAGE)

    @property
    def page_channels(self) -> list[int]:
        """The channels on the page that is shown."""
        return self.channels[self.page * PAGE : (self.page + 1) * PAGE]

    @property
    def cells(self) -> tuple[int, int]:
        """The rows and columns of cells that a map is divided into for clicking: one for each unit, up to `CELLS` a side."""
        return min(self.size[0], CELLS), min(self.size[1], CELLS)

    @property
    def cell(self) -> tuple[int, int] | None:
        """The cell that the unit lies in; None for a whole map."""
        unit = self.unit
        if unit.row is None or unit.col is None:
            return None
        rows, cols = self.cells
        row = next(number for number in range(rows) if unit.row < cell_slice(number, rows, self.size[0]).stop)
        return row, next(number for number in range(cols) if unit.col < cell_slice(number, cols, self.size[1]).stop)

    @property
    def selection(self) -> Selection:
        """How the unit is chosen."""
        return self.position if isinstance(self.position, str) else "position"

    @property
    def unit(self) -> Unit:
        """The unit that is chosen, with its activation."""
        if self.position == "map":
            return Unit(self.layer, self.channel, activation=float(self.map.max()))
        row, col = divmod(int(self.map.argmax()), self.size[1]) if isinstance(self.position, str) else self.position
        return Unit(self.layer, self.channel, row, col, activation=float(self.map[row, col]))

    @property
    def rank(self) -> int:
        """The channel's rank by strength among those of its layer; 1 is the strongest."""
        return self.by_strength.index(self.channel) + 1

    @property
    def projection(self) -> Projection:
        """The unit's projection, computed once for each choice."""
        choice = (self.layer, self.channel, self.position, self.rule)
        if self._projected != choice:
            self._projection = self.net.project(
                self.recording, self.layer, channels=[self.channel], at=self.position, rule=self.rule
            )
            self._projected = choice
        return self._projection

    def code(self) -> str:
        """Return the line of Python that makes this projection."""
        at = "" if self.position == "max" else f", at={self.position!r}"
        rule = "" if self.rule == "auto" else f", rule={self.rule!r}"
        return f"net.project(recording, {self.layer!r}, channels=[{self.channel}]{at}{rule})"

    # ---- inside

    def _record(self, picture: PictureInput) -> Recording:
        recording = self.net.record(picture)
        if len(recording) != 1:
            raise OptionError(f"the explorer shows one picture, found {len(recording)}. Give one of them.")
        return recording

    def _take_maps(self) -> None:
        activations = self.recording.stored_activations(self.layer)
        maps = as_maps(activations, self.recording.axes(self.layer), self.layer)[0]
        self.maps = np.nan_to_num(maps.detach().float().cpu().numpy())
        self.by_strength = np.argsort(-self.maps.reshape(len(maps), -1).max(1), kind="stable").tolist()
        self._projected = None


def cell_slice(number: int, count: int, side: int) -> slice:
    """Return which of `side` rows (or columns) lie in cell `number` of `count`; every row lies in exactly one cell."""
    return slice(number * side // count, (number + 1) * side // count)
