"""How features grow while a net learns (Zeiler & Fergus 2014, 4, Fig. 4): channels at a series of checkpoints, a row for each.

At each checkpoint a channel is shown by its strongest unit over a set of pictures, projected. As the paper says, a jump from
one row to the next comes from a change of the picture that excites the channel most; such rows are marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from tqdm import tqdm

from ..crops import cut_window, energy_boxes
from ..errors import OptionError
from ..inputs import PictureInputs, as_batch
from ..layers import check_layers, spread_layers
from ..models.weights import hash_file
from ..net import DeconvNet
from ..projection import PROGRESS_DELAY
from ..recording import Recording
from ..select import check_unit
from ..units import Unit, Window
from .arrays import Floats
from .checkpoints import Checkpoints, list_checkpoints, load_nets, packed_checkpoints
from .evolve_result import Evolution, LayerEvolution
from .forward import layer_maps, map_maxima
from .settings import study_settings

__all__ = ["Evolution", "LayerEvolution", "list_checkpoints", "run"]


def run(
    net: DeconvNet,
    pictures: PictureInputs,
    *,
    checkpoints: Checkpoints | None = None,
    layers: Sequence[str] | None = None,
    channels: Sequence[int] | None = None,
    count: int = 4,
    seed: int = 0,
) -> Evolution:
    """Follow channels through a series of checkpoints; the net itself is left as it is.

    Args:
        net: the net to study, of which the checkpoints are.
        pictures: one picture or several: paths, PIL pictures, drawings, or images (N, C, H, W) as the net expects them.
        checkpoints: weights files in order, a folder of them, or {name: file}; by default those of `tiny`'s training.
        layers: by default up to five rectified ones, evenly from the first to the last with maps.
        channels: the channels of each layer; by default `count` random ones among those that the pictures excite at the last
            checkpoint.
        count: random channels per layer.
        seed: of the random channels.

    Returns:
        The strongest units of each channel at each checkpoint, and their projections.

    Raises:
        PictureError: there is no picture, or one cannot be opened.
        UnknownLayerError: the net has no such layer.
        UnitError: a layer has no such channel.
        WeightsError: a checkpoint cannot be read, is of another net, or could not be downloaded.
        OptionError: there are no checkpoints, or another option's value is not possible.

        >>> evolve.run(net, pictures, checkpoints="runs/", layers=["features.13"]).layers[0].activations.shape
        (7, 4)
    """
    files = packed_checkpoints(net) if checkpoints is None else list_checkpoints(checkpoints)
    paths = list(files.values())
    images = as_batch(net, pictures)
    last = next(load_nets(net, paths[-1:]))
    recording = last.record(images[:1], stop=False)
    layers = list(dict.fromkeys(layers)) if layers else spread_layers(recording)
    check_layers(recording, layers)
    chosen = _choose_channels(last, images, recording, layers, channels, count, seed)
    nets = tqdm(load_nets(net, paths), total=len(paths), desc="checkpoints", delay=PROGRESS_DELAY, leave=False, disable=None)
    snapshots = [_strongest_units(at_checkpoint, images, recording, chosen) for at_checkpoint in nets]
    hashes = tuple(hash_file(path) for path in paths)
    settings = study_settings(
        net,
        "evolve",
        layers=layers,
        rules={layer: last.choose_rule(recording, layer).rule for layer in layers},
        pictures=len(images),
        seed=seed,
        checkpoints=dict(zip(files, hashes, strict=True)),
    )
    return Evolution(
        names=tuple(files),
        weights=hashes,
        layers=tuple(_layer_evolution(layer, chosen[layer], [units[layer] for units in snapshots]) for layer in layers),
        settings=settings | {"weights": hashes[-1]},
    )


def _choose_channels(
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
class _ShownUnit:
    """A channel's strongest unit at one checkpoint."""

    unit: Unit  # in the recording of its picture
    image: int  # the picture's number
    window: Window  # what it can reach
    pixels: Floats  # (C, H, W): its projection


def _strongest_units(
    net: DeconvNet, images: Tensor, recording: Recording, chosen: Mapping[str, Sequence[int]]
) -> dict[str, list[_ShownUnit]]:
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
        parts = zip(projection.units, strongest, projection.windows, projection.pixels.numpy(), strict=True)
        shown[layer] = [_ShownUnit(*part) for part in parts]
    return shown


def _layer_evolution(layer: str, channels: Sequence[int], snapshots: Sequence[Sequence[_ShownUnit]]) -> LayerEvolution:
    """Put one layer's units of all checkpoints together; all crops are of one size."""
    every = [shown for row in snapshots for shown in row]
    frame = every[0].pixels.shape[1:]
    inside = [cut_window(shown.pixels, shown.window.clip(*frame)) for shown in every]
    boxes = energy_boxes(inside, [shown.window for shown in every], frame)
    shape = len(snapshots), len(channels)
    crops = np.stack([cut_window(shown.pixels, box) for shown, box in zip(every, boxes, strict=True)])
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
