"""One forward pass of a batch, reduced to the maximum of each channel, and its position if it matters.

Activations are reduced as they are made, while they are in the caches: a later call in place may overwrite them. On a CPU
positions are looked up only for maxima that reach the floor, the weakest of the channel's best so far; on a GPU, where a
comparison would have to wait for the device, they come with the maxima.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..net import DeconvNet
from ..projection import as_maps, unit_window
from ..receptive_field import Layout, map_size
from ..recording import Recording, eval_mode, named_tensors, run_model, same_buffers
from ..tape import Tape
from ..units import Unit
from ..windowed import can_start, unit_windows

#: torch reduces several channels at once where their number is a multiple of this, and one at a time where it is not.
VECTOR_CHANNELS = 32


#: Calls that equal ReLU to the bit, whichever rule they are mirrored by.
RELU_CALLS = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


class _Stop(BaseException):
    """Ends a forward pass after the deepest layer; no model's `except Exception` catches it."""


@dataclass(frozen=True)
class ScannedLayer:
    """A layer that is scanned.

    Attributes:
        name: as in a recording.
        channels: how many it has.
        height: of its maps.
        width: of its maps.
        first: the number of its first channel among the channels of all scanned layers.
        layout: the axes of its activations.
        rectifies: the scanned layer whose values, rectified by ReLU, are this layer's.
        is_call: whether it is a functional call, which module hooks do not see, or a module with the name of one.
        windows: of units, by position: `find_windows` keeps them here.
    """

    name: str
    channels: int
    height: int
    width: int
    first: int
    layout: Layout
    rectifies: str | None = None
    is_call: bool = False
    windows: dict[int, list[int]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def span(self) -> slice:
        """Its channels among those of all scanned layers."""
        return slice(self.first, self.first + self.channels)


@dataclass(eq=False)
class Maxima:
    """The maxima of B pictures in all C scanned channels.

    Attributes:
        scores: (B, C), -inf for a map with a NaN.
        positions: (B, C), row * W' + col of each maximum; -1 where it does not reach the floor.
    """

    scores: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int32]


def scanned_layers(recording: Recording, names: Sequence[str]) -> list[ScannedLayer]:
    """Look layers up in a recording of the whole net.

    Raises:
        UnknownLayerError: the net has no layer of that name.
        UnitError: the layer has no maps.
    """
    layers, first = [], 0
    by_value = {recording.value(name): name for name in names}
    calls = {_numberless(record.name) for record in recording.places().values() if record.is_call}
    for name in dict.fromkeys(names):
        record, shape, layout = recording.place(name), recording.tape.shapes[recording.value(name)], recording.layout(name)
        as_maps(torch.empty(shape, device="meta"), layout, name)  # raises for what has no maps
        height, width = map_size(shape, layout)
        is_call = record.is_call or _numberless(name) in calls
        rectifies = _rectified_layer(recording.tape, recording.value(name), by_value)
        layers.append(ScannedLayer(name, shape[layout[0] or 1], height, width, first, layout, rectifies, is_call))
        first += layers[-1].channels
    return layers


def _rectified_layer(tape: Tape, value: int, by_value: dict[int, str]) -> str | None:
    """Return the scanned layer that a value is the ReLU of, if any."""
    call = tape.calls[tape.makers[value]] if value in tape.makers else None
    return by_value.get(call.inputs[0]) if call and call.func in RELU_CALLS and call.inputs else None


def _numberless(name: str) -> str:
    """Return a layer's name before calls are numbered: "relu" for "relu", "relu_1" and "relu_1[0]"."""
    return re.sub(r"_\d+$", "", name.partition("[")[0])


class MaximaReducer:
    """Runs batches of images through a net and reduces the activations of its layers.

    Args:
        net: the net.
        layers: those to reduce.
        size: (C, H, W) of the images.
    """

    def __init__(self, net: DeconvNet, layers: Sequence[ScannedLayer], size: tuple[int, int, int]) -> None:
        self.net, self.layers, self.size = net, tuple(layers), size
        self.channels = sum(layer.channels for layer in layers)
        parameter = next(net.model.parameters(), torch.zeros(1))
        self.device, self.dtype = parameter.device, parameter.dtype
        self.memory_format = torch.channels_last
        self._has_calls = any(layer.is_call for layer in layers)

    def __call__(self, images: Tensor, floor: npt.NDArray[np.float32]) -> Maxima:
        """Reduce a batch (B, C, H, W); `floor` (C,) is the score that a channel's entry must reach."""
        images = images.to(self.device, self.dtype)
        buffer = MaximaBuffer(self.layers, len(images), self.channels, floor, self.device)
        try:
            self._forward(images.contiguous(memory_format=self.memory_format), buffer)
        except RuntimeError as error:
            if "view" not in str(error) or self.memory_format is torch.contiguous_format:
                raise
            self.memory_format = torch.contiguous_format  # the model views its maps as rows, which needs them in that format
            return self(images, floor)
        return buffer.maxima()

    @torch.inference_mode()
    def _forward(self, images: Tensor, buffer: MaximaBuffer) -> None:
        if self._has_calls:
            names = [layer.name for layer in self.layers]
            run_model(self.net.model, images, {}, names, keep=buffer)
            return
        with eval_mode(self.net.model), same_buffers(self.net.model), _hooks(self.net.model, buffer), suppress(_Stop):
            self.net.model(images)


class MaximaBuffer:
    """Takes the activations of a batch layer by layer, as they are made."""

    def __init__(
        self,
        layers: Sequence[ScannedLayer],
        batch: int,
        channels: int,
        floor: npt.NDArray[np.float32],
        device: torch.device,
    ) -> None:
        self.layers, self.floor, self.on_cpu = {layer.name: layer for layer in layers}, floor, device.type == "cpu"
        self.waiting = set(self.layers)
        self.scores = np.full((batch, channels), -np.inf, np.float32)
        self.positions = np.full((batch, channels), -1, np.int32)
        self.on_device: list[tuple[ScannedLayer, Tensor, Tensor]] = []

    def __call__(self, name: str, activations: Tensor) -> None:
        """Take the activations of one layer."""
        layer = self.layers[name]
        maps = as_maps(activations, layer.layout, name)
        self.waiting.discard(name)
        if not self.on_cpu:
            self.on_device.append((layer, *maps.flatten(2).max(2)))
        elif layer.rectifies and layer.rectifies not in self.waiting:
            self._rectify(layer, self.layers[layer.rectifies], maps)
        else:
            self._reduce(layer, maps)

    def _reduce(self, layer: ScannedLayer, maps: Tensor) -> None:
        rows = row_maxima(maps)
        scores = rows.amax(1).float().numpy()
        self.scores[:, layer.span] = scores
        images, channels = np.nonzero(scores >= self.floor[layer.span])  # False for a NaN
        if len(images):
            image, channel = torch.from_numpy(images), torch.from_numpy(channels)
            row = rows[image, :, channel].argmax(1)  # the first row that has the maximum, and the first column in it
            col = maps[image, channel, row].argmax(1)
            self.positions[images, layer.first + channels] = (row * maps.shape[3] + col).numpy()

    def _rectify(self, layer: ScannedLayer, below: ScannedLayer, maps: Tensor) -> None:
        """Take the maxima of the layer below: ReLU leaves one above 0 where it is; a map without one is 0 everywhere."""
        scores = np.maximum(self.scores[:, below.span], 0)
        reaching = scores >= self.floor[layer.span]
        positions = np.where(scores > 0, self.positions[:, below.span], 0)
        images, channels = np.nonzero(reaching & (positions < 0))  # the layer below had a higher floor
        if len(images):
            chosen = maps[torch.from_numpy(images), torch.from_numpy(channels)]
            positions[images, channels] = chosen.flatten(1).argmax(1).numpy()
        self.scores[:, layer.span], self.positions[:, layer.span] = scores, np.where(reaching, positions, -1)

    def maxima(self) -> Maxima:
        """Return the maxima, once all layers have been taken."""
        for layer, scores, positions in self.on_device:
            values = scores.float().cpu().numpy()
            self.scores[:, layer.span] = values
            self.positions[:, layer.span] = np.where(values >= self.floor[layer.span], positions.cpu().numpy(), -1)
        np.copyto(self.scores, -np.inf, where=np.isnan(self.scores))
        return Maxima(self.scores, self.positions)


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


@contextmanager
def _hooks(model: nn.Module, buffer: MaximaBuffer) -> Iterator[None]:
    """Pass each layer's output to `buffer`, and stop after the last; names are those of `Recording`."""
    calls: Counter[str] = Counter()
    modules = dict(model.named_modules())
    wanted = defaultdict(set)
    for name in buffer.layers:
        wanted[_module_of(name, modules)].add(name)

    def hook(path: str, module: nn.Module, inputs: Any, output: Any) -> None:
        while calls[path] and f"{path}_{calls[path]}" in modules:  # that name is taken
            calls[path] += 1
        name = f"{path}_{calls[path]}" if calls[path] else path
        calls[path] += 1
        for suffix, tensor in named_tensors(output):
            if name + suffix in buffer.waiting:
                buffer(name + suffix, tensor)
        if not buffer.waiting:
            raise _Stop

    handles: list[Any] = []
    try:
        for path in wanted:
            handles.append(modules[path].register_forward_hook(partial(hook, path)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _module_of(name: str, modules: dict[str, nn.Module]) -> str:
    """Return the path of the module that makes a layer: "stage2[1]" is made by "stage2", "relu_1" by "relu"."""
    path = name.partition("[")[0]
    while path not in modules:
        path, _, number = path.rpartition("_")
        if not number.isdigit():
            raise KeyError(name)
    return path


def find_windows(recording: Recording, layer: ScannedLayer, positions: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return the windows (P, 4) of units at `positions` (P,): top, left, height, width; each is computed once per layer."""
    new = sorted(set(positions.tolist()).difference(layer.windows))
    if new:
        tape, value = recording.tape, recording.value(layer.name)
        units = [divmod(position, layer.width) for position in new]
        if can_start(tape, value):
            windows = unit_windows(tape, value, units)
        else:
            windows = [unit_window(tape, value, Unit(layer.name, 0, row, col)) for row, col in units]
        layer.windows.update(zip(new, (window.to_list() for window in windows), strict=True))
    return np.array([layer.windows[position] for position in positions.tolist()], np.int64).reshape(-1, 4)
