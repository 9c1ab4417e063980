"""One forward pass of a batch, reduced to the maximum of each channel, and its position if it matters.

Activations are reduced as they are made, while they are in the caches: a later call in place may overwrite them. On a CPU
positions are looked up only for maxima that reach the floor, the weakest of the channel's best so far; on a GPU, where a
comparison would have to wait for the device, they come with the maxima, and stay there (`device_table.py`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..axes import Axes, as_maps, map_size
from ..choices import Precision
from ..errors import DeconvnetWarning, OptionError
from ..forward import ForwardEngine, LayerRecord
from ..net import DeconvNet
from ..projection import inside_part, unit_window
from ..recording import Recording
from ..units import Unit, Window
from ..windowed import can_start, evenly_placed
from .derived import Derived, find_derived, first_layers
from .precision import computing

#: torch reduces several channels at once where their number is a multiple of this, and one at a time where it is not.
VECTOR_CHANNELS = 32


@dataclass(frozen=True)
class ScannedLayer:
    """A layer that is scanned.

    Attributes:
        name: as in a recording.
        channels: how many it has.
        height: of its maps.
        width: of its maps.
        first: the number of its first channel among the channels of all scanned layers.
        axes: of its activations.
        record: where its values come from.
        derived: how its maxima follow from those of other scanned layers, if they do.
        inside: the first row and column, and the height and width, of the part of its maps that is scanned; None: all of it.
        windows: of units, by position: `find_windows` keeps them here.
    """

    name: str
    channels: int
    height: int
    width: int
    first: int
    axes: Axes
    record: LayerRecord
    derived: Derived | None = None
    inside: Window | None = None
    windows: dict[int, tuple[int, int, int, int]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def span(self) -> slice:
        """Its channels among those of all scanned layers."""
        return slice(self.first, self.first + self.channels)

    def scanned_maps(self, activations: Tensor) -> Tensor:
        """Return the layer's activations as maps (B, C, H', W'), the part of them that is scanned."""
        maps, part = as_maps(activations, self.axes, self.name), self.inside
        return maps if part is None else maps[:, :, part.top : part.bottom, part.left : part.right]

    @property
    def first_position(self) -> int:
        """The first position of the part that is scanned."""
        return int(self.positions(np.zeros(1, np.int64))[0])

    def positions(self, scanned: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """Return positions in the part that is scanned as positions in the map: row * W' + col."""
        if self.inside is None:
            return scanned
        rows, cols = np.divmod(scanned, self.inside.width)
        return (rows + self.inside.top) * self.width + cols + self.inside.left


@dataclass(eq=False)
class Maxima:
    """The maxima of B pictures in all C scanned channels.

    Attributes:
        scores: (B, C), -inf for a map with a NaN.
        positions: (B, C), row * W' + col of each maximum; -1 where it does not reach the floor.
    """

    scores: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int32]


def scanned_layers(recording: Recording, names: Sequence[str], *, inside: bool = False) -> list[ScannedLayer]:
    """Look layers up in a recording of the whole net.

    Args:
        recording: of the whole net.
        names: the layers' names.
        inside: scan units only whose window lies inside the picture; layers without any are left out.

    Raises:
        UnknownLayerError: the net has no layer of that name.
        UnitError: the layer has no maps.
        OptionError: no layer has a unit whose window lies inside the picture.
    """
    layers, first = [], 0
    by_value = first_layers(recording, names)
    for name in dict.fromkeys(names):
        record, shape, axes = recording.record(name), recording.tape.shapes[recording.value(name)], recording.axes(name)
        as_maps(torch.empty(shape, device="meta"), axes, name)  # raises for what has no maps
        height, width = map_size(shape, axes)
        derived = find_derived(recording, name, by_value, whole=not inside)
        part = inside_part(recording.tape, recording.value(name), (height, width)) if inside else None
        if part is None or part.height:
            layers.append(ScannedLayer(name, shape[axes[0] or 1], height, width, first, axes, record, derived, part))
            first += layers[-1].channels
    if names and not layers:
        raise OptionError(
            "no unit of these layers has a window inside the picture. Name earlier layers, or leave `inside` out."
        )
    return layers


class MaximaReducer:
    """Runs batches of images through a net and reduces the activations of its layers.

    Args:
        net: the net.
        layers: those to reduce.
        size: (C, H, W) of the images.
        written: the parameters that the net's forward writes to, from a recording of it.
        precision: what the net computes with.
        draws: whether the net's forward draws random numbers.
    """

    def __init__(
        self,
        net: DeconvNet,
        layers: Sequence[ScannedLayer],
        size: tuple[int, int, int],
        written: Sequence[Tensor] = (),
        precision: Precision = "fp32",
        *,
        draws: bool = False,
    ) -> None:
        self.net, self.layers, self.size, self.written = net, tuple(layers), size, tuple(written)
        self.precision, self.draws = precision, draws
        self.channels = sum(layer.channels for layer in layers)
        self.engine = ForwardEngine(net.model, [layer.record for layer in layers], stop=True, written=written)

    def for_net(self, net: DeconvNet) -> MaximaReducer:
        """Return a reducer like this one for another net of the same parts, such as a copy on another device."""
        names = {id(parameter): name for name, parameter in self.net.model.named_parameters()}
        parameters = dict(net.model.named_parameters())
        written = [parameters[names[id(parameter)]] for parameter in self.written]
        return MaximaReducer(net, self.layers, self.size, written, self.precision, draws=self.draws)

    @property
    def device(self) -> torch.device:
        """Where the net is."""
        return self.engine.device

    @property
    def is_on_device(self) -> bool:
        """Whether maxima stay on a device, where a comparison would have to be waited for."""
        return self.device.type != "cpu"

    @property
    def can_be_copied(self) -> bool:
        """Whether copies that share the weights give the same maxima, whichever of them takes a batch."""
        return not (self.written or self.draws)

    def __call__(self, images: Tensor, floor: npt.NDArray[np.float32]) -> Maxima:
        """Reduce a batch (B, C, H, W); `floor` (C,) is the score that a channel's entry must reach."""
        return self._buffer(images, floor).maxima()

    def scores(self, images: Tensor) -> npt.NDArray[np.float32]:
        """Return the maxima (B, C) alone, NaN for a map with a NaN, of which nothing is said."""
        return self._buffer(images, np.full(self.channels, np.inf, np.float32)).scores

    def _buffer(self, images: Tensor, floor: npt.NDArray[np.float32]) -> MaximaBuffer:
        buffer = MaximaBuffer(self.layers, len(images), self.channels, floor)
        with computing(self.precision, self.device):
            self.engine(images, buffer)
        return buffer

    def tensors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Reduce a batch (B, C, H, W), and leave the result where it is.

        Returns:
            scores (B, C), float32, NaN for a map with a NaN; and positions (B, C) in the part of the maps that is scanned.
        """
        layers = {layer.name: layer for layer in self.layers}
        taken: dict[str, tuple[Tensor, Tensor]] = {}

        def take(name: str, activations: Tensor) -> None:
            taken[name] = layers[name].scanned_maps(activations).flatten(2).max(2)

        with computing(self.precision, self.device):
            self.engine(images, take)
        scores, positions = zip(*(taken[name] for name in layers), strict=True)
        return torch.cat([values.float() for values in scores], 1), torch.cat(positions, 1)


class MaximaBuffer:
    """Takes the activations of a batch layer by layer, as they are made."""

    def __init__(
        self,
        layers: Sequence[ScannedLayer],
        batch: int,
        channels: int,
        floor: npt.NDArray[np.float32],
    ) -> None:
        self.layers, self.floor = {layer.name: layer for layer in layers}, floor
        self.waiting = set(self.layers)
        self.scores = np.full((batch, channels), -np.inf, np.float32)
        self.positions = np.full((batch, channels), -1, np.int32)

    def __call__(self, name: str, activations: Tensor) -> None:
        """Take the activations of one layer."""
        layer = self.layers[name]
        self.waiting.discard(name)
        if layer.derived and self.waiting.isdisjoint(layer.derived.layers):
            self._derive(layer, layer.derived, activations)
        else:
            self._reduce(layer, layer.scanned_maps(activations))

    def _reduce(self, layer: ScannedLayer, maps: Tensor) -> None:
        rows = row_maxima(maps)
        scores = rows.amax(1).float().numpy()
        self.scores[:, layer.span] = scores
        images, channels = np.nonzero(scores >= self.floor[layer.span])  # False for a NaN
        if len(images):
            image, channel = torch.from_numpy(images), torch.from_numpy(channels)
            row = rows[image, :, channel].argmax(1)  # the first row that has the maximum, and the first column in it
            col = maps[image, channel, row].argmax(1)
            self.positions[images, layer.first + channels] = layer.positions((row * maps.shape[3] + col).numpy())

    def _derive(self, layer: ScannedLayer, derived: Derived, activations: Tensor) -> None:
        """Take the maxima from those of other layers; look at the maps only for positions that these do not tell."""
        spans = [self.layers[name].span for name in derived.layers]
        scores, positions = (_columns(values, spans) for values in (self.scores, self.positions))
        if derived.how == "rectified":
            positions = np.where(scores > 0, positions, layer.first_position)  # a map without a value above 0 is 0 everywhere
            scores = np.maximum(scores, 0)
        reaching = scores >= self.floor[layer.span]
        if derived.how == "pooled":
            rows = derived.first_rows(positions // self.layers[derived.layers[0]].width)
            positions = self._in_rows(layer.scanned_maps(activations), np.where(reaching & (positions >= 0), rows, -1))
        positions = np.where(reaching, positions, -1)
        images, channels = np.nonzero(reaching & (positions < 0))  # the layer below had a higher floor
        if len(images):
            chosen = layer.scanned_maps(activations)[torch.from_numpy(images), torch.from_numpy(channels)]
            positions[images, channels] = layer.positions(chosen.flatten(1).argmax(1).numpy())
        self.scores[:, layer.span], self.positions[:, layer.span] = scores, positions

    def _in_rows(self, maps: Tensor, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """Return the positions of the maxima of maps (B, C, H', W'), whose rows (B, C) are known; -1 where the row is."""
        positions = np.full(rows.shape, -1, np.int32)
        images, channels = np.nonzero(rows >= 0)
        chosen = rows[images, channels]
        row = maps[torch.from_numpy(images), torch.from_numpy(channels), torch.from_numpy(chosen)]
        positions[images, channels] = chosen * maps.shape[3] + row.argmax(1).numpy()
        return positions

    def maxima(self) -> Maxima:
        """Return the maxima, once all layers have been taken."""
        is_nan = np.isnan(self.scores)
        if is_nan.any():
            self._say_nan(is_nan)
            np.copyto(self.scores, -np.inf, where=is_nan)
        return Maxima(self.scores, self.positions)

    def _say_nan(self, is_nan: npt.NDArray[np.bool_]) -> None:
        for layer in self.layers.values():
            if is_nan[:, layer.span].any():
                say_nan(layer.name)


def _columns(values: npt.NDArray[Any], spans: Sequence[slice]) -> npt.NDArray[Any]:
    """Return the columns of these spans, one after the other: a view where there is one."""
    return values[:, spans[0]] if len(spans) == 1 else np.concatenate([values[:, span] for span in spans], 1)


def say_nan(layer: str) -> None:
    """Say that activations of a layer are NaN: the same line each time, which Python prints once."""
    warnings.warn(
        f"layer {layer!r} has maps whose maximum is NaN: they count as not firing. Look for what overflows.",
        DeconvnetWarning,
        stacklevel=2,
    )


def row_maxima(maps: Tensor) -> Tensor:
    """Return the maximum of each row of each map, (B, C, H', W') -> (B, H', C).

    Of rows, not of whole maps: a position is then looked up in a column of maxima and in one row.
    """
    if not maps.is_contiguous(memory_format=torch.channels_last) or maps.shape[1] == 1:
        return maps.amax(3).transpose(1, 2)
    maps = maps.permute(0, 2, 3, 1)  # a view: channels are neighbours in memory
    width, channels = maps.shape[2:]
    group = VECTOR_CHANNELS // math.gcd(channels, VECTOR_CHANNELS)  # columns whose channels make a multiple of it
    if group == 1 or channels > 4 * VECTOR_CHANNELS or width < 2 * group:
        return maps.amax(2)
    images, height, groups = *maps.shape[:2], width // group
    grouped = maps[:, :, : groups * group].reshape(images, height, groups, group * channels)  # still a view
    maxima = grouped.amax(2).view(images, height, group, channels).amax(2)
    rest = maps[:, :, groups * group :]
    return torch.maximum(maxima, rest.amax(2)) if rest.shape[2] else maxima


def find_windows(recording: Recording, layer: ScannedLayer, positions: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return the windows (P, 4) of units at `positions` (P,): top, left, height, width; each is computed once per layer."""
    tape, value = recording.tape, recording.value(layer.name)
    evenly = evenly_placed(tape, value) if can_start(tape, value) else None
    if evenly is not None:
        first, down, right = evenly
        rows, cols = np.divmod(positions.astype(np.int64), layer.width)
        sides = (np.full_like(rows, side) for side in (first.height, first.width))
        return np.stack([first.top + down * rows, first.left + right * cols, *sides], 1)
    for position in sorted(set(positions.tolist()).difference(layer.windows)):
        window = unit_window(tape, value, Unit(layer.name, 0, *divmod(position, layer.width)))
        layer.windows[position] = window.top, window.left, window.height, window.width
    return np.array([layer.windows[position] for position in positions.tolist()], np.int64).reshape(-1, 4)
