"""The strongest units of chosen channels over a set of pictures, and their projections: what a row of Figure 4 shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..crops import energy_boxes, recut
from ..errors import OptionError
from ..net import DeconvNet
from ..recording import Recording
from ..select import check_unit
from ..units import Unit, Window
from .arrays import Floats
from .evolve_result import LayerEvolution
from .forward import layer_maps, map_maxima


def choose_channels(
    net: DeconvNet,
    images: Tensor,
    recording: Recording,
    layers: Sequence[str],
    channels: Sequence[int] | None,
    count: int,
    seed: int,
) -> dict[str, list[int]]:
    """Return the channels of each layer: those asked for, or random ones that the pictures excite."""
    if channels is not None:
        for layer in layers:
            for channel in channels:
                check_unit(Unit(layer, channel), layer_maps(recording, layer).shape[1:])
        return {layer: list(channels) for layer in layers}
    if count < 1:
        raise OptionError(f"count cannot be {count}: it is the number of channels of each layer, 1 or more.")
    rng = np.random.default_rng(seed)
    maxima = map_maxima(net, images, recording, layers)
    return {layer: _random_channels(rng, maxima[layer][0], count) for layer in layers}


def _random_channels(rng: np.random.Generator, maxima: Floats, count: int) -> list[int]:
    """Choose channels that an image excites; maxima: (N, C') of each image's maps."""
    alive = np.flatnonzero(maxima.max(0) > 0)
    alive = alive if len(alive) else np.arange(maxima.shape[1])
    return sorted(rng.choice(alive, min(count, len(alive)), replace=False).tolist())


@dataclass(frozen=True, eq=False)
class ShownUnit:
    """A channel's strongest unit at one checkpoint."""

    unit: Unit  # in the recording of its picture
    image: int  # the picture's number
    window: Window  # what it can reach
    part: Floats  # (C, h, w): its projection, where the window lies in the frame


def strongest_units(
    net: DeconvNet, images: Tensor, recording: Recording, chosen: Mapping[str, Sequence[int]]
) -> dict[str, list[ShownUnit]]:
    """Return the strongest units of the channels of each layer over all images, at one checkpoint."""
    maxima = map_maxima(net, images, recording, list(chosen))
    shown = {}
    for layer, channels in chosen.items():
        values, positions = maxima[layer]
        width = layer_maps(recording, layer).shape[3]
        strongest = [int(values[:, channel].argmax()) for channel in channels]
        numbers = sorted(set(strongest))
        units = [
            Unit(layer, channel, *divmod(int(positions[image, channel]), width), image=numbers.index(image))
            for channel, image in zip(channels, strongest, strict=True)
        ]
        projection = net.project(net.record(images[numbers], layers=[layer]), layer, units=units)
        rows = zip(projection.units, strongest, projection.windows, projection.crops(), strict=True)
        frame = images.shape[2:]
        shown[layer] = [
            ShownUnit(unit, image, window, recut(crop.numpy(), window, window.clip(*frame)))
            for unit, image, window, crop in rows
        ]
    return shown


def layer_evolution(
    layer: str, channels: Sequence[int], snapshots: Sequence[Sequence[ShownUnit]], frame: Sequence[int]
) -> LayerEvolution:
    """Put one layer's units of all checkpoints together; all crops are of one size.

    Args:
        layer: the layer's name.
        channels: its K channels.
        snapshots: for each checkpoint the K units.
        frame: (height, width) of the images.
    """
    every = [shown for row in snapshots for shown in row]
    boxes = energy_boxes([shown.part for shown in every], [shown.window for shown in every], frame)
    shape = len(snapshots), len(channels)
    crops = np.stack([recut(shown.part, shown.window.clip(*frame), box) for shown, box in zip(every, boxes, strict=True)])
    return LayerEvolution(
        layer=layer,
        channels=np.array(channels),
        activations=np.array([[shown.unit.activation for shown in row] for row in snapshots]),
        images=np.array([[shown.image for shown in row] for row in snapshots]),
        rows=np.array([[shown.unit.row for shown in row] for row in snapshots]),
        cols=np.array([[shown.unit.col for shown in row] for row in snapshots]),
        windows=np.array([box.to_list() for box in boxes]).reshape(*shape, 4),
        crops=crops.reshape(*shape, *crops.shape[1:]),
    )
