"""The layers of a net as a table: names, sizes, receptive fields, and how each is mirrored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

from .axes import SIGNAL, VolumeAxes, map_size
from .errors import UnknownLayerError, did_you_mean
from .forward import LayerRecord
from .layers import choose_layers, default_layer, rectified_values
from .mirror import calls_below, status
from .paper_names import paper_layers
from .reach import field_and_stride, pools_below
from .recording import Recording
from .render.table import table_html, table_text
from .render.text import size_text
from .rules import STATUSES, Table
from .tape import Tape

HEADING = ("layer", "alias", "kind", "output", "field", "stride", "pools", "reach", "status", "taken by")
NO_RULE = "no rule"


@dataclass(frozen=True)
class Layer:
    """A named layer of a net, as `DeconvNet.layers` lists it.

    Attributes:
        name: as `DeconvNet.project` takes it.
        kind: the module's class, or the function's name.
        channels: how many maps it has.
        height: of a map, in units.
        width: of a map, in units.
        receptive_field: height and width, in pixels, of the window of a unit in the middle of the map; (0, 0) where no rule
            leads down to the pixels.
        stride: how many pixels the windows of neighbours are apart, down and across.
        pools: how many max pools lie between it and the pixels, on all paths.
        reach: how many pixels, down and across, their switches can move a value: (0, 0) where there are none, and by the
            deconvnet rule a unit's projection is then the same for any picture.
        status: its rule's status; of a container, the loosest of the rules inside; "no rule" where one is missing there or
            below, so that nothing can be projected from it.
        output: its own size without the batch axis: (C, H, W), of a signal (C, L), of a volume (C, D, H, W), whose slices
            `height` counts as stacked.
        alias: the paper's name for it, "conv1" to "conv5", which can be typed, too; empty where it has none.
        rectified: whether its values are what a rectifier let through; the paper projects from such layers.
        scanned: whether a scan takes it where none is named.
        default: whether a projection starts there where no layer is named.
    """

    name: str
    kind: str
    channels: int
    height: int
    width: int
    receptive_field: tuple[int, int]
    stride: tuple[int, int]
    pools: int
    reach: tuple[int, int]
    status: str
    output: tuple[int, ...]
    alias: str = ""
    rectified: bool = False
    scanned: bool = False
    default: bool = False

    @property
    def taken_by(self) -> str:
        """Which commands take it where no layer is named: "scan", "project"; several with commas."""
        return ", ".join(name for name, takes in (("scan", self.scanned), ("project", self.default)) if takes)


class Layers(Sequence[Layer]):
    """The layers of a net, in the order in which they finish: by number, or by name. Prints as a table.

    >>> net.layers()["features.4"].channels
    64
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(layers)
        self._by_name = {layer.name: layer for layer in self._layers}
        self._by_alias = {layer.alias: layer.name for layer in self._layers if layer.alias}

    @property
    def names(self) -> list[str]:
        """The layers' names."""
        return list(self._by_name)

    @overload
    def __getitem__(self, key: int | str) -> Layer: ...

    @overload
    def __getitem__(self, key: slice) -> Layers: ...

    def __getitem__(self, key: int | str | slice) -> Layer | Layers:
        if isinstance(key, str):
            key = self._by_alias.get(key, key)
            if key not in self._by_name:
                raise UnknownLayerError(f"there is no layer {key!r} with maps.{did_you_mean(key, self._by_name)}")
            return self._by_name[key]
        return Layers(self._layers[key]) if isinstance(key, slice) else self._layers[key]

    def __contains__(self, key: object) -> bool:
        return key in {*self._by_name, *self._by_alias} if isinstance(key, str) else key in self._layers

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's rows, the heading first."""
        rows: list[tuple[str, ...]] = [HEADING]
        for layer in self:
            sizes = [size_text(size) for size in (layer.receptive_field, layer.stride, layer.reach)]
            if len(layer.output) == 4:  # windows have rows and columns only
                sizes = ["whole", "-", "-"]
            field, stride, reach = sizes
            numbers = (size_text(layer.output), field, stride, str(layer.pools), reach)
            rows.append((layer.name, layer.alias, layer.kind, *numbers, layer.status, layer.taken_by))
        return rows if self._by_alias else [(name, *others) for name, _, *others in rows]

    def rectified(self) -> Layers:
        """Return the rectified layers alone: those that the paper projects from (Zeiler & Fergus 2014, 2.1)."""
        return Layers([layer for layer in self if layer.rectified])

    def __str__(self) -> str:
        return table_text(self.rows())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return table_html(self.rows())


def list_layers(recording: Recording, table: Table) -> Layers:
    """Return the layers with maps of a recording of the whole net."""
    tape = recording.tape
    records = [record for record in recording.records().values() if record.value is not None]
    layers = [_layer(tape, record, table) for record in records if tape.map_axes(record.number)[0] is not None]
    paper = {layer: name for name, layer in paper_layers(recording.name).items()}
    rectified, scanned, default = rectified_values(tape), choose_layers(recording, None), _default(recording)
    return Layers(
        [
            replace(
                layer,
                alias=paper.get(layer.name, ""),
                rectified=recording.value(layer.name) in rectified,
                scanned=layer.name in scanned,
                default=layer.name == default,
            )
            for layer in layers
        ]
    )


def _default(recording: Recording) -> str | None:
    """Return the layer that is taken where none is named; None where there is none."""
    try:
        return default_layer(recording)
    except UnknownLayerError:
        return None


def _layer(tape: Tape, record: LayerRecord, table: Table) -> Layer:
    shape, axes = tape.shapes[record.number], tape.axes[record.number]
    height, width = map_size(shape, axes)
    inside = {id(call) for call in tape.calls[record.first : record.last]}  # a layer's own, and of those what a signal meets
    below = [(call, status(call, table.rule_for(call.func, call.layer))) for call in calls_below(tape, record.number)]
    statuses = {text for call, text in below if id(call) in inside or text == NO_RULE}
    loosest = max(statuses, key=[*STATUSES, NO_RULE].index, default="exact")
    field, stride = field_and_stride(tape, record.number)
    pools = pools_below(tape, record.number)
    channels = shape[axes[0] or 0]
    is_own = axes == SIGNAL or isinstance(axes, VolumeAxes)
    output = tuple(shape[1:]) if is_own else (channels, height, width)
    return Layer(record.name, record.kind, channels, height, width, field, stride, pools.count, pools.reach, loosest, output)
