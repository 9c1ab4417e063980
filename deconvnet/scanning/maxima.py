"""One forward pass of a batch, stopped at the deepest layer: of each channel the maximum, and where it stands if it matters.

Reduction happens where the activations are, while they are hot: a later call in place may write over them. On a CPU the
places are looked up only for maxima that reach the floor, the weakest of the channel's best so far; on a GPU, where a
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

#: torch reduces many channels at a time where their number is a multiple of this, and one by one where it is not.
WIDE = 32


#: Calls that are ReLU to the bit, whatever rule they are mirrored by.
RELUS = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


class _Stop(BaseException):
    """Ends a forward pass after the deepest layer; no model's `except Exception` catches it."""


@dataclass(frozen=True)
class ScannedLayer:
    """A layer that is scanned: its name, its size, and which channels of the scan are its own."""

    name: str
    channels: int
    height: int
    width: int
    first: int  # the number of its first channel among all that are scanned
    layout: Layout
    rectifies: str | None = None  # the scanned layer whose values, rectified by ReLU, are this one's
    is_call: bool = False  # a functional call, which module hooks do not see, or a module that shares its name with one
    windows: dict[int, list[int]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def own(self) -> slice:
        """Its channels among all."""
        return slice(self.first, self.first + self.channels)


@dataclass
class Maxima:
    """Of B pictures and all C channels that are scanned: maxima (B, C), NaN taken as -inf, and places (row * W' + col).

    `places` are -1 where the maximum does not reach the floor.
    """

    scores: npt.NDArray[np.float32]
    places: npt.NDArray[np.int32]


def scanned_layers(recording: Recording, names: Sequence[str]) -> list[ScannedLayer]:
    """Look layers up in a recording of the whole net."""
    layers, first = [], 0
    by_value = {recording.value(name): name for name in names}
    calls = {_numberless(place.name) for place in recording.places().values() if place.is_call}
    for name in dict.fromkeys(names):
        place, shape, layout = recording.place(name), recording.tape.shapes[recording.value(name)], recording.layout(name)
        as_maps(torch.empty(shape, device="meta"), layout, name)  # refuses what has no maps
        height, width = map_size(shape, layout)
        is_call = place.is_call or _numberless(name) in calls
        below = _rectified(recording.tape, recording.value(name), by_value)
        layers.append(ScannedLayer(name, shape[layout[0] or 1], height, width, first, layout, below, is_call))
        first += layers[-1].channels
    return layers


def _rectified(tape: Tape, value: int, by_value: dict[int, str]) -> str | None:
    """Return the layer that a value is the ReLU of, if it is one of those that are scanned."""
    call = tape.calls[tape.makers[value]] if value in tape.makers else None
    return by_value.get(call.inputs[0]) if call and call.func in RELUS and call.inputs else None


def _numberless(name: str) -> str:
    """Return what a layer is called before calls are numbered: "relu" for "relu", "relu_1" and "relu_1[0]"."""
    return re.sub(r"_\d+$", "", name.partition("[")[0])


class MaximaReducer:
    """Runs batches of images, of `size` (C, H, W), through a net and reduces the layers' activations."""

    def __init__(self, net: DeconvNet, layers: Sequence[ScannedLayer], size: tuple[int, int, int]) -> None:
        self.net, self.layers, self.size = net, tuple(layers), size
        self.count = sum(layer.channels for layer in layers)
        parameter = next(net.model.parameters(), torch.zeros(1))
        self.device, self.dtype = parameter.device, parameter.dtype
        self.order = torch.channels_last
        self._calls = any(layer.is_call for layer in layers)

    def __call__(self, images: Tensor, floor: npt.NDArray[np.float32]) -> Maxima:
        """Reduce a batch (B, C, H, W); `floor` (C,) is the score that a channel's entry must reach."""
        images = images.to(self.device, self.dtype)
        take = MaximaBuffer(self.layers, len(images), self.count, floor, self.device)
        try:
            self._forward(images.contiguous(memory_format=self.order), take)
        except RuntimeError as error:
            if "view" not in str(error) or self.order is torch.contiguous_format:
                raise
            self.order = torch.contiguous_format  # a model that views its maps as rows needs them in that order
            return self(images, floor)
        return take.maxima()

    @torch.inference_mode()
    def _forward(self, images: Tensor, take: MaximaBuffer) -> None:
        if self._calls:
            names = [layer.name for layer in self.layers]
            run_model(self.net.model, images, {}, names, keep=take)
            return
        with eval_mode(self.net.model), same_buffers(self.net.model), _hooks(self.net.model, take), suppress(_Stop):
            self.net.model(images)


class MaximaBuffer:
    """Takes each layer's activations as they are made."""

    def __init__(self, layers: Sequence[ScannedLayer], batch: int, count: int, floor: Any, device: torch.device) -> None:
        self.layers, self.floor, self.on_cpu = {layer.name: layer for layer in layers}, floor, device.type == "cpu"
        self.waiting = set(self.layers)
        self.scores = np.full((batch, count), -np.inf, np.float32)
        self.places = np.full((batch, count), -1, np.int32)
        self.later: list[tuple[ScannedLayer, Tensor, Tensor]] = []

    def __call__(self, name: str, activations: Tensor) -> None:
        """Take one layer\'s activations."""
        layer = self.layers[name]
        maps = as_maps(activations, layer.layout, name)
        self.waiting.discard(name)
        if self.on_cpu and layer.rectifies and layer.rectifies not in self.waiting:
            self._rectify(layer, self.layers[layer.rectifies], maps)
        elif self.on_cpu:
            self._reduce(layer, maps)
        else:
            self.later.append((layer, *maps.flatten(2).max(2)))

    def _reduce(self, layer: ScannedLayer, maps: Tensor) -> None:
        rows = row_maxima(maps)
        scores = rows.amax(1).float().numpy()
        self.scores[:, layer.own] = scores
        images, channels = np.nonzero(scores >= self.floor[layer.own])  # of a NaN this is false
        if len(images):
            at, of = torch.from_numpy(images), torch.from_numpy(channels)
            row = rows[at, :, of].argmax(1)  # the first row that has the maximum, and the first place in it
            col = maps[at, of, row].argmax(1)
            self.places[images, layer.first + channels] = (row * maps.shape[3] + col).numpy()

    def _rectify(self, layer: ScannedLayer, below: ScannedLayer, maps: Tensor) -> None:
        """ReLU keeps the order: a maximum above 0 stands where it stood; any other is 0 all over, from the first place on."""
        scores = np.maximum(self.scores[:, below.own], 0)
        reaching = scores >= self.floor[layer.own]
        places = np.where(scores > 0, self.places[:, below.own], 0)
        images, channels = np.nonzero(reaching & (places < 0))  # the layer below had a higher floor
        if len(images):
            places[images, channels] = maps[torch.from_numpy(images), torch.from_numpy(channels)].flatten(1).argmax(1).numpy()
        self.scores[:, layer.own], self.places[:, layer.own] = scores, np.where(reaching, places, -1)

    def maxima(self) -> Maxima:
        """Return what was found, once all layers have been taken."""
        for layer, scores, places in self.later:
            values = scores.float().cpu().numpy()
            self.scores[:, layer.own] = values
            self.places[:, layer.own] = np.where(values >= self.floor[layer.own], places.cpu().numpy(), -1)
        np.copyto(self.scores, -np.inf, where=np.isnan(self.scores))
        return Maxima(self.scores, self.places)


def row_maxima(maps: Tensor) -> Tensor:
    """Return the maximum of each row of each map, (B, C, H', W') -> (B, H', C).

    Rows, and not whole maps at once: a place is then looked up in a column of maxima and in one row.
    """
    if not maps.is_contiguous(memory_format=torch.channels_last) or maps.shape[1] == 1:
        return maps.amax(3).transpose(1, 2)
    maps = maps.permute(0, 2, 3, 1)  # a view: neighbours in memory are channels
    width, channels = maps.shape[2:]
    together = WIDE // math.gcd(channels, WIDE)  # columns that make a multiple of it
    if together == 1 or channels > 4 * WIDE or width < 2 * together:
        return maps.amax(2)
    images, height, even = *maps.shape[:2], width // together
    wide = maps[:, :, : even * together].reshape(images, height, even, together * channels)  # still a view
    found = wide.amax(2).view(images, height, together, channels).amax(2)
    rest = maps[:, :, even * together :]
    return torch.maximum(found, rest.amax(2)) if rest.shape[2] else found


@contextmanager
def _hooks(model: nn.Module, take: MaximaBuffer) -> Iterator[None]:
    """Hand each layer's output to `take`, and stop after the last; names are those of `Recording`."""
    calls: Counter[str] = Counter()
    modules = dict(model.named_modules())
    wanted = defaultdict(set)
    for name in take.layers:
        wanted[_module_of(name, modules)].add(name)

    def hook(path: str, module: nn.Module, inputs: Any, output: Any) -> None:
        while calls[path] and f"{path}_{calls[path]}" in modules:  # that name is taken
            calls[path] += 1
        name = f"{path}_{calls[path]}" if calls[path] else path
        calls[path] += 1
        for suffix, tensor in named_tensors(output):
            if name + suffix in take.waiting:
                take(name + suffix, tensor)
        if not take.waiting:
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


def windows_of(recording: Recording, layer: ScannedLayer, places: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the windows (P, 4) of units at `places` (P,): top, left, height, width; each place is looked up once."""
    new = sorted(set(places.tolist()).difference(layer.windows))
    if new:
        tape, value, at = recording.tape, recording.value(layer.name), [divmod(place, layer.width) for place in new]
        if can_start(tape, value):
            found = unit_windows(tape, value, at)
        else:
            found = [unit_window(tape, value, Unit(layer.name, 0, *place)) for place in at]
        layer.windows.update(zip(new, (window.to_list() for window in found), strict=True))
    return np.array([layer.windows[place] for place in places.tolist()], np.int64).reshape(-1, 4)
