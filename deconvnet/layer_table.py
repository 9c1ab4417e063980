"""The layers of a net as a table: names, sizes, receptive fields, and how each is mirrored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from .axes import SIGNAL, VolumeAxes, map_size
from .errors import UnknownLayerError, did_you_mean
from .forward import LayerRecord
from .mirror import calls_below, status
from .reach import field_and_stride, pools_below
from .recording import Recording
from .render.table import table_html, table_text
from .render.text import size_text
from .rules import STATUSES, Table
from .tape import Tape


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
        status: its rule's status; of a container, the loosest of the rules inside; "no rule" where one is missing.
        output: its own size without the batch axis: (C, H, W), of a signal (C, L), of a volume (C, D, H, W), whose slices
            `height` counts as stacked.
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


class Layers(Sequence[Layer]):
    """The layers of a net, in the order in which they finish: by number, or by name. Prints as a table.

    >>> net.layers()["features.4"].channels
    64
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(layers)
        self._by_name = {layer.name: layer for layer in self._layers}

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
            if key not in self._by_name:
                raise UnknownLayerError(f"there is no layer {key!r} with maps.{did_you_mean(key, self._by_name)}")
            return self._by_name[key]
        return Layers(self._layers[key]) if isinstance(key, slice) else self._layers[key]

    def __contains__(self, key: object) -> bool:
        return key in self._by_name if isinstance(key, str) else key in self._layers

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's rows, the heading first."""
        rows: list[tuple[str, ...]] = [("layer", "kind", "output", "field", "stride", "pools", "reach", "status")]
        for layer in self:
            sizes = [size_text(size) for size in (layer.receptive_field, layer.stride, layer.reach)]
            if len(layer.output) == 4:  # windows have rows and columns only
                sizes = ["whole", "-", "-"]
            output = size_text(layer.output)
            field, stride, reach = sizes
            rows.append((layer.name, layer.kind, output, field, stride, str(layer.pools), reach, layer.status))
        return rows

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
    return Layers([_layer(recording.tape, record, table) for record in records if tape.map_axes(record.number)[0] is not None])


def _layer(tape: Tape, record: LayerRecord, table: Table) -> Layer:
    shape, axes = tape.shapes[record.number], tape.axes[record.number]
    height, width = map_size(shape, axes)
    inside = {id(call) for call in tape.calls[record.first : record.last]}  # a layer's own, and of those what a signal meets
    calls = [call for call in calls_below(tape, record.number) if id(call) in inside]
    statuses = {status(call, table.rule_for(call.func, call.layer)) for call in calls}
    loosest = max(statuses, key=[*STATUSES, "no rule"].index, default="exact")
    field, stride = field_and_stride(tape, record.number)
    pools = pools_below(tape, record.number)
    channels = shape[axes[0] or 0]
    is_own = axes == SIGNAL or isinstance(axes, VolumeAxes)
    output = tuple(shape[1:]) if is_own else (channels, height, width)
    return Layer(record.name, record.kind, channels, height, width, field, stride, pools.count, pools.reach, loosest, output)
