"""Forward passes of many images: each layer's activations are handed over where they are made, to be reduced there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..axes import as_maps
from ..forward import ForwardEngine, largest_map, records_of
from ..images import to_rgb
from ..layers import last_layer, output_layer
from ..named_channels import channel_numbers
from ..net import DeconvNet
from ..paper_names import full_name
from ..recording import Recording
from ..units import has_names
from .arrays import Floats, Integers, Pixels

#: The most images of a forward pass, and on a CPU the most bytes of the largest map of all of them: more leaves the caches.
MAX_BATCH, MAX_MAP_BYTES = 64, 32 * 2**20
#: The images of a forward pass, on a CPU, whose activations are handed over whole.
FEATURES_BATCH = 8

T = TypeVar("T")


class Forward:
    """Runs batches of images through a net, to the end unless told to stop, and hands over the activations of some layers.

    Nothing is kept for the way down, so this is faster than recording, and its memory is that of a plain forward pass.

    Args:
        net: the net.
        recording: of any image of the same size: the sizes of its maps decide how many images make a batch.
        layers: the layers whose activations are handed over.
        batch: images per batch on a CPU; None: as many as the maps allow.
        stop: end a pass after the deepest of the layers; there is no output then.
    """

    def __init__(
        self, net: DeconvNet, recording: Recording, layers: Sequence[str], batch: int | None = None, *, stop: bool = False
    ) -> None:
        self.engine = ForwardEngine(net.model, records_of(recording.records(), layers), stop=stop, written=recording.written)
        self.batch = MAX_BATCH if self.engine.device.type == "cuda" else batch or _batch_size(recording)

    def __call__(self, images: Tensor, reduce: Callable[[str, Tensor], T]) -> tuple[Any, dict[str, T]]:
        """Run one batch (B, C, H, W); return the net's output, and for each layer `reduce(layer, activations)`."""
        results: dict[str, T] = {}

        def keep(layer: str, activations: Tensor) -> None:
            results[layer] = reduce(layer, activations)

        return self.engine(images, keep), results


def _batch_size(recording: Recording) -> int:
    largest = largest_map(recording.tape) * recording.images.element_size()
    return max(1, min(MAX_BATCH, MAX_MAP_BYTES // largest))


@dataclass(frozen=True, eq=False)
class BatchFeatures:
    """The activations of some layers for a batch of B images, (B, ...) each, and the net's output."""

    layers: dict[str, Tensor]
    output: Any


def iterate_features(net: DeconvNet, recording: Recording, images: Tensor, layers: Sequence[str]) -> Iterator[BatchFeatures]:
    """Yield the whole activations of layers and the output, batch by batch of images (N, C, H, W)."""
    forward = Forward(net, recording, layers, batch=FEATURES_BATCH)
    for batch in torch.split(images, forward.batch):
        output, activations = forward(batch, _copied)
        yield BatchFeatures(activations, output)


def shown_pixels(net: DeconvNet, image: Tensor) -> Pixels:
    """Return an image (C, H, W), normalised as the net expects it, as pixels that can be shown: (H, W, 3), 0..255."""
    return to_rgb(net.loaded.denormalise(image, net.preprocess))


def layer_maps(recording: Recording, layer: str) -> Tensor:
    """Return a layer's activations as maps, (N, C', H', W')."""
    return recording.stored_maps(layer)


def choose_layer(recording: Recording, layer: str | None) -> tuple[str, Tensor]:
    """Return a layer's name, by default that of the last rectified layer with maps, and its maps (N, C', H', W')."""
    layer = full_name(recording.name, layer) if layer else last_layer(recording)
    return layer, layer_maps(recording, layer)


def choose_channels(
    net: DeconvNet, recording: Recording, layer: str | None, channels: Sequence[int | str] | None
) -> tuple[str, Tensor, list[int] | None]:
    """Return a layer's name and maps as `choose_layer` does, and the numbers of channels, None where none are named.

    Names of classes are found in the layer of their scores, which then is the default layer.
    """
    layer, maps = choose_layer(recording, output_layer(recording) if layer is None and has_names(channels) else layer)
    return layer, maps, None if channels is None else channel_numbers(net.loaded, recording, layer, channels)


def map_maxima(
    net: DeconvNet, images: Tensor, recording: Recording, layers: Sequence[str]
) -> dict[str, tuple[Floats, Integers]]:
    """Return the maximum of every map of layers, and where it is.

    Args:
        net: the net.
        images: (N, C, H, W), normalised as the net expects them.
        recording: of any image of that size: it knows the layers' axes.
        layers: names of layers with maps.

    Returns:
        For each layer the maxima (N, C') and their positions (N, C') as row * W' + col, the first among equals.
    """
    forward = Forward(net, recording, layers)
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {layer: [] for layer in layers}

    def maxima(layer: str, activations: Tensor) -> tuple[Tensor, Tensor]:
        values, positions = as_maps(activations, recording.axes(layer), layer).flatten(2).max(2)
        return values.float().cpu(), positions.cpu()

    for batch in torch.split(images, forward.batch):
        for layer, pair in forward(batch, maxima)[1].items():
            parts[layer].append(pair)
    return {layer: _joined(pairs) for layer, pairs in parts.items()}


def _joined(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Floats, Integers]:
    values, positions = zip(*pairs, strict=True)
    return torch.cat(values).numpy(), torch.cat(positions).numpy()


def _copied(layer: str, activations: Tensor) -> Tensor:
    return activations.detach().clone()  # a later call in place may write over them
